"""docs/extending.md as written: its package is installed by its metadata alone, and used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tosa_ros.vlm.untrained import write_checkpoint
from tosa_ros.vlm.untrained_families import RECIPES, TEXT, VISION

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / 'docs' / 'extending.md').read_text()
CODE = re.findall(r'```python\n# (\S+)\n(.*?)```', PAGE, flags=re.DOTALL)


@pytest.fixture(scope='module')
def place(tmp_path_factory, monkeypatch_module):
    """A folder with the page's package and its dist-info, as pip leaves it, and data to use."""
    place = tmp_path_factory.mktemp('site')
    for name, code in CODE:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(code)
    [metadata] = re.findall(r'```toml\n(.*?)```', PAGE, flags=re.DOTALL)
    info = place / 'my_tosa-0.1.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: my_tosa\nVersion: 0.1\n')
    groups = metadata[metadata.index('[project.entry-points') :]
    groups = re.sub(r'\[project\.entry-points\."(.*?)"\]', r'[\1]', groups)
    (info / 'entry_points.txt').write_text(groups.replace('"', ''))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(place / 'a.png')
    (place / 'q.csv').write_text('image,question,answer\na.png,What is there?,a mug\n')
    (place / 'scans').mkdir()
    Image.fromarray(np.zeros((480, 640, 3), np.uint8)).save(place / 'scans' / '0.scan.jpg')
    Image.fromarray(np.full((480, 640), 1500, np.uint16)).save(place / 'scans' / '0.depth.png')
    (place / 'scans' / '0.pose.txt').write_text('1 0 0 7\n0 1 0 0\n0 0 1 0\n0 0 0 1\n')
    write_aya_vision(place / 'aya_vision', monkeypatch_module)
    return place


@pytest.fixture(scope='module')
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def write_aya_vision(path, patch):
    """A tiny one, as write_checkpoint makes those of other families."""
    gemma = RECIPES['gemma3']
    tower = {**VISION, 'model_type': 'siglip_vision_model', 'image_size': 96}
    recipe = replace(
        gemma,
        config=lambda ids: {
            'vision_config': {**tower, 'vision_use_head': False},
            'text_config': {**TEXT, 'model_type': 'cohere2', 'head_dim': 16},
            'image_token_index': ids('<|IMG_PATCH|>'),
        },
        tokens=('<bos>', '<eos>', '<|START_OF_IMG|>', '<|IMG_PATCH|>', '<|END_OF_IMG|>'),
        eos='<eos>',
    )
    patch.setitem(RECIPES, 'aya_vision', recipe)
    write_checkpoint(path, family='aya_vision', seed=1)
    template = "{% for c in messages[0]['content'] %}{% if c['type'] == 'image' %}<image>"
    template += "{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    (path / 'chat_template.jinja').write_text(template)


def run(place, code, *arguments):
    """Python in a process that finds the package by its metadata, and nothing else of it."""
    done = subprocess.run(
        [sys.executable, '-c', code, *arguments],
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{place}', 'HF_HUB_OFFLINE': '1'},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


TABLES = """
import json, sys
from tosa_ros.settings import METHODS, node_choices, node_settings
from tosa_ros.cli.main import build_parser
found = {
    'method': METHODS.origin('by-distance'),
    'parameter': [row.default for row in node_settings('vision_node') if row.name == 'sharpness'],
    'launch': 'sharpness' in node_choices(),
    'options': '--sharpness' in build_parser('up').format_help() or '--sharpness' in next(
        a for a in build_parser('up')._actions if a.dest == 'command'
    ).choices['up'].format_help(),
    'light': not {'torch', 'my_tosa.methods', 'my_tosa.families'} & set(sys.modules),
}
print(json.dumps(found))
"""
COMMANDS = """
import contextlib, io, json, sys
from tosa_ros.cli.main import main

def said(*line):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(line))
    return code, out.getvalue(), err.getvalue().strip().splitlines()

model = ['--model', 'aya_vision', '--device', 'cpu']
ask = ['ask', 'a.png', 'what is near?', *model, '--json', '--max-new-tokens', '2']
found = {
    'ask': said(*ask, '--method', 'by-distance', '--keep', '0.5', '--sharpness', '2'),
    'refused': said(*ask, '--method', 'tome', '--sharpness', '2'),
    'bad value': said(*ask, '--method', 'by-distance', '--sharpness', '0'),
    'depth': said(*ask, '--depth-model', 'floor'),
    'eval': said('eval', 'table', '--data', 'q.csv', '--out', 'run', *model),
}
print(json.dumps(found))
"""
TOWER = """
import json, torch
from transformers import ViTMSNConfig, ViTMSNModel
from tosa_ros import NoMerging, ToMe, merge_tokens
torch.manual_seed(0)
model = ViTMSNModel(ViTMSNConfig(hidden_size=48, num_hidden_layers=4, num_attention_heads=4,
                           intermediate_size=96, image_size=48, patch_size=8)).eval()
pixels = torch.randn(2, 3, 48, 48)
with torch.no_grad():
    plain = model(pixel_values=pixels).last_hidden_state
    merged = merge_tokens(model, ToMe(keep=1.0))
    same = torch.equal(merged(pixel_values=pixels).output.last_hidden_state, plain)
    x = torch.randn(2, 37, 48)
    layer = merged.adapter.layers[0]
    halves = merged.adapter.feed(layer, merged.adapter.attend(layer, x, None))
    equal = torch.equal(halves, layer(x))
    merged.method = ToMe(keep=0.5)
    left = list(merged(pixel_values=pixels).tokens.shape)
print(json.dumps({'same': same, 'layer': equal, 'left': left}))
"""
FOLDER = """
import json, sys
from tosa_ros.sources import read_folder
[scan] = read_folder('scans')
print(json.dumps({
    'depth': [*scan.depth_m.shape, float(scan.depth_m.max())],
    'pose': scan.pose[0][3],
    'fx': scan.intrinsics.fx,
    'light': 'torch' not in sys.modules,
}))
"""
FAMILY = """
import json
import numpy as np, torch
from transformers import AutoModelForImageTextToText
from tosa_ros import Answerer, Frame, NoMerging, VisionEncoder
path = 'aya_vision'
frame = Frame(np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8))
encoder = VisionEncoder.from_pretrained(path, merging=NoMerging(), dtype=torch.float32)
answerer = Answerer.from_pretrained(path, dtype=torch.float32)
embeds = answerer.embed(encoder.encode([frame]), 'What is there?')
whole = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32).eval()
image = whole.config.image_token_id
ids = [i for one in answerer.prompt.ids('What is there?', 1)
       for i in ([one] * 36 if one == image else [one])]
pixels = encoder.image_input.pixels(frame.rgb)[None]
with torch.no_grad():
    ours = answerer.model(inputs_embeds=embeds[None]).logits
    theirs = whole(input_ids=torch.tensor([ids]), pixel_values=pixels).logits
print(json.dumps({
    'difference': float((ours - theirs).abs().max()),
    'kind': type(whole).__name__,
    'family': type(encoder.family).__name__,
}))
"""


def test_every_snippet_is_a_module_of_the_package():
    assert {name for name, _ in CODE} == {
        f'my_tosa/{part}.py'
        for part in (
            'methods',
            'settings',
            'adapters',
            'families',
            'benchmarks',
            'depth',
            'layouts',
        )
    }
    assert PAGE.count('```python') == len(CODE)


def test_a_method_and_its_setting_reach_every_table_without_being_imported(place):
    assert run(place, TABLES) == {
        'method': 'my_tosa.methods:ByDistance of the distribution my_tosa 0.1',
        'parameter': [1.0],
        'launch': True,
        'options': True,
        'light': True,
    }


def test_method_depth_estimator_and_benchmark_work_by_name_on_the_command_line(place):
    found = run(place, COMMANDS)
    code, out, _ = found['ask']
    answer = json.loads(out)
    assert (code, answer['method'], answer['tokens_after']) == (0, 'by-distance', 18)
    code, _, errors = found['refused']
    assert code == 2
    assert (
        'sharpness: the method tome has no such setting; wanted one of by-distance' in errors[-1]
    )
    code, _, errors = found['bad value']
    assert code == 2
    assert 'sharpness: 0.0; wanted a number, above 0' in errors[-1]
    code, out, _ = found['depth']
    assert (code, json.loads(out)['spatial']) == (0, 'levels')
    code, out, errors = found['eval']
    assert code == 0, errors
    assert 'Exact match' in out
    assert (place / 'run' / 'report.md').is_file()


def test_a_backbone_merges_by_its_adapter(place):
    assert run(place, TOWER) == {'same': True, 'layer': True, 'left': [2, 18, 48]}


def test_a_family_gives_the_logits_of_transformers(place):
    found = run(place, FAMILY)
    assert found['kind'] == 'AyaVisionForConditionalGeneration'
    assert found['family'] == 'AyaVision'
    assert found['difference'] < 1e-4


def test_a_broken_package_breaks_nothing_else(place, tmp_path):
    info = tmp_path / 'broken-3.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: broken\nVersion: 3\n')
    groups = ('methods', 'settings', 'adapters', 'families', 'benchmarks', 'depth')
    lines = [
        f'[tosa_ros.{group}]\nbad = absent_module:Thing\nTosa = other:Thing' for group in groups
    ]
    (info / 'entry_points.txt').write_text('\n'.join(lines))
    command = ['ask', 'a.png', 'what?', '--json', '--model', 'aya_vision']
    done = subprocess.run(
        [sys.executable, '-m', 'tosa_ros.cli.main', *command],
        capture_output=True,
        text=True,
        cwd=place,
        env={
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(ROOT), str(tmp_path), str(place)]),
            'HF_HUB_OFFLINE': '1',
        },
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)['tokens_after'] == 9
    warnings = [line for line in done.stderr.splitlines() if 'broken' in line]
    assert all('the distribution broken 3' in line for line in warnings)
    assert len(warnings) == len(set(warnings)) >= 2
    assert 'Traceback' not in done.stderr


def test_a_layout_is_found_by_its_files(place):
    assert run(place, FOLDER) == {
        'depth': [480, 640, 1.5],
        'pose': 7.0,
        'fx': 577.9,
        'light': True,
    }
