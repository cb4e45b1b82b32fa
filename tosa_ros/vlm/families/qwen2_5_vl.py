"""Qwen2.5-VL: another tower, with windows, behind the same prompt as Qwen2-VL's."""

from __future__ import annotations

from tosa_ros.vlm.families.qwen2_vl import Qwen2Vl


class Qwen25Vl(Qwen2Vl):
    """Qwen2.5-VL."""

    title = 'Qwen2.5-VL'
