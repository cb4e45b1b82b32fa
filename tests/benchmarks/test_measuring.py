"""Benchmarks measure what they say: arithmetic, turns, tables, and rows of the agreed shape."""

from __future__ import annotations

import json
from time import sleep

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks import attention, overhead, pipeline, scaling, vision
from benchmarks.baselines import cut, plain_tome, published_tosa
from benchmarks.measuring import (
    BRIEF_MS,
    MIN_TURNS,
    alternate,
    parser,
    put_into,
    ratio,
    report,
    table,
)
from benchmarks.towers import pixels, spatial, tower, twin
from tosa_ros.evaluation.flops import flops
from tosa_ros.merging import ToMe
from tosa_ros.vision import merge_tokens


def test_flops_are_those_of_products_and_attention():
    a, b = torch.zeros(3, 5), torch.zeros(5, 7)
    assert flops(lambda: a @ b) == 2 * 3 * 5 * 7
    q, k = torch.zeros(1, 2, 10, 16), torch.zeros(1, 2, 6, 16)
    assert flops(lambda: scaled_dot_product_attention(q, k, k)) == 2 * 2 * 2 * 10 * 6 * 16


def test_every_choice_of_attention_computes_the_same():
    q, k, v = torch.randn(3, 2, 4, 10, 16).unbind()
    bias = torch.tensor([1.0, 3, 1, 2, 8, 1, 1, 5, 1, 1]).log().expand(2, 1, 1, 10)
    runs = attention.choices(q, k, v, bias, flex=False)
    plain = runs.pop('none')()
    results = {name: run() for name, run in runs.items()}
    assert not torch.allclose(results['row'], plain, atol=1e-2)
    for result in results.values():
        torch.testing.assert_close(result, results['row'], rtol=1e-4, atol=1e-5)


def test_contenders_take_turns_and_ratios_are_within_a_turn():
    seen = []
    times = alternate({name: lambda name=name: seen.append(name) for name in 'abc'}, 3)
    # Two of each that do not count, then turns, in which the first of two does not.
    assert ''.join(seen) == 'abcabc' + 'aabbcc' + 'bbccaa' + 'ccaabb'
    assert [len(t) for t in times.values()] == [3, 3, 3]
    slow = {'a': lambda: (seen.append('s'), sleep(1.2e-3 * BRIEF_MS))}
    assert len(alternate(slow, 1)['a']) == 1
    assert seen.count('s') == 3
    timed = alternate({'a': lambda: None}, 50, seconds=0)
    assert len(timed['a']) == MIN_TURNS
    assert ratio({'x': [2, 8, 100], 'y': [1, 2, 100]}, 'x', 'y') == 2


def test_tables_have_a_column_for_every_key(tmp_path):
    text = table([{'a': 1.23456, 'b': 'x'}, {'a': 123.4, 'c': None}])
    assert text.splitlines() == [
        '| a | b | c |',
        '| --- | --- | --- |',
        '| 1.23 | x |  |',
        '| 123 |  |  |',
    ]
    document = tmp_path / 'doc.md'
    document.write_text('before <!-- t -->old<!-- /t --> after')
    put_into(document, 't', 'new')
    assert document.read_text() == 'before <!-- t -->\nnew\n<!-- /t --> after'
    with pytest.raises(SystemExit, match='no place for other'):
        put_into(document, 'other', 'new')


def test_another_device_has_its_own_tables(tmp_path):
    document = tmp_path / 'doc.md'
    document.write_text('<!-- t -->cpu<!-- /t --><!-- t-cuda --><!-- /t-cuda -->')
    args = parser('doc', 1).parse_args(['--device', 'cuda:0', '--doc', str(document)])
    report('t', args, [{'ms': 7}])
    assert document.read_text().startswith('<!-- t -->cpu<!-- /t --><!-- t-cuda -->\n')
    assert '| 7 |' in document.read_text()


def test_a_device_that_is_not_there_is_said_in_a_line():
    with pytest.raises(SystemExit, match="device 'nothing': not available here"):
        vision.main(['--device', 'nothing'])


@torch.inference_mode()
@pytest.mark.parametrize('name', ['small', 'embedded'])
def test_a_plain_tome_merges_as_ours_does(name):
    """Same matches in the first layers; later ones differ, as its order of tokens drifts."""
    model = tower(name, 'cpu', torch.float32)
    image, keep = pixels(model, 2), 0.97
    plain = twin(model)
    plain_tome(plain, keep)
    got = plain(pixel_values=image).last_hidden_state
    expected = merge_tokens(twin(model), ToMe(keep=keep, merge_at='every'))(
        pixel_values=image
    ).tokens
    norm = model.post_layernorm
    nearest = torch.cdist(norm(expected), got).amin(dim=-1)
    assert got.shape == expected.shape
    assert float((nearest < 0.05 * norm(expected).norm(dim=-1)).float().mean()) > 0.9


@torch.inference_mode()
def test_baselines_end_with_as_many_tokens_and_the_twin_leaves_the_model_alone():
    model = tower('small', 'cpu', torch.float32)
    image = pixels(model, 1)
    expected = model(pixel_values=image).last_hidden_state
    changed = [twin(model) for _ in range(3)]
    cut(changed[0], ToMe(keep=0.25))
    plain_tome(changed[1], 0.25)
    published_tosa(changed[2], 0.25, spatial(model, 1))
    for other in changed:
        assert other(pixel_values=image).last_hidden_state.shape == (1, 64, 128)
        assert next(other.parameters()) is next(model.parameters())
    assert torch.equal(model(pixel_values=image).last_hidden_state, expected)


def rows_of(capsys, main, *argv):
    assert main([*argv, '--json', '--repeats', '1']) == 0
    return json.loads(capsys.readouterr().out)


def test_vision_rows(capsys):
    result = rows_of(
        capsys,
        vision.main,
        *(
            '--towers',
            'small',
            '--dtypes',
            'float32',
            '--keeps',
            '0.25',
            '--methods',
            'cut',
            'tosa',
            'tosa-every',
            'plain-tome',
            'published-tosa',
        ),
    )
    assert result['machine']
    rows = {row['method']: row for row in result['rows']}
    wanted = {'tower', 'method', 'keep', 'dtype', 'batch', 'ms', 'speedup', 'bound', 'overhead'}
    assert set(rows['tosa']) == wanted
    assert rows['unmerged']['bound'] == rows['unmerged']['speedup'] == 1
    # What matching multiplies is counted, so the bound is a little lower than by cutting off.
    assert 1.6 < rows['tosa']['bound'] < rows['cut']['bound'] < 1.8
    for every in ('tosa-every', 'plain-tome', 'published-tosa'):
        assert 1.6 < rows[every]['bound'] < 1.8


def test_overhead_rows(capsys):
    rows = rows_of(
        capsys,
        overhead.main,
        *('--towers', 'small', '--dtypes', 'float32', '--keeps', '0.25', '1'),
    )['rows']
    some, none = rows
    assert set(some) == {'tower', 'method', 'keep', 'dtype', 'batch', 'ms', 'share'}
    # Where nothing merges, only beginning and end are counted.
    assert 0 < none['ms'] < some['ms']
    assert 0 < none['share'] < some['share'] < 1
    assert overhead.encoder.merge_layer.__module__ == 'tosa_ros.merging.state'


def test_pipeline_rows(capsys):
    result = rows_of(
        capsys, pipeline.main, '--size', 'tiny', '--frames', '2', '--dtype', 'float32'
    )
    unmerged, merged, _every = result['rows']
    assert (unmerged['tokens'], unmerged['of']) == (72, 72)
    assert (merged['tokens'], merged['of']) == (8, 72)
    assert merged['second_ms'] < merged['first_ms']


def test_scaling_rows(capsys):
    result = rows_of(
        capsys,
        scaling.main,
        *('--tower', 'small', '--resolutions', '64', '128', '--frames'),
    )
    assert [row['tokens'] for row in result['rows']] == [64, 64, 256, 256]
    assert 'exponent, resolution, tosa' in result


def test_the_exponent_is_the_slope_of_logarithms():
    rows = [
        {'curve': 'c', 'method': 'm', 'tokens': n, 'ms': 0.01 * n**1.5} for n in (100, 200, 800)
    ]
    assert scaling.exponents(rows) == {'exponent, c, m': 1.5}
