"""Frames merged together beside each by itself: as many tokens, and what the page says of them."""

from __future__ import annotations

import json

from benchmarks import together


def test_both_have_as_many_tokens(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(together, 'KEEPS', (0.1,))
    out = tmp_path / 'together.json'
    assert together.main(['--questions', '4', '--out', str(out)]) == 0
    rows = {row['merged']: row for row in json.loads(out.read_text())['rows']}
    assert list(rows) == ['not', 'each, tower', 'each, output', 'together']
    whole = rows['not']['tokens']
    assert rows['together']['tokens'] == round(0.1 * whole)
    # Each frame rounds by itself.
    assert abs(rows['each, output']['tokens'] - 0.1 * whole) <= together.FRAMES / 2
    assert '| together |' in capsys.readouterr().out
