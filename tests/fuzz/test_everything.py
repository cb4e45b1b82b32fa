"""Damaged input of every kind: a result or one line, never a traceback, a crash or a hang."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip('transformers')
from fuzz.targets import KINDS


@pytest.mark.parametrize('kind', KINDS)
def test_it_is_read_or_refused_in_one_line(kind, fed, tmp_path):
    if kind == 'bags':
        pytest.importorskip('rosbags')
    feed = KINDS[kind](tmp_path)

    @settings(phases=(Phase.explicit, Phase.reuse, Phase.generate))  # Seeds do not shrink.
    @given(st.binary(min_size=4, max_size=16))
    def run(data):
        fed(kind)
        feed(data)

    run()
