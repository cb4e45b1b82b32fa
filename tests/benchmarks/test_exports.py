"""The benchmark of exported towers says what it says of each runtime."""

from __future__ import annotations

import json

import pytest

pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')
pytest.importorskip('openvino')

from benchmarks import exports, towers


def test_rows_are_of_every_runtime_and_merge_alike(monkeypatch, tmp_path):
    tiny = {**towers.SMALL, 'num_hidden_layers': 2, 'image_size': 48}
    monkeypatch.setitem(towers.DIMENSIONS, 'small', ('siglip_vision_model', tiny))
    out = tmp_path / 'rows.json'
    exports.main(['--towers', 'small', '--repeats', '2', '--seconds', '1', '--out', str(out)])
    rows = json.loads(out.read_text())['rows']
    made = {(row['runtime'], row['method']) for row in rows}
    runtimes = ('eager', 'onnxruntime', 'openvino')
    assert made == {(run, how) for run in runtimes for how in ('unmerged', 'tosa 0.25')}
    for row in rows:
        assert row['maps'] == 0
        assert row['ms'] > 0
        if row['method'] == 'unmerged':
            assert row['over unmerged'] == 1
