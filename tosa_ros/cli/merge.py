"""`tosa merge`: the shards of a run, wherever they were made, as one run with one report."""

from __future__ import annotations

import argparse
import shlex
import shutil
from pathlib import Path
from typing import Any

from tosa_ros.cli import benchmarks, console, running
from tosa_ros.errors import DataError

EPILOG = """examples:
  tosa merge runs/openeqa
  tosa merge runs/openeqa node1/runs/openeqa/shard-1-of-2 node2/runs/openeqa/shard-2-of-2"""
ABOUT = """Joins the answers of `tosa eval ... --shard I/N` and reports them together, without a
model. The questions are read again, as the command line in the shards says."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        'merge', help='join the shards of an evaluation', description=ABOUT, epilog=EPILOG
    )
    parser.add_argument(
        'folder', type=Path, metavar='OUT', help='folder of the whole run, as --out of the shards'
    )
    parser.add_argument(
        'shards',
        type=Path,
        nargs='*',
        metavar='SHARD',
        help='shards in other folders, which are copied into it',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0, or 1 when answers are missing or a judge failed."""
    for shard in args.shards:
        _copy(shard, args.folder)
    parsed = _command_of(args.folder)
    parsed.out, parsed.shard, parsed.json = args.folder, None, args.json
    parsed.argv = args.argv
    benchmark, _ = benchmarks.questions_of(parsed)
    return running.merge_benchmark(benchmark, parsed, _settings_of(args.folder))


def _settings_of(folder: Path) -> dict[str, Any]:
    """The whole run's settings, of its first shard's."""
    from tosa_ros.evaluation.run_folder import SETTINGS, SHARD
    from tosa_ros.files import read_json

    found = [path for path in sorted(folder.glob(f'{SHARD}*/{SETTINGS}')) if path.is_file()]
    if not found:
        raise DataError(f'{folder}: there is no shard in it; name the shards')
    return {**read_json(found[0]), 'shard': None}


def _copy(shard: Path, out: Path) -> None:
    """A shard from elsewhere, whole or not at all."""
    from tosa_ros.evaluation.run_folder import SETTINGS, shard_folder
    from tosa_ros.files import make_folder, read_json, refuse_links, whole_folder

    if not (shard / SETTINGS).is_file():
        raise DataError(f'{shard}: is no folder of a shard: it has no {SETTINGS}')
    refuse_links(shard)
    settings = read_json(shard / SETTINGS)
    name = settings.get('shard') if isinstance(settings, dict) else None
    if not isinstance(name, str):
        raise DataError(f'{shard}: is a whole run, not a shard')
    target = shard_folder(out, name)
    if target.exists():
        if target.resolve() == shard.resolve():
            return
        raise DataError(f'{target}: is there already; remove it, or leave {shard} out')
    make_folder(out)
    with whole_folder(target, DataError) as folder:
        shutil.copytree(shard, folder)
    console.note(f'{shard} copied to {target}')


def _command_of(folder: Path) -> Any:
    """The options of the command line that made the first shard."""
    from tosa_ros.cli.main import build_parser
    from tosa_ros.evaluation.provenance import made_by

    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder')
    made = made_by(folder)
    words = [shlex.split(one['command']) for one in made]
    lines = [line[1:] for line in words if line[1:2] == ['eval']]
    if not lines:
        raise DataError(f'{folder}: no shard in it was made by tosa eval; name the shards')
    return build_parser('eval').parse_args(lines[0])
