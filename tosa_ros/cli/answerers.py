"""The options of who answers: a model in this process, or one behind a server."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from tosa_ros.cli import options
from tosa_ros.cli.parsing import UsageError, need, refuse
from tosa_ros.settings import METHOD, SETTINGS

if TYPE_CHECKING:
    from tosa_ros.engines.served import ServedPipeline
    from tosa_ros.merging import MergingMethod
    from tosa_ros.pipeline import VqaPipeline

LOCAL, OPENAI, VLLM = 'local', 'openai', 'vllm'
NOBODY = 'none'  # the only method that merges nothing
# What only a model in this process does.
_LOCAL_ALONE = ('--trained-frames', '--depth', '--depth-model', '--gflops')


def add_answerer_options(parser: argparse.ArgumentParser, model: Collection[str]) -> None:
    """The options. model: those of a model in this process, which a server's has not."""
    parser.set_defaults(local_options=frozenset((*model, *_LOCAL_ALONE)))
    group = parser.add_argument_group('answerer')
    group.add_argument(
        '--answerer',
        choices=(LOCAL, OPENAI, VLLM),
        default=LOCAL,
        help=f'who answers ({LOCAL}); {OPENAI}: --model at an OpenAI-compatible server, which is '
        f'sent the frames as pictures; {VLLM}: the language model in vLLM',
    )
    group.add_argument(
        '--base-url', metavar='URL', help='address of that server, up to and with /v1'
    )
    group.add_argument(
        '--key-env',
        default='OPENAI_API_KEY',
        metavar='NAME',
        help='environment variable with its key (OPENAI_API_KEY)',
    )
    group.add_argument(
        '--server-timeout',
        type=float,
        default=120.0,
        metavar='S',
        help='longest silence of that server, seconds (120)',
    )


def is_served(args: argparse.Namespace) -> bool:
    """Whether a server answers; the options that then have no effect are refused.

    Raises:
        UsageError: an option that the chosen answerer does not use, or one that it lacks.
    """
    if args.answerer != OPENAI:
        for option in ('--base-url', '--key-env', '--server-timeout'):
            if option in args.given:
                raise UsageError(f'{option} needs --answerer {OPENAI}')
        if args.answerer == VLLM:
            refuse(args, "has no effect: vLLM's operations are not counted", '--gflops')
            refuse(args, 'has no effect: vLLM gives tokens its own positions', '--trained-frames')
            held = ('--quantize', '--attn', '--device-map')
            refuse(args, 'is not passed on: vLLM loads the language model its own way', *held)
        return False
    need(args, '--answerer', '--base-url')
    if not args.model:
        raise UsageError(f'--answerer {OPENAI} needs --model, the name of a model at the server')
    given = args.given - {METHOD.option}
    settings = {o for row in SETTINGS.loaded().values() for o in (row.option, _no(row.option))}
    alone = settings | args.local_options
    refuse(args, 'has no effect: the server is sent whole pictures', *sorted(alone & given))
    if set(_as_list(args.method)) - {NOBODY}:
        raise UsageError(
            f'{METHOD.option} {args.method[0]}: the server is sent whole pictures; only '
            f'{NOBODY} is possible'
        )
    return True


def served_from(args: argparse.Namespace) -> ServedPipeline:
    """The model at the server that the options name."""
    from tosa_ros.engines.served import ServedPipeline

    return ServedPipeline(
        args.base_url,
        args.model,
        api_key=os.environ.get(args.key_env),
        key_source=f'${args.key_env}',
        timeout_s=args.server_timeout,
    )


def pipeline_from(args: argparse.Namespace, method: MergingMethod) -> VqaPipeline:
    """The model of this process that the options name; its language model may be in vLLM."""
    pipeline = options.pipeline_from(args, method)
    if args.answerer == VLLM:
        from tosa_ros.engines.vllm import VllmAnswerer

        pipeline.answerer = VllmAnswerer(pipeline.answerer)
    return pipeline


def _as_list(method: Any) -> list[str]:
    return [] if method is None else [method] if isinstance(method, str) else method


def _no(option: str) -> str:
    return option.replace('--', '--no-', 1)
