"""Loading checkpoints by transformers and torch.hub: quietly, and with errors of one line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from tosa_ros.errors import TosaError, printable

SAMPLED_BYTES = 4096  # of weights, to distinguish models
_DAMAGE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@contextlib.contextmanager
def one_line_errors(what: str, error: type[TosaError]) -> Iterator[None]:
    """Turns whatever foreign files or foreign code raise into an `error`.

    A panic in the Rust of tokenizers or safetensors is one too, though no Exception.
    """
    try:
        yield
    except TosaError:
        raise
    except BaseException as cause:  # transformers and what it calls raise anything for odd files
        if not isinstance(cause, Exception) and type(cause).__name__ != 'PanicException':
            raise
        raise error(f'{what}: {loading_fault(cause)}') from cause


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """No report on tensors that are unexpected on purpose, and a bar only on a terminal."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    bars = logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if bars:
        logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def loading_fault(error: Exception) -> str:
    """Why a library could not load a checkpoint: one line, printable, of a length to be read."""
    text = str(error)
    if 'trust_remote_code' in text or 'contains custom code' in text:
        return 'it brings code of its own (auto_map), which is never run'
    if 'ignore_mismatched_sizes' in text:
        return 'its tensors have other shapes than its configuration says'
    if isinstance(error, MemoryError):
        return f'it does not fit in memory ({text})' if text else 'it does not fit in memory'
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    name = type(error).__name__
    if not lines or isinstance(error, LookupError | ArithmeticError | TypeError | AttributeError):
        lines = [f'it is malformed ({name}: {" ".join(lines)})']
    elif lines[0].endswith(':') and len(lines) > 1:  # a heading; what is wrong comes after it
        lines = [' '.join(lines[:2])]
    return printable(lines[0])


def check_shards(path: str, error: type[TosaError]) -> None:
    """Raises `error` if a folder's index of weights leads out of the folder.

    A hub's cache is allowed its links, from a snapshot to the blobs beside it.
    """
    folder = Path(path)
    for index in sorted(folder.glob('*.safetensors.index.json')) if folder.is_dir() else ():
        with one_line_errors(f'{index}: cannot be read', error):
            shards = json.loads(index.read_text('utf-8'))
        shards = shards.get('weight_map') if isinstance(shards, dict) else None
        if not isinstance(shards, dict) or not all(isinstance(s, str) for s in shards.values()):
            raise error(f'{index}: no index of weights; wanted names of files by tensor')
        for name in {*shards.values()}:
            place = (folder / name).resolve()
            homes = (folder.resolve(), folder.resolve().parent.parent / 'blobs')
            if Path(name).name != name or place.parent not in homes:
                raise error(f'{index}: names {printable(name)!r}, which is not in its folder')


def model_type_of(path: str, revision: str | None = None) -> str | None:
    """A checkpoint's model_type; None where it brings code of its own for it.

    Read before transformers makes a configuration of it, which says little of unknown types.
    """
    from transformers import PreTrainedConfig

    settings, _ = PreTrainedConfig.get_config_dict(path, revision=revision)
    own = settings.get('auto_map')
    if isinstance(own, dict) and 'AutoConfig' in own:
        return None
    return settings.get('model_type')


def is_missing_folder(path: str) -> bool:
    """Whether a model's path is neither a folder nor a possible owner/name of a hub.

    Found at once, because asking a hub for it takes a minute offline.
    """
    local = '/' not in path or path.startswith(('.', '/', '~'))
    return local and not Path(path).is_dir()


def model_fingerprint(path_or_id: str | Path) -> str:
    """Of a checkpoint folder: its configuration and some bytes of every tensor; else the id."""
    folder = Path(path_or_id)
    if not folder.is_dir():
        return str(path_or_id)
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix == '.json':
            digest.update(file.name.encode() + file.read_bytes())
        elif file.suffix == '.safetensors':
            digest.update(f'{file.name} {file.stat().st_size}'.encode())
            for part in _sampled(file):
                digest.update(part)
    return digest.hexdigest()[:20]


def _sampled(file: Path) -> Iterator[bytes]:
    """A safetensors file's header, and the start and the middle of every tensor.

    A fine-tuned model has the header of the model that it comes from.
    """
    with file.open('rb') as weights:
        size = int.from_bytes(weights.read(8), 'little')
        header = weights.read(min(size, file.stat().st_size))
        yield header
        try:
            tensors = json.loads(header)
            spans = [tensors[name]['data_offsets'] for name in tensors if name != '__metadata__']
            for start, end in spans:
                for at in (start, (start + end) // 2):
                    weights.seek(8 + size + at)
                    yield weights.read(max(0, min(SAMPLED_BYTES, end - at)))
        except (*_DAMAGE, OSError):
            return  # damaged: loading it says so
