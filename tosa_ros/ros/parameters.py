"""The nodes' parameters: rows of the table of settings, declared on a node and kept within it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tosa_ros.errors import RosError, TosaError
from tosa_ros.ros import distributions
from tosa_ros.settings import Choice, Number, Setting

# Takes all values as they would be, and those that were given; raises TosaError to refuse them.
Together = Callable[[dict[str, Any], dict[str, Any]], None]


def declare(node: Any, settings: Sequence[Setting], together: Together | None = None) -> None:
    """Declares settings on a node, with descriptors, and keeps what is set within them.

    together: refuses values that each are allowed, but not together.

    Raises:
        RosError: a value from the command line or a file that a setting does not take.
    """
    rows = {row.name: row for row in settings}
    given = {}
    for name, row in rows.items():
        value = row.default
        if name in node._parameter_overrides:
            value = given[name] = checked(row, node._parameter_overrides[name].value)
        node.declare_parameter(name, row.to_ros(value), _descriptor(row), ignore_override=True)
    if together is not None:
        try:
            together(values(node, settings), given)
        except TosaError as error:
            raise RosError(f'parameter {error}') from error
    _guard(node, rows, together)


def checked(row: Setting, value: Any) -> Any:
    """The value of a ROS parameter. Raises RosError, with the parameter's name, for a bad one."""
    try:
        return row.from_ros(value)
    except TosaError as error:
        raise RosError(f'parameter {error}') from error


def values(node: Any, settings: Sequence[Setting]) -> dict[str, Any]:
    """The meanings of a node's parameters, by name."""
    return {row.name: row.from_ros(node.get_parameter(row.name).value) for row in settings}


def _guard(node: Any, rows: dict[str, Setting], together: Together | None) -> None:
    """Refuses bad values at run time, and takes numbers where ROS wants doubles or text."""
    from rcl_interfaces.msg import SetParametersResult
    from rclpy.parameter import Parameter

    def coerce(items: list[Any]) -> list[Any]:
        """ROS would refuse `ros2 param set NODE keep 1` as an integer, `alpha 0.5` as a double."""
        return [_coerced(rows[item.name], item) if item.name in rows else item for item in items]

    def _coerced(row: Setting, item: Any) -> Any:
        try:
            return Parameter(row.name, value=row.to_ros(row.from_ros(item.value)))
        except TosaError:
            return item  # `check` says why.

    def check(items: list[Any]) -> Any:
        try:
            given = {i.name: checked(rows[i.name], i.value) for i in items if i.name in rows}
            if together is not None and given:
                together(values(node, list(rows.values())) | given, given)
        except TosaError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    distributions.before_set(node, coerce)
    node.add_on_set_parameters_callback(check)


def _descriptor(row: Setting) -> Any:
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    unit = f' Unit: {row.unit}.' if row.unit else ''
    descriptor = ParameterDescriptor(
        name=row.name, description=f'{row.help}{unit}', read_only=row.read_only
    )
    descriptor.dynamic_typing = not distributions.PRE_SET_CALLBACKS
    kind = row.kind
    if not isinstance(kind, Number):
        words = f'one of {row.allowed}' if isinstance(kind, Choice) else row.allowed
        descriptor.additional_constraints = words
    elif kind.low is None or kind.high is None or kind.above:
        descriptor.additional_constraints = row.allowed
    elif kind.whole:
        descriptor.integer_range = [
            IntegerRange(from_value=int(kind.low), to_value=int(kind.high))
        ]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(kind.low), to_value=float(kind.high))
        ]
    return descriptor
