"""The options of who answers: a model in this process, or one behind a server."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from tosa_ros.cli.parsing import UsageError, need, option_strings
from tosa_ros.settings import METHOD, SETTINGS

if TYPE_CHECKING:
    from tosa_ros.engines.served import ServedPipeline

LOCAL, OPENAI = 'local', 'openai'
NOBODY = 'none'  # the only method that merges nothing
# What only a model in this process does.
_LOCAL_ALONE = ('--device', '--dtype', '--trained-frames', '--depth', '--depth-model', '--gflops')


def add_answerer_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('answerer')
    group.add_argument(
        '--answerer',
        choices=(LOCAL, OPENAI),
        default=LOCAL,
        help=f'who answers ({LOCAL}); {OPENAI}: --model at an OpenAI-compatible server, which is '
        'sent the frames as pictures',
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
    if getattr(args, 'answerer', LOCAL) == LOCAL:
        for option in ('--base-url', '--key-env', '--server-timeout'):
            if option in args.given:
                raise UsageError(f'{option} needs --answerer {OPENAI}')
        return False
    need(args, '--answerer', '--base-url')
    if not args.model:
        raise UsageError(f'--answerer {OPENAI} needs --model, the name of a model at the server')
    given = args.given - {METHOD.option}
    settings = {o for row in SETTINGS.loaded().values() for o in (row.option, _no(row.option))}
    alone = [o for o in option_strings(args.parser) if o in settings or o in _LOCAL_ALONE]
    for option in alone:
        if option in given:
            raise UsageError(f'{option} has no effect: the server is sent whole pictures')
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


def _as_list(method: Any) -> list[str]:
    return [] if method is None else [method] if isinstance(method, str) else method


def _no(option: str) -> str:
    return option.replace('--', '--no-', 1)
