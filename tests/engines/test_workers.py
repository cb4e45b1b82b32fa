"""Workers of Ray: real processes, that are killed, refuse, and ask for too much."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip('ray')

from tosa_ros.engines import workers as module
from tosa_ros.engines.workers import RayWorkers, WorkersError
from tosa_ros.errors import ModelError


def doubler(log=None):
    def work(item):
        if item == 'bad':
            raise ModelError('no such thing')
        if item == 'odd':
            raise ZeroDivisionError('by nothing')
        if item == 'killer':
            os.kill(os.getpid(), signal.SIGKILL)
        if log:
            with open(log, 'a') as stream:
                stream.write(f'{item} {os.getpid()}\n')
            time.sleep(0.05)
        return item * 2

    return work


def unwilling():
    raise ModelError('/gone: no such folder')


def torch_threads():
    import torch

    return lambda item: torch.get_num_threads()


def results(workers, items):
    done = list(workers.map(items))
    return {one.item: one.error or one.result for one in done}, done


def test_every_item_has_one_result_and_errors_are_lines():
    with RayWorkers(doubler, 2) as workers:
        items = [*range(20), 'bad', 'odd']
        found, done = results(workers, items)
        assert len(done) == 22
        assert [found[i] for i in range(20)] == [2 * i for i in range(20)]
        assert found['bad'] == 'no such thing'
        assert found['odd'] == 'ZeroDivisionError: by nothing'
        assert sum(workers.counts.values()) == 20
        assert 1 <= len(workers.counts) <= 2
        # The same workers go on.
        assert results(workers, [7])[0] == {7: 14}
        assert results(workers, [])[1] == []


def test_items_are_taken_only_when_a_worker_is_free():
    taken = []

    def source():
        for number in range(1000):
            taken.append(number)
            yield number

    with RayWorkers(doubler, 2) as workers:
        answers = workers.map(source())
        for number in range(10):
            next(answers)
            assert len(taken) <= number + 4
        answers.close()


def test_a_killed_worker_loses_and_doubles_nothing(tmp_path):
    log = tmp_path / 'log'
    with RayWorkers(partial(doubler, str(log)), 2) as workers:
        found, killed = [], set()
        for one in workers.map(range(40)):
            found.append(one.item)
            assert one.result == 2 * one.item
            if len(found) in (5, 15):
                pid = int(log.read_text().split()[-1])
                if pid not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
        assert len(killed) == 2
        assert sorted(found) == list(range(40))


def test_an_item_that_ends_workers_is_given_up():
    with RayWorkers(doubler, 2) as workers:
        found, _ = results(workers, [1, 'killer', 2, 3])
        assert found['killer'].startswith('3 workers died at it: ')
        assert {item: found[item] for item in (1, 2, 3)} == {1: 2, 2: 4, 3: 6}


def test_what_a_worker_cannot_make_is_one_line():
    with (
        RayWorkers(unwilling) as workers,
        pytest.raises(WorkersError, match='a worker cannot start: /gone: no such folder'),
    ):
        list(workers.map([1]))


def test_torch_has_the_threads_of_its_cpus():
    with RayWorkers(torch_threads, 1, cpus=2) as workers:
        assert results(workers, [0])[0] == {0: 2}


@pytest.fixture
def cluster():
    """A cluster of two CPUs in processes of its own, as `ray start` makes it."""
    import subprocess
    import sys

    ray = str(Path(sys.executable).with_name('ray'))
    line = [
        ray,
        'start',
        '--head',
        '--port',
        '0',
        '--num-cpus',
        '2',
        '--include-dashboard',
        'false',
    ]
    said = subprocess.run(line, capture_output=True, text=True, check=True, timeout=120).stdout
    address = said.split("address='")[1].split("'")[0] if "address='" in said else None
    assert address, said
    yield address
    subprocess.run([ray, 'stop', '--force'], capture_output=True, check=False, timeout=60)


def test_workers_that_ask_for_every_cpu_are_refused_and_do_not_hang(cluster):
    with pytest.raises(
        WorkersError, match=r'2 workers of 1 CPU each need 2, and the cluster has 2'
    ):
        RayWorkers(doubler, 2, address=cluster)
    with pytest.raises(WorkersError, match=r'1 workers of 1 GPU each need 1.* has 0'):
        RayWorkers(doubler, 1, cpus=0.5, gpus=1, address=cluster)
    with RayWorkers(doubler, 2, cpus=0.5, address=cluster) as workers:
        assert results(workers, [1, 2])[0] == {1: 2, 2: 4}


def test_a_cluster_that_is_not_there_is_one_line():
    with pytest.raises(WorkersError, match=r'Ray at 127\.0\.0\.1:1: nothing answers'):
        RayWorkers(doubler, address='127.0.0.1:1')


@pytest.mark.parametrize('bad', [{'count': 0}, {'cpus': 0}, {'gpus': -1}])
def test_bad_numbers_are_named(bad):
    with pytest.raises(WorkersError, match='wanted at least one'):
        RayWorkers(doubler, **bad)


def test_a_run_without_workers_ends(monkeypatch):
    monkeypatch.setattr(module, 'ALONE_S', 0.5)
    monkeypatch.setattr(module, 'START_S', 0.5)
    monkeypatch.setattr(module, '_POLL_S', 0.2)
    with (
        RayWorkers(partial(time.sleep, 30), 1) as workers,
        pytest.raises(WorkersError, match='no worker for'),
    ):
        list(workers.map([1]))


def test_a_node_that_is_lost_loses_and_doubles_nothing(tmp_path):
    """Two nodes, each with a worker; one is killed while it works."""
    from ray.cluster_utils import Cluster

    log = tmp_path / 'log'
    cluster = Cluster(initialize_head=True, head_node_args={'num_cpus': 2})
    node = cluster.add_node(num_cpus=1)
    try:
        make = partial(doubler, str(log))
        with RayWorkers(make, 2, address=cluster.address) as workers:
            found = []
            for one in workers.map(range(60)):
                found.append(one.item)
                if len(found) == 10:
                    cluster.remove_node(node, allow_graceful=False)
            assert sorted(found) == list(range(60))
    finally:
        cluster.shutdown()
