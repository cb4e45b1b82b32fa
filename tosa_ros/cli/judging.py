"""The options of a judge, and the judge that they name."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tosa_ros.cli.parsing import need

if TYPE_CHECKING:
    from tosa_ros.evaluation.results import Judging


def add_judge_options(parser: argparse.ArgumentParser) -> None:
    """Options of the language model that marks free answers."""
    from tosa_ros.evaluation.judge.protocol import MAX_TOKENS, TIMEOUT_S

    group = parser.add_argument_group('judge (LLM-Match)')
    group.add_argument(
        '--judge-url', metavar='URL', help='address of an OpenAI-compatible server, up to /v1'
    )
    group.add_argument(
        '--judge-model', metavar='M', help='model on that server, or a local checkpoint'
    )
    group.add_argument(
        '--judge-prompts',
        type=Path,
        metavar='DIR',
        help="folder of OpenEQA's prompts, for its exact wording",
    )
    group.add_argument(
        '--judge-key-env',
        default='OPENAI_API_KEY',
        metavar='NAME',
        help='environment variable with the key (OPENAI_API_KEY)',
    )
    group.add_argument(
        '--judge-max-tokens',
        type=int,
        default=MAX_TOKENS,
        metavar='N',
        help=f"longest reply, thoughts included ({MAX_TOKENS}, OpenEQA's)",
    )
    group.add_argument(
        '--judge-timeout',
        type=float,
        default=TIMEOUT_S,
        metavar='S',
        help=f'longest silence of the server, seconds ({TIMEOUT_S:g})',
    )


def judging_from(args: argparse.Namespace, loads: bool = True) -> Judging | None:
    """The judge that the options name: an endpoint, a local checkpoint, or none.

    loads: whether a checkpoint is loaded.
    """
    from tosa_ros.evaluation.judge import EndpointJudge, LocalJudge
    from tosa_ros.evaluation.judge_prompts import JudgePrompts
    from tosa_ros.evaluation.results import Judging

    if not hasattr(args, 'judge_url'):
        return None
    need(args, '--judge-prompts', '--judge-url', '--judge-model')
    need(args, '--judge-max-tokens', '--judge-url', '--judge-model')
    need(args, '--judge-key-env', '--judge-url')
    need(args, '--judge-timeout', '--judge-url')
    if not args.judge_url and not args.judge_model:
        return None
    folder, tokens = args.judge_prompts, args.judge_max_tokens
    prompts = JudgePrompts() if folder is None else JudgePrompts.from_folder(folder)
    if not args.judge_url:
        if not loads:
            return None
        return Judging(LocalJudge(args.judge_model, args.device, max_tokens=tokens), prompts)
    variable = args.judge_key_env
    judge = EndpointJudge(
        args.judge_url,
        args.judge_model or '',
        api_key=os.environ.get(variable),
        key_source=f'${variable}',
        max_tokens=tokens,
        timeout_s=args.judge_timeout,
    )
    return Judging(judge, prompts)


def command_line(args: argparse.Namespace) -> str:
    """The command as it was typed, for the report; a judge's key in it is hidden."""
    from tosa_ros.endpoint.posting import without_key

    key = os.environ.get(getattr(args, 'judge_key_env', ''), '').strip()
    return without_key(shlex.join(['tosa', *args.argv]), key)
