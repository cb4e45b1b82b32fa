"""Loads the models, devices and merging methods that parameters name."""

from __future__ import annotations

from typing import Any

import torch

from tosa_ros import depth
from tosa_ros.assets import embedded_depth, embedded_model
from tosa_ros.errors import DepthError
from tosa_ros.merging import MergingMethod, method_from, settings_of
from tosa_ros.settings import SETTINGS, chosen_weights


def load_half(half: Any, node: Any, **more: Any) -> Any:
    """VisionEncoder or Answerer, of the node's parameters model, device and dtype, and of `more`.

    Raises:
        ModelError: there is no such model or device.
    """
    model, dtype = node.value('model'), node.value('dtype')
    if not model:
        _say_embedded(node, 'model')
    return half.from_pretrained(
        model or embedded_model(),
        device=node.value('device'),
        dtype=None if dtype == 'auto' else getattr(torch, dtype),
        **chosen_weights(node.values()),
        **more,
    )


def load_estimator(node: Any) -> depth.DepthEstimator:
    """The depth estimator of the node's parameters depth_model and device.

    Raises:
        DepthError, ModelError: there is no such model or device.
    """
    model = node.value('depth_model')
    if not model:
        _say_embedded(node, 'depth_model')
        model = embedded_depth('metric')
    estimator = depth.load_estimator(model, device=node.value('device'))
    if estimator.needs_sensor:
        raise DepthError(
            f"depth_model {str(model)!r} refines a sensor's depth, and depth_node estimates from "
            'colour alone; take another model, or the sensor (source: sensor)'
        )
    return estimator


def _say_embedded(node: Any, parameter: str) -> None:
    node.get_logger().info(
        f'{parameter} is empty: the embedded model answers, which knows only the tiny world'
    )


def merging_from(values: dict[str, Any]) -> tuple[MergingMethod, list[str]]:
    """The merging method of a node's values, and the settings that are set but which it lacks.

    Raises:
        MergingError: settings of the method that do not go together.
    """
    chosen = {
        name: values[name]
        for name in SETTINGS
        if name in values and values[name] != SETTINGS[name].default
    }
    own = settings_of(values['method'])
    given = {name: value for name, value in chosen.items() if name in own}
    return method_from(values['method'], given), sorted(chosen.keys() - given.keys())


def check_merging(values: dict[str, Any], given: dict[str, Any]) -> MergingMethod:
    """The method of a node's values, of which these were given just now.

    Raises:
        MergingError: one that was given is not the method's, or they do not go together.
    """
    method, lacking = merging_from(values)
    for name in given:
        if name in lacking:
            method_from(values['method'], {name: given[name]})
    return method
