"""Parameters on a real node: descriptors, ranges, files, and names that nobody declared."""

from __future__ import annotations

import pytest

from tosa_ros.errors import RosError
from tosa_ros.ros.parameters import PARAMETERS, Parameter, declare, undeclared

TABLE = (
    Parameter('rate', 10.0, 'Hertz.', 0.0, 100.0),
    Parameter('count', 3, 'Things.', 1, 8),
    Parameter('method', 'tosa', 'Which.', choices=('tosa', 'tome')),
    Parameter('extrinsic', (0.0, 1.0), 'Two numbers.'),
    Parameter('model', '', 'A folder.', read_only=True),
)


@pytest.fixture
def node_with(ros):
    made = []

    def make(**overrides):
        from rclpy.parameter import Parameter as RosParameter

        node = ros.create_node(
            'parameters_test',
            parameter_overrides=[RosParameter(name, value=v) for name, v in overrides.items()],
        )
        made.append(node)
        return node

    yield make
    for node in made:
        node.destroy_node()


def set_one(node, name, value):
    from rclpy.parameter import Parameter as RosParameter

    return node.set_parameters([RosParameter(name, value=value)])[0]


def test_defaults_overrides_and_descriptors(node_with):
    node = node_with(rate=20, method='tome', extrinsic=[1, 2])
    declare(node, TABLE)
    assert node.get_parameter('rate').value == 20.0  # a whole number is taken for a double
    assert node.get_parameter('method').value == 'tome'
    assert list(node.get_parameter('extrinsic').value) == [1.0, 2.0]
    assert node.get_parameter('count').value == 3
    described = node.describe_parameter('rate')
    assert described.description == 'Hertz.'
    assert described.floating_point_range[0].to_value == 100.0
    assert node.describe_parameter('count').integer_range[0].to_value == 8
    assert node.describe_parameter('method').additional_constraints == "one of 'tosa', 'tome'"
    assert node.describe_parameter('model').read_only


@pytest.mark.parametrize(
    ('overrides', 'said'),
    [
        ({'rate': 101.0}, 'parameter rate: 101.0; wanted double 0.0 to 100.0'),
        ({'rate': 'fast'}, "parameter rate: 'fast'; wanted double 0.0 to 100.0"),
        ({'rate': float('nan')}, 'parameter rate: nan'),
        ({'count': 0}, 'parameter count: 0; wanted int 1 to 8'),
        ({'count': 2.0}, 'parameter count: 2.0'),
        ({'count': True}, 'parameter count: True'),
        ({'method': 'magic'}, "wanted string 'tosa', 'tome'"),
        ({'extrinsic': [1.0]}, 'wanted double.. 2 numbers'),
        ({'extrinsic': ['a', 'b']}, 'wanted double.. 2 numbers'),
    ],
)
def test_a_bad_value_at_the_start_is_named(node_with, overrides, said):
    node = node_with(**overrides)
    with pytest.raises(RosError, match=said):
        declare(node, TABLE)


def test_changes_at_run_time_are_kept_within_the_table(node_with):
    node = node_with()
    declare(node, TABLE)
    assert set_one(node, 'rate', 5).successful
    assert node.get_parameter('rate').value == 5.0
    assert set_one(node, 'method', 'tome').successful
    for name, value in (('rate', -1.0), ('method', 'magic'), ('model', 'x'), ('count', 1.5)):
        before = node.get_parameter(name).value
        assert not set_one(node, name, value).successful
        assert node.get_parameter(name).value == before


def test_unknown_names_are_found(node_with):
    node = node_with(rate=1.0, raet=2.0, **{'qos_overrides./x.publisher.depth': 3})
    declare(node, TABLE)
    assert undeclared(node) == ['raet']


def test_the_tables_are_complete_and_their_defaults_allowed():
    for table in PARAMETERS.values():
        names = [parameter.name for parameter in table]
        assert len(names) == len(set(names))
        for parameter in table:
            assert parameter.checked(parameter.default) in (
                parameter.default,
                list(parameter.default) if isinstance(parameter.default, tuple) else None,
            )
            assert parameter.description.endswith(('.', ').'))
