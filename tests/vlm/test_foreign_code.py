"""Checkpoints with their own code: it never runs, and one line reports it."""

from __future__ import annotations

import ast
import io
import json
import shutil
import sys
import time
from pathlib import Path

import pytest

import tosa_ros
from tosa_ros.depth import MonocularDepth
from tosa_ros.errors import TosaError
from tosa_ros.evaluation.judge import LocalJudge
from tosa_ros.pipeline import VqaPipeline

PACKAGE = Path(tosa_ros.__file__).parent
# Loaders of our own, which hand on to transformers in the modules that are checked.
OURS = {'VisionEncoder', 'Answerer', 'VqaPipeline', 'MonocularDepth', 'estimator', 'half'}
CODE = """
import pathlib
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

pathlib.Path(__file__).with_name('RAN').touch()


class Config(PreTrainedConfig):
    model_type = 'own'


class Tokenizer(PreTrainedTokenizerFast):
    pass


class Model(PreTrainedModel):
    config_class = Config
"""
OWN_CONFIG = {
    'model_type': 'own',
    'auto_map': {
        'AutoConfig': 'code.Config',
        'AutoModelForCausalLM': 'code.Model',
        'AutoModelForDepthEstimation': 'code.Model',
    },
}
OWN_TOKENIZER = {
    'tokenizer_class': 'Own',
    'auto_map': {'AutoTokenizer': ['code.Tokenizer', 'code.Tokenizer']},
}
OWN_PARTS = {
    'vision_config': {
        'auto_map': {'AutoModel': 'code.Model'},
        'attn_implementation': 'own/kernel',
    },
    'text_config': {'auto_map': {'AutoModelForCausalLM': 'code.Model'}},
    'backbone_config': {
        'auto_map': {'AutoBackbone': 'code.Model'},
        'attn_implementation': 'own/kernel',
    },
}


def merged(into, changes):
    return into | {
        name: merged(into[name], value) if isinstance(into.get(name), dict) else value
        for name, value in changes.items()
    }


@pytest.fixture
def with_code(tmp_path):
    """Makes a copy of an embedded checkpoint with changes to one of its files, and code."""

    def make(name, file, changes):
        path = tmp_path / 'checkpoint'
        shutil.copytree(PACKAGE / 'assets' / name, path)
        (path / 'code.py').write_text(CODE)
        known = json.loads((path / file).read_text())
        (path / file).write_text(json.dumps(merged(known, changes)))
        return path

    return make


@pytest.fixture(autouse=True)
def _yes_on_stdin(monkeypatch):
    monkeypatch.setattr(sys, 'stdin', io.StringIO('y\n' * 100))


@pytest.mark.parametrize(
    ('name', 'load', 'file', 'changes'),
    [
        ('tiny-vlm', VqaPipeline.from_pretrained, 'config.json', OWN_CONFIG),
        ('tiny-vlm', VqaPipeline.from_pretrained, 'tokenizer_config.json', OWN_TOKENIZER),
        ('tiny-vlm', LocalJudge, 'config.json', OWN_CONFIG),
        ('tiny-depth-metric', MonocularDepth.from_pretrained, 'config.json', OWN_CONFIG),
    ],
)
def test_code_of_a_checkpoint_is_refused_at_once(with_code, capsys, name, load, file, changes):
    path = with_code(name, file, changes)
    began = time.monotonic()
    with pytest.raises(TosaError, match=r'brings code of its own .*never run') as refused:
        load(path)
    assert time.monotonic() - began < 5
    assert '\n' not in str(refused.value)
    assert not (path / 'RAN').exists()
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
    ('name', 'load', 'file'),
    [
        ('tiny-vlm', VqaPipeline.from_pretrained, 'config.json'),
        ('tiny-depth-metric', MonocularDepth.from_pretrained, 'config.json'),
    ],
)
def test_code_of_a_known_model_s_parts_is_left_alone(with_code, name, load, file):
    path = with_code(name, file, OWN_PARTS)
    load(path)
    assert not (path / 'RAN').exists()


def test_every_loader_trusts_no_code():
    found = 0
    for path in PACKAGE.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = getattr(node.func.value, 'id', '')
            if node.func.attr not in ('from_pretrained', 'from_config') or owner in OURS:
                continue
            trust = [k.value for k in node.keywords if k.arg == 'trust_remote_code']
            where = f'{path.name}:{node.lineno}: {owner}.{node.func.attr}'
            assert trust, f'{where} lacks trust_remote_code=False'
            assert isinstance(trust[0], ast.Constant), where
            assert trust[0].value is False, where
            found += 1
    assert found >= 8
