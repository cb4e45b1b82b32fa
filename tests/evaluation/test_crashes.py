"""Every write of an evaluation fails once, in every way: the run goes on to the same bytes.

As SQLite's crash tests: a small evaluation with a judge is run by forked processes, of which each
has a fault at another call. TOSA_FUZZ=long takes every call; otherwise some, spread over all.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
import traceback
from pathlib import Path

import pytest
from faults import MODES, Faults

from tosa_ros.errors import TosaError
from tosa_ros.evaluation.asking import Asking
from tosa_ros.evaluation.benchmarks import load_benchmark
from tosa_ros.evaluation.judge_prompts import JudgePrompts
from tosa_ros.evaluation.report import write_report
from tosa_ros.evaluation.results import Judging, score_run
from tosa_ros.evaluation.run_folder import RunFolder
from tosa_ros.evaluation.runner import evaluate
from tosa_ros.merging import NoMerging, ToSA

pytest.importorskip('transformers')
METHODS = {'none': NoMerging(), 'tosa-0.25': ToSA(keep=0.25)}
DONE, REFUSED, BROKEN = 0, 2, 3


class Marks:
    """A judge that marks by the prompt alone."""

    name, parallel = 'marks', False

    def settings(self):
        return {'judge': self.name}

    def ask(self, prompt, seed):
        return str(1 + len(prompt) % 5)


@pytest.fixture(scope='module')
def threads():
    """One, as forked processes do not have the others."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(openeqa, pipeline, threads):
    """Runs the evaluation in a forked process; gives its end and the calls that it counted."""
    benchmark_file = openeqa

    def work(folder):
        benchmark = load_benchmark('openeqa', benchmark_file)
        asking = Asking(frames=2, max_new_tokens=2)
        with RunFolder(folder, {'a': 1}) as opened:
            outcome = evaluate(benchmark, pipeline, METHODS, opened, asking)
            judging = Judging(Marks(), JudgePrompts())
            results = score_run(benchmark, outcome, folder, {'a': 1}, judging)
            write_report(folder, results)

    def child(folder, faults, log):
        time.perf_counter = lambda: 1.0  # Milliseconds are in the files.
        faults.install()
        try:
            work(folder)
        except (TosaError, OSError) as error:
            log.write_text(f'{type(error).__name__}: {error}')
            os._exit(REFUSED)
        except BaseException:
            log.write_text(traceback.format_exc())
            os._exit(BROKEN)
        log.write_text('\n'.join(faults.calls))
        os._exit(DONE)

    def run_once(folder, at=0, mode='kill', log=None):
        log = log or folder.with_suffix('.log')
        log.unlink(missing_ok=True)
        process = os.fork()
        if process == 0:
            child(folder, Faults(folder, at, mode), log)
        _, status = os.waitpid(process, 0)
        said = log.read_text() if log.exists() else ''
        if os.WIFSIGNALED(status):
            return -os.WTERMSIG(status), said
        return os.WEXITSTATUS(status), said

    work_once = Path(os.fspath(openeqa)).parent / 'warm'
    work(work_once)  # So that what is loaded late is there before the forks.
    shutil.rmtree(work_once)
    return run_once


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob('*'))
        if file.is_file()
    }


@pytest.fixture
def reference(run, tmp_path):
    """The files of a run without faults, and the calls it made."""
    end, said = run(tmp_path / 'reference')
    assert end == DONE, said
    again, _ = run(tmp_path / 'again')
    assert again == DONE
    files = contents(tmp_path / 'reference')
    assert contents(tmp_path / 'again') == files
    assert {'scores.json', 'report.html', 'tosa-0.25/marks.jsonl'} <= files.keys()
    return files, said.splitlines()


@pytest.mark.parametrize('mode', MODES)
def test_a_run_goes_on_from_a_fault_at_any_call(run, reference, tmp_path, mode):
    files, calls = reference
    assert len(calls) > 50
    stride = 1 if os.environ.get('TOSA_FUZZ') == 'long' else 17
    offset = 1 + MODES.index(mode) % stride
    for at in range(offset, len(calls) + 1, stride):
        folder = tmp_path / f'{mode}-{at}'
        end, said = run(folder, at, mode)
        where = f'{mode} at call {at} ({calls[at - 1]}): {said}'
        if mode in ('kill', 'torn'):
            assert end == -signal.SIGKILL, where
        else:
            assert end in (DONE, REFUSED), where
            assert len(said.splitlines()) == 1 or end == DONE, where
        if mode in ('EIO', 'ENOSPC'):  # On a full disk, or after a kill, the next run tidies up.
            assert not list(folder.rglob('*.partial-*')), where
        end, said = run(folder)
        assert end == DONE, f'{where}; then {said}'
        assert contents(folder) == files, where
        shutil.rmtree(folder)
    print(f'{mode}: {len(range(offset, len(calls) + 1, stride))} of {len(calls)} calls')
