"""export_tower: a loaded vision encoder to one file, in one of four formats."""

from __future__ import annotations

import importlib
import logging
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tosa_ros import __version__
from tosa_ros.errors import MissingDependencyError, ModelError, TosaError
from tosa_ros.files import whole_files
from tosa_ros.loading import loading_fault, model_fingerprint
from tosa_ros.vlm.exported.conversion import to_onnx, to_openvino
from tosa_ros.vlm.exported.facts import FORMATS, SUFFIXES, Facts, described
from tosa_ros.vlm.exported.graph import TowerGraph, inputs, places_of
from tosa_ros.vlm.image_input import ImageInput

if TYPE_CHECKING:
    from tosa_ros.vlm.vision_encoder import VisionEncoder

FACTS = 'tosa_ros'  # the name of the facts in a file
PACKAGES = {'torch': (), 'aoti': (), 'onnx': ('onnx', 'onnxscript')}
PACKAGES['openvino'] = (*PACKAGES['onnx'], 'openvino')
LARGEST_ONNX = 10**9  # bytes of weights in one ONNX file, which cannot hold 2 GiB


def export_tower(
    encoder: VisionEncoder, out: str | Path, format: str, *, depth: str = 'metric'
) -> Facts:
    """Writes the encoder with its merging method as one file; an .xml has a .bin beside it, an
    .onnx of more than a gigabyte a .data.

    depth: what the file will be given: 'metric' (in metres, with the camera's intrinsics),
    'relative' or 'none'.

    Raises:
        ModelError: this model, method or format cannot be exported, or not to this file.
        MergingError: the method needs another depth.
        MissingDependencyError: a package that writes the format is not installed.
    """
    out, method = Path(out), encoder.merging
    _check(encoder, out, format)
    places = places_of(method, depth)
    image, name, settings = encoder.image_input, *described(method)
    graph = TowerGraph(encoder, method, places).eval()
    example = inputs(places, image.image_size, image.side**2)
    parameter = next(encoder.half.parameters())
    example = {key: value.to(parameter.device) for key, value in example.items()}
    with _told(encoder, format), torch.no_grad(), _quiet():
        tokens = graph(**example)[0].shape[1]
        program = torch.export.export(graph, (), example)
    path = encoder.family.checkpoint.path
    facts = Facts(
        format=format,
        model=Path(path).name,
        fingerprint=model_fingerprint(path),
        method=name,
        settings=settings,
        places=places,
        image_size=image.image_size,
        patches=image.side**2,
        tokens=tokens,
        dtype=str(parameter.dtype).removeprefix('torch.'),
        device=parameter.device.type,
        versions={'tosa_ros': __version__, 'torch': torch.__version__}
        | {package: importlib.import_module(package).__version__ for package in PACKAGES[format]},
    )
    write = {'torch': _torch, 'aoti': _aoti, 'onnx': _onnx, 'openvino': _openvino}[format]
    with whole_files(out, ModelError) as partial, _told(encoder, format), _quiet():
        write(program, example, facts, partial)
    return facts


def _check(encoder: VisionEncoder, out: Path, format: str) -> None:
    if format not in FORMATS:
        raise ModelError(f'format: {format!r}; wanted one of {", ".join(FORMATS)}')
    if out.suffix != SUFFIXES[format]:
        raise ModelError(f'{out}: wanted a name that ends in {SUFFIXES[format]} for {format}')
    for package in PACKAGES[format]:
        if importlib.util.find_spec(package) is None:
            # One extra brings all of them.
            raise MissingDependencyError('onnxscript', 'export', f'writing {format}')
    if encoder.exported is not None:
        raise ModelError(f'{encoder.exported.file}: an exported tower; wanted a checkpoint')
    if encoder.tiles is not None:
        raise ModelError('tiles: an exported tower sees one square an image; leave them out')
    if not isinstance(encoder.image_input, ImageInput):
        raise ModelError(
            f'{encoder.family.title} does not see an image as one square of pixels, as an '
            'exported tower does; wanted a LLaVA, PaliGemma, Gemma 3 or InternVL'
        )
    if encoder.family.joins != 1 and encoder.road(encoder.merging) == 'tower':
        raise ModelError(
            f'where: {encoder.merging.where!r}, but {encoder.family.title} joins patches behind '
            'its tower, which an exported one does not; wanted output'
        )
    parameter = next(encoder.half.parameters())
    if format in ('onnx', 'openvino') and parameter.dtype != torch.float32:
        raise ModelError(
            f'dtype {str(parameter.dtype).removeprefix("torch.")}: {format} files are written in '
            'float32 (what runs them may still compute in less); load the model so'
        )


@contextmanager
def _told(encoder: VisionEncoder, format: str) -> Iterator[None]:
    """What torch or a converter raises for a model, in one line."""
    try:
        yield
    except (TosaError, OSError):
        raise
    except Exception as error:
        raise ModelError(
            f'{encoder.family.title} cannot be exported to {format}: {loading_fault(error)}'
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks about torchvision and their own internals."""
    loggers = [
        logging.getLogger(name) for name in ('torch.onnx', 'torch.export', 'onnxscript', 'onnx_ir')
    ]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _torch(program: Any, example: dict[str, Tensor], facts: Facts, path: Path) -> None:
    torch.export.save(program, path, extra_files={FACTS: facts.to_json()})


def _aoti(program: Any, example: dict[str, Tensor], facts: Facts, path: Path) -> None:
    torch._inductor.aoti_compile_and_package(program, package_path=str(path))
    with zipfile.ZipFile(path, 'a') as archive:
        root = archive.namelist()[0].split('/')[0]
        archive.writestr(f'{root}/extra/{FACTS}', facts.to_json())


def _onnx(program: Any, example: dict[str, Tensor], facts: Facts, path: Path) -> None:
    made = to_onnx(program, example)
    made.model.metadata_props[FACTS] = facts.to_json()
    weights = sum(p.numel() * p.element_size() for p in program.parameters())
    made.save(str(path), external_data=weights > LARGEST_ONNX)


def _openvino(program: Any, example: dict[str, Tensor], facts: Facts, path: Path) -> None:
    import openvino

    between = path.with_suffix('.onnx')
    to_onnx(program, example).save(str(between), external_data=True)
    model = to_openvino(between)
    model.set_rt_info(facts.to_json(), FACTS)
    openvino.save_model(model, path, compress_to_fp16=False)
    for file in path.parent.glob(f'{between.name}*'):
        file.unlink()
