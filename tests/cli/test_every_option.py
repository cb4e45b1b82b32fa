"""Every option of every command changes what is done, or is refused by name.

The parsers themselves say which options there are: a new one without a case fails here.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
from types import SimpleNamespace

import pytest

pytest.importorskip('transformers')
pytest.importorskip('open3d')
pytest.importorskip('rosbags')
pytest.importorskip('rclpy')
pytest.importorskip('av')
pytest.importorskip('matplotlib')

import option_cases as cases

from tosa_ros.assets import embedded_depth
from tosa_ros.cli import camera, planning, replay, running, up
from tosa_ros.cli.main import build_parser, leaves, main
from tosa_ros.settings import SETTINGS

# What lines without the option do, by line.
BASES_SEEN = {}


def every_option():
    for leaf in leaves(build_parser()):
        command = leaf.prog.removeprefix('tosa ')
        for action in leaf._actions:
            options = [option for option in action.option_strings if option.startswith('--')]
            if options and not cases.EVERYWHERE.intersection(options):
                yield command, options[0]


def case_of(command, option):
    group = command.split()[0]
    known = {'eval': cases.EVAL, 'score': cases.SCORE}.get(group) or cases.CASES[command]
    assert option in known, f'tosa {command}: the option {option} needs a case in option_cases.py'
    return known[option]


def base_of(command):
    if command == 'eval tinyworld':
        return '--limit 3 --model {model} --dry-run --json'
    if command == 'score tinyworld':
        return '--limit 3 --predictions {questions}/tiny.json --json'
    if command.startswith(('eval ', 'score ')):
        group, name = command.split()
        base = cases.EVAL_BASE if group == 'eval' else cases.SCORE_BASE
        more = ' --annotations {questions}/annotations.json' if name in cases.ANNOTATED else ''
        return base.replace('NAME', name) + more
    return cases.BASES.get(command, '')


@pytest.fixture
def filled(request, tmp_path):
    """Fills the {names} of a line by the fixtures of those names."""

    def fill(line):
        values = {'tmp': tmp_path, 'depth_model': embedded_depth('metric')}
        names = set(re.findall(r'(?<!{){(\w+)}', line)) - values.keys()
        values |= {name: request.getfixturevalue(name) for name in names}
        return shlex.split(line.format(**values))

    return fill


@pytest.fixture(autouse=True)
def seen(monkeypatch):
    """What commands would start that run long or need a graph of nodes: recorded, not started."""
    calls = []

    def record(name, result=0):
        def stand_in(*args, **more):
            calls.append((name, repr(args), repr(more)))
            return result

        return stand_in

    def planned(benchmark, args, more=None):
        plan = planning.plan(benchmark, args, more, loads=False)
        judge = plan.judging and plan.judging.judge.settings()
        calls.append((plan.settings, plan.methods, judge, args.gflops, args.out, args.json))
        calls.append(args.gallery)
        return 0

    @contextlib.contextmanager
    def session(command, arguments):
        calls.append((command, arguments))
        yield

    trainer = SimpleNamespace(step=0, train=record('train', {}), evaluate=record('evaluate', {}))
    trainer.model = trainer.tokenizer = None
    trainer.resume = lambda: True
    reply = {'error': '', 'text': '', 'frames': 1, 'tokens': 1, 'spatial': 'none', 'note': ''}
    reply |= {'first_word_ms': 1.0, 'latency_ms': 1.0}
    asker = SimpleNamespace(ask=lambda q, t, grown: calls.append((q, t)) or reply, close=list)
    node = SimpleNamespace(ended=True, destroy_node=list)
    monkeypatch.setattr(running, 'run_benchmark', planned)
    monkeypatch.setattr(replay, '_run_live', lambda *given: calls.append(vars(given[1])) or 0)
    for module in ('tosa_ros.cli.camera', 'tosa_ros.cli.say', 'tosa_ros.cli.up'):
        monkeypatch.setattr(f'{module}.session', session)
    monkeypatch.setattr('tosa_ros.ros.session.session', session)
    monkeypatch.setattr('tosa_ros.ros.asker.Asker', lambda: asker)
    monkeypatch.setattr(up, '_processes', record('processes'))
    monkeypatch.setattr(up, '_one_process', record('one process'))
    monkeypatch.setattr(
        'tosa_ros.ros.camera_node.CameraNode',
        lambda turns, *rest, **more: calls.append((next(turns).rgb.tobytes(), rest, more)) or node,
    )
    monkeypatch.setattr(camera, 'Shutdown', lambda: SimpleNamespace(spin=record('spin')))
    for name in ('trainer_of', 'start_producers', 'start_depth_producers'):
        result = trainer if name == 'trainer_of' else []
        monkeypatch.setattr(f'tosa_ros.training.embedded.{name}', record(name, result))
    monkeypatch.setattr('tosa_ros.training.depth.DepthTrainer', record('DepthTrainer', trainer))
    monkeypatch.setattr('tosa_ros.training.embedded.saved_recipe', lambda out: train_recipe())
    monkeypatch.setattr('tosa_ros.training.export.export_vlm', record('export', 'exported'))
    monkeypatch.setattr('tosa_ros.training.shards.write_shards', record('shards'))
    monkeypatch.setattr('torch.set_num_threads', record('threads'))
    monkeypatch.setattr('tosa_ros.vision.MergedEncoder.compile', record('compile'))
    monkeypatch.setattr('tosa_ros.vlm.exported.export_tower', exported_tower(calls))
    scanqa = 'tosa_ros.evaluation.benchmarks.scanqa.caption_scores'
    monkeypatch.setattr(scanqa, lambda *texts: [])  # Java starts slowly.
    return calls


def exported_tower(calls):
    from tosa_ros.vlm.exported import Facts

    def stand_in(encoder, out, format, depth):
        dtype = next(encoder.half.parameters()).dtype
        calls.append((encoder.merging, dtype, out, format, depth))
        return Facts(format, 'model', '', 'tosa', {}, depth, 48, 36, 9, str(dtype), 'cpu', {})

    return stand_in


def train_recipe():
    from tosa_ros.training.recipe import Recipe

    return Recipe()


@pytest.fixture
def observed(seen, tmp_path, capfd, monkeypatch):
    """(exit code, what it did): output without times, what it would start, files it wrote."""
    monkeypatch.chdir(tmp_path)

    def run(words):
        seen.clear()
        for file in sorted(tmp_path.rglob('*'), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        if code == 2:
            (line,) = [one for one in err.splitlines() if ': error: ' in one]
            return 2, line
        assert code in (0, 1), err  # 1: episodes are missing
        files = {
            str(file.relative_to(tmp_path)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in tmp_path.rglob('*')
            if file.is_file()
        }
        out, err = (text.replace(str(tmp_path), 'TMP') for text in (out, err))
        untimed = re.sub(r'[\d.]+ m?s\b|"\w+_ms": [\d.]+', '', out + err)
        # Addresses of objects are no choice of the user.
        started = str(seen).replace(str(tmp_path), 'TMP')
        return 0, (re.sub(r' at 0x\w+', '', f'{untimed} {started}'), files)

    return run


@pytest.mark.parametrize(('command', 'option'), list(every_option()))
def test_an_option_changes_something_or_is_refused(command, option, filled, observed):
    case = case_of(command, option)
    base = f'{base_of(command)} {case.also}'
    if case.without:
        assert case.without in base
        base = base.replace(case.without, '', 1)
    words = [*command.split(), *filled(base)]
    if (command, base) not in BASES_SEEN:
        BASES_SEEN[command, base] = observed(words)
    code, before = BASES_SEEN[command, base]
    assert code == 0 or case.needed, before
    added = filled(case.words)
    code, after = observed([*words, *added])
    if code == 2:
        named = {option, option.removeprefix('--'), option.removeprefix('--').replace('-', '_')}
        value = added[-1]
        assert any(name in after for name in (*named, value)), after
    else:
        assert after != before


def test_every_setting_of_the_methods_is_covered():
    assert {SETTINGS[name].option for name in SETTINGS} <= cases.METHOD_SETTINGS.keys()
