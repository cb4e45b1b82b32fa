"""The nodes hold their models' weights as their parameters say."""

from __future__ import annotations

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('torchao')

from tosa_ros.ros.qa_node import QaNode
from tosa_ros.ros.vision_node import VisionNode
from tosa_ros.vlm import Answerer, VisionEncoder


@pytest.fixture
def loaded(monkeypatch):
    """The keyword arguments that each half was loaded with."""
    given = {}
    for half in (VisionEncoder, Answerer):
        load = half.from_pretrained

        def seen(path, *, _half=half, _load=load, **how):
            given[_half.__name__] = how
            return _load(path, **how)

        monkeypatch.setattr(half, 'from_pretrained', seen)
    return given


def test_each_half_has_its_own(bench, node_here, checkpoint, loaded):
    how = {'model': str(checkpoint), 'device': 'cpu'}
    node_here(VisionNode, **how, quantize='int8', attn='eager', max_rate=0.0)
    node_here(QaNode, **how, quantize='int4', device_map='auto', max_new_tokens=4)
    reply = bench.reply('what is there?', bench.see)
    assert (reply['error'], bool(reply['text'])) == ('', True)
    assert loaded['VisionEncoder'].items() >= {
        ('quantize', 'int8'),
        ('attn_implementation', 'eager'),
    }
    assert loaded['Answerer'].items() >= {('quantize', 'int4'), ('device_map', 'auto')}
    assert 'revision' not in loaded['Answerer']


@pytest.mark.parametrize(
    ('parameters', 'said'),
    [
        ({'attn': 'flash_attention_2'}, 'cannot weight merged tokens'),
        ({'revision': 'v1'}, "revision: 'v1', but"),
        ({'quantize': 'int4', 'dtype': 'float32'}, "'int4' computes in bfloat16"),
    ],
)
def test_what_a_model_cannot_have_leaves_the_node_unconfigured(
    bench, node_here, checkpoint, parameters, said
):
    bench.listen('/rosout')
    name = node_here(VisionNode, model=str(checkpoint), device='cpu', **parameters).get_name()
    bench.wait(lambda: bench.logged(name, said))
    bench.wait(lambda: bench.state(name) == 'unconfigured')
