"""The worker works on the newest item, at the rate allowed, and outlives its errors."""

from __future__ import annotations

import threading
import time

import pytest

from tosa_ros.ros.worker import LatestWorker


def run_forever(error):
    raise AssertionError(error)


def test_only_the_newest_waits():
    entered, go, done = threading.Event(), threading.Event(), []

    def work(item):
        entered.set()
        go.wait(5)
        done.append(item)

    worker = LatestWorker(work, run_forever, 'test')
    worker.submit(0)
    assert entered.wait(5)
    for item in range(1, 100):
        worker.submit(item)
    go.set()
    assert worker.wait_idle(5)
    assert done == [0, 99]
    assert worker.dropped == 98
    assert worker.stop(5)


@pytest.mark.parametrize('kind', [ValueError, SystemExit])
def test_an_error_is_passed_on_and_the_thread_lives(kind):
    errors, done = [], []

    def work(item):
        if item == 'bad':
            raise kind(item)
        done.append(item)

    worker = LatestWorker(work, errors.append, 'test')
    for item in ('bad', 'good'):
        worker.submit(item)
        assert worker.wait_idle(5)
    assert done == ['good']
    assert [str(error) for error in errors] == ['bad']
    assert worker.stop(5)


def test_the_rate_is_kept_and_can_change():
    done = []
    worker = LatestWorker(done.append, run_forever, 'test')
    worker.set_max_rate(20.0)
    started, count = time.monotonic(), 0
    while time.monotonic() < started + 0.5:
        worker.submit(count := count + 1)
        time.sleep(0.001)
    assert worker.wait_idle(5)
    assert 3 <= len(done) <= 2 + 20 * (time.monotonic() - started)
    worker.set_max_rate(0.001)
    for item in ('now', 'one early', 'slow'):
        worker.submit(item)
        assert worker.wait_idle(0.05) == (item != 'slow')
    worker.set_max_rate(0)
    assert worker.wait_idle(5)
    assert done[-1] == 'slow'
    assert worker.stop(5)


def test_stop_does_not_wait_for_ever():
    entered, go = threading.Event(), threading.Event()

    def work(_):
        entered.set()
        go.wait(30)

    worker = LatestWorker(work, run_forever, 'test')
    worker.submit(1)
    assert entered.wait(5)
    started = time.monotonic()
    assert not worker.stop(0.1)
    assert time.monotonic() - started < 5
    go.set()
    assert worker.stop(5)


def test_cleared_items_are_not_worked_on():
    done = []
    worker = LatestWorker(done.append, run_forever, 'test')
    worker.set_max_rate(0.001)
    for item in ('first', 'second'):
        worker.submit(item)
        assert worker.wait_idle(5)
    worker.submit('third')
    worker.clear()
    worker.set_max_rate(0)
    assert worker.wait_idle(5)
    assert worker.stop(5)
    assert done == ['first', 'second']
