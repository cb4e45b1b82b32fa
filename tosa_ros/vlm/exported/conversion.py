"""A program of torch.export as an ONNX model, and that as one of OpenVINO.

torch's exporter has no way to write some operations of a merging tower, or a slow one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

OPSET = 20  # the first with Gelu
OUTPUTS = ('tokens', 'sizes', 'sources', 'xyz')


def to_onnx(program: Any, inputs: dict[str, Tensor]) -> Any:
    """An ONNX program of inputs of the same names and shapes. Needs onnxscript."""
    return torch.onnx.export(
        program,
        kwargs=inputs,
        dynamo=True,
        opset_version=OPSET,
        custom_translation_table=_operators(),
        output_names=OUTPUTS[: len(program.graph_signature.user_outputs)],
        verbose=False,
    )


def to_openvino(onnx: Path) -> Any:
    """An OpenVINO model of an ONNX file."""
    import openvino

    model = openvino.Core().read_model(onnx)
    _stable_order(model)
    return model


def _operators() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Translations by torch operation. Needs onnxscript.

    ONNX's TopK puts the first of equals first, so that of all numbers it is a stable sort.
    """
    from onnxscript import opset20 as op

    def ordered(x: Any, dim: int, descending: bool) -> Any:
        count = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
        return op.TopK(x, count, axis=dim, largest=int(descending), sorted=1)

    def sort(x: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        return ordered(x, dim, descending)

    def index_add(x: Any, dim: int, index: Any, source: Any, alpha: float = 1.0) -> Any:
        if alpha != 1.0 or dim not in (0, 1):
            raise ValueError(f'index_add: dim {dim}, alpha {alpha}')
        if dim == 0:
            rows = op.Unsqueeze(index, op.Constant(value_ints=[1]))
        else:  # of one image: 0 and the row
            rows = op.Unsqueeze(index, op.Constant(value_ints=[0, 2]))
            rows = op.Pad(rows, op.Constant(value_ints=[0, 0, 1, 0, 0, 0]))
        return op.ScatterND(x, rows, source, reduction='add')

    def index_select(x: Any, dim: int, index: Any) -> Any:
        return op.Gather(x, index, axis=dim)

    def floor_divide(x: Any, y: Any) -> Any:
        return op.Div(x, y)  # of positions, which are never below 0

    def bmm(x: Any, y: Any) -> Any:
        # A product of single numbers is one of a column and a row.
        return op.Mul(x, y) if x.shape[-1] == 1 else op.MatMul(x, y)

    def power(x: Any, exponent: float) -> Any:
        # Pow itself takes ten times as long.
        if abs(exponent) in (0.5, 1):
            root = op.Sqrt(x) if abs(exponent) == 0.5 else x
            return op.Reciprocal(root) if exponent < 0 else root
        return op.Pow(x, op.Constant(value_float=float(exponent)))

    def gelu(x: Any, approximate: str = 'none') -> Any:
        return op.Gelu(x, approximate=approximate)

    aten = torch.ops.aten
    return {
        aten.sort.stable: sort,
        aten.index_add.default: index_add,
        aten.index_select.default: index_select,
        aten.floor_divide.default: floor_divide,
        aten.bmm.default: bmm,
        aten.pow.Tensor_Scalar: power,
        aten.gelu.default: gelu,
    }


def _stable_order(model: Any) -> None:
    """Has equal numbers keep their order in every sort, as ONNX says and OpenVINO does not."""
    from openvino import opset11

    for old in model.get_ops():
        if old.get_type_name() == 'TopK':
            settings = old.get_attributes()
            new = opset11.topk(
                old.input_value(0),
                old.input_value(1),
                settings['axis'],
                settings['mode'],
                settings['sort'],
                settings['index_element_type'],
                stable=True,
            )
            for before, after in zip(old.outputs(), new.outputs(), strict=True):
                before.replace(after)
