"""The same work without ROS: one process encodes at the camera's rate, another one answers."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.ros.listening import QUESTION, QUESTION_PERIOD_S, WHAT, periodically

Times = dict[str, list[float]]


@contextlib.contextmanager
def direct(depth: bool, args: argparse.Namespace) -> Iterator[Callable[[float], Times]]:
    """Gives a function that does the work for some seconds, and tells how long its parts took.

    depth: with it, from the sensor's 16 bits to metres on, or colour alone.
    """
    from tosa_ros.assets import embedded_model
    from tosa_ros.vlm import Answerer

    model = args.model or embedded_model()
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe()
    encoder = context.Process(target=_encode, args=(theirs, model, depth, args), daemon=True)
    encoder.start()
    answerer = Answerer.from_pretrained(model)
    tokens = ours.recv()

    def work(seconds: float) -> Times:
        times: Times = {name: [] for name in WHAT}

        def answer() -> None:
            start = time.perf_counter()
            pieces = answerer.stream([tokens], QUESTION)
            next(pieces, None)
            times['first'].append(time.perf_counter() - start)
            list(pieces)
            times['last'].append(time.perf_counter() - start)

        ours.send(seconds)
        periodically(seconds, QUESTION_PERIOD_S, _sleep, answer)
        return times | {'tokens': ours.recv()}

    try:
        work(2.0)  # The first calls of a process are slow.
        yield work
    finally:
        with contextlib.suppress(BrokenPipeError):
            ours.send(None)
        encoder.join(20)


def _encode(pipe: Any, model: Any, depth: bool, args: argparse.Namespace) -> None:
    """The process that encodes, for a given time; sends how long each frame took."""
    from benchmarks.ros.camera import messages, sized
    from tosa_ros.merging import ToSA
    from tosa_ros.messages.frame_builder import FrameBuilder
    from tosa_ros.vlm import VisionEncoder

    encoder = VisionEncoder.from_pretrained(model, merging=ToSA(keep=args.keep))
    info, image, raw = messages(*sized(args.size))
    builder = FrameBuilder(lambda fault, line: None)
    builder.camera_info(info)
    pipe.send(encoder.encode([builder.frame(image, raw)])[0])
    while (seconds := pipe.recv()) is not None:
        times: list[float] = []

        def encode(times: list[float] = times) -> None:
            began = time.perf_counter()
            encoder.encode([builder.frame(image, raw if depth else None)])
            times.append(time.perf_counter() - began)

        periodically(seconds, 1 / args.rate, _sleep, encode)
        pipe.send(times)


def _sleep(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))
