"""ExportedTower: runs an exported file in place of a checkpoint's vision half."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tosa_ros.errors import MergingError, MissingDependencyError, ModelError, SpatialError
from tosa_ros.loading import model_fingerprint, one_line_errors
from tosa_ros.merging import MergingMethod
from tosa_ros.vision import MergedTokens
from tosa_ros.vlm.exported.facts import Facts, described, options_of
from tosa_ros.vlm.exported.graph import PLACES
from tosa_ros.vlm.exported.writing import FACTS

# Takes tensors by their names, gives those that `graph` says.
Run = Callable[[dict[str, Tensor]], list[Tensor]]


class ExportedTower:
    """A file that `export_tower` made, ready to run.

    method: the merging method in it, which is the only one.
    """

    def __init__(self, file: str, facts: Facts, run: Run) -> None:
        self.file, self.facts, self._run = file, facts, run
        self.method = facts.merging(file)

    @classmethod
    def open(
        cls, path: str | Path, device: str = 'cpu', dtype: torch.dtype | None = None
    ) -> ExportedTower:
        """Loads a .pt2, .onnx or .xml; the last two run on the CPU whatever the device.

        dtype: bfloat16 has OpenVINO compute in it; other files have their type in them.

        Raises:
            ModelError: the file is missing, was not made by `export_tower`, or cannot run here.
            MissingDependencyError: the package that runs it is not installed.
        """
        path = Path(path)
        openers = {'.pt2': _open_pt2, '.onnx': _open_onnx, '.xml': _open_openvino}
        if path.suffix not in openers:
            raise ModelError(f'tower: {str(path)!r}; wanted a file {", ".join(openers)}')
        if not path.is_file():
            raise ModelError(f'tower: {path}: no such file; `tosa export` makes one')
        with one_line_errors(f'tower {path} cannot be loaded', ModelError):
            text, run = openers[path.suffix](path, str(device), dtype)
        return cls(str(path), facts_of(text, path), run)

    @property
    def places(self) -> tuple[str, ...]:
        """What it takes of a frame's depth (see `graph`)."""
        return PLACES[self.facts.places]

    def check_model(self, path: str) -> None:
        """Raises ModelError unless the file was made of this checkpoint."""
        self.facts.check_model(Path(path).name, model_fingerprint(path), self.file)

    def check(self, method: MergingMethod) -> None:
        """Raises MergingError for a method that is not the one in the file."""
        if method != self.method:
            raise MergingError(
                f'{self.file}: merges by {self.facts.options}, and cannot by '
                f'{options_of(*described(method))}: ask for the former, or export another file'
            )

    def accepts(self, kind: str) -> None:
        """Raises SpatialError if a frame's depth is not of the kind that the file takes.

        kind: 'metric', 'levels' or 'none' (see `frame_places.spatial_kind`).
        """
        wanted = self.facts.places
        if kind in ('none', wanted) or wanted == 'points':
            return
        has, option = {'metric': ('in metres', 'metric'), 'levels': ('relative', 'relative')}[kind]
        takes = {'metric': 'depth in metres', 'levels': 'relative depth', 'none': 'no depth'}
        raise SpatialError(
            f'{self.file}: exported for {takes[wanted]}, but the frame has depth that is {has}: '
            f'export it with --depth {option}, or leave depth out'
        )

    def __call__(self, pixels: Tensor, places: dict[str, Tensor]) -> MergedTokens:
        """Merged tokens of one image: pixels (3, S, S), and what `places` names, (N, ...)."""
        given = {'pixels': pixels[None].float()}
        given |= {name: places[name].float() for name in self.places}
        with one_line_errors(f'tower {self.file} cannot run', ModelError):
            tokens, size, source, *xyz = self._run(given)
        return MergedTokens(
            tokens=tokens,
            class_tokens=tokens[:, :0],
            size=size,
            source=source.long(),
            xyz=xyz[0] if xyz else None,
            nearest=source.long(),
        )


def facts_of(text: str | None, path: Path) -> Facts:
    """Raises ModelError for a file without facts, or with other ones."""
    if not text:
        raise ModelError(f'{path}: not made by `tosa export`, so what it computes is unknown')
    return Facts.from_json(text, str(path))


def _open_pt2(path: Path, device: str, dtype: torch.dtype | None) -> tuple[str | None, Run]:
    text = None
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(f'extra/{FACTS}'):
                text = archive.read(name).decode()
    facts = facts_of(text, path)
    if facts.format == 'aoti':
        _check_compiled(facts, path, device)
        run = torch._inductor.aoti_load_package(str(path))
    else:
        program = torch.export.load(path)
        if device != facts.device:
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        run = program.module()
    return text, lambda given: list(run(**{k: v.to(device) for k, v in given.items()}))


def _check_compiled(facts: Facts, path: Path, device: str) -> None:
    made, here = facts.versions.get('torch'), torch.__version__
    if made != here:
        raise ModelError(f'{path}: compiled by torch {made}, but this is {here}; export it again')
    if torch.device(device).type != facts.device:
        raise ModelError(
            f'{path}: compiled for {facts.device}, but the device is {device}; export it with '
            f'--device {device}'
        )


def _open_onnx(path: Path, device: str, dtype: torch.dtype | None) -> tuple[str | None, Run]:
    session = _session(path)
    return session.get_modelmeta().custom_metadata_map.get(FACTS), on_onnxruntime(path, session)


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError('onnxruntime', 'export', f'running {path}') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Threads that wait by spinning slow down every other process on a robot.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])


def on_onnxruntime(path: Path, session: Any = None) -> Run:
    """Runs an ONNX file, on as many threads as torch has."""
    session = session or _session(path)
    names = [one.name for one in session.get_outputs()]

    def run(given: dict[str, Tensor]) -> list[Tensor]:
        found = session.run(names, {name: _array(value) for name, value in given.items()})
        return [torch.from_numpy(one) for one in found]

    return run


def _open_openvino(path: Path, device: str, dtype: torch.dtype | None) -> tuple[str | None, Run]:
    try:
        import openvino
    except ImportError as error:
        raise MissingDependencyError('openvino', 'export', f'running {path}') from error
    model, text = openvino.Core().read_model(path), None
    with suppress(RuntimeError):  # there is none
        text = model.get_rt_info(FACTS).astype(str)
    return text, on_openvino(model, 'bf16' if dtype == torch.bfloat16 else 'f32')


def on_openvino(model: Any, precision: str) -> Run:
    """Runs an OpenVINO model on the CPU, as many threads as torch has. precision: f32 or bf16."""
    import openvino

    settings = {
        'INFERENCE_PRECISION_HINT': precision,
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_NUM_THREADS': torch.get_num_threads(),
    }
    request = openvino.Core().compile_model(model, 'CPU', settings).create_infer_request()

    def run(given: dict[str, Tensor]) -> list[Tensor]:
        found = request.infer({name: _array(value) for name, value in given.items()})
        # The next run writes into the same memory.
        return [torch.from_numpy(np.array(one)) for one in found.values()]

    return run


def _array(value: Tensor) -> np.ndarray:
    return value.cpu().contiguous().numpy()
