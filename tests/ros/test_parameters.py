"""Parameters on a real node: descriptors, ranges, files, and undeclared names."""

from __future__ import annotations

import pytest

from tosa_ros.errors import RosError
from tosa_ros.ros.parameters import declare
from tosa_ros.ros.topics import TOPICS
from tosa_ros.ros.undeclared import undeclared
from tosa_ros.settings import NODES, Choice, Kind, Number, Numbers, Setting

TABLE = (
    Setting('rate', 10.0, Number(0, 100), 'Hertz.', unit='Hz'),
    Setting('count', 3, Number(1, 8, whole=True), 'Things.'),
    Setting('scale', 1.0, Number(0, above=True), 'Anything above nothing.'),
    Setting('method', 'tosa', Choice(('tosa', 'tome')), 'Which.'),
    Setting('extrinsic', (0.0, 1.0), Numbers(Number(), count=2), 'Two numbers.'),
    Setting('model', '', Kind(), 'A folder.', read_only=True),
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
    assert described.description == 'Hertz. Unit: Hz.'
    assert described.floating_point_range[0].to_value == 100.0
    assert node.describe_parameter('count').integer_range[0].to_value == 8
    assert node.describe_parameter('method').additional_constraints == 'one of tosa, tome'
    assert node.describe_parameter('scale').additional_constraints == 'above 0'
    assert node.describe_parameter('model').read_only


@pytest.mark.parametrize(
    ('overrides', 'said'),
    [
        ({'rate': 101.0}, 'parameter rate: 101.0; wanted a number, 0 to 100 Hz'),
        ({'rate': 'fast'}, "parameter rate: 'fast'; wanted a number, 0 to 100 Hz"),
        ({'rate': float('nan')}, 'parameter rate: nan'),
        ({'count': 0}, 'parameter count: 0; wanted a whole number, 1 to 8'),
        ({'count': 2.0}, 'parameter count: 2.0'),
        ({'count': True}, 'parameter count: True'),
        ({'scale': 0.0}, 'parameter scale: 0.0; wanted a number, above 0'),
        ({'method': 'magic'}, 'wanted one of tosa, tome'),
        ({'extrinsic': [1.0]}, 'wanted 2 numbers'),
        ({'extrinsic': ['a', 'b']}, 'wanted 2 numbers'),
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
    for name, value in (
        ('rate', -1.0),
        ('scale', 0.0),
        ('method', 'magic'),
        ('model', 'x'),
        ('count', 1.5),
    ):
        before = node.get_parameter(name).value
        assert not set_one(node, name, value).successful
        assert node.get_parameter(name).value == before


def test_unknown_names_are_found(node_with):
    others = {'max_new_tokens': 5, 'qos_overrides./answer.publisher.depth': 3}
    own = {'qos_overrides./image.subscription.durability': 'volatile'}
    wrong = {
        'qos_overrides./imgae.subscription.depth': 3,
        'qos_overrides./image.publisher.depth': 3,
        'qos_overrides./visual_tokens.publisher.lifespan': 1,
    }
    node = node_with(rate=1.0, raet=2.0, colour='red', **others, **own, **wrong)
    declare(node, TABLE)
    unknown, elsewhere = undeclared(node, TOPICS['vision_node'])
    assert elsewhere == sorted(others)
    assert [name.partition(' ')[0] for name in unknown] == ['colour', *sorted(wrong), 'raet']
    assert unknown[-1] == 'raet (did you mean rate?)'
    [misspelt] = [name for name in unknown if 'imgae' in name]
    assert misspelt.endswith('(did you mean qos_overrides./image.subscription.depth?)')


def test_values_that_do_not_go_together_are_refused(node_with):
    def together(values, given):
        if values['method'] == 'tome' and 'rate' in given and values['rate'] > 50:
            raise RosError(f'rate: {values["rate"]:g} is too fast for tome')

    with pytest.raises(RosError, match='parameter rate: 60 is too fast for tome'):
        declare(node_with(rate=60.0, method='tome'), TABLE, together)
    node = node_with(rate=60.0)
    declare(node, TABLE, together)
    assert set_one(node, 'method', 'tome').successful
    refused = set_one(node, 'rate', 70)
    assert not refused.successful
    assert refused.reason == 'rate: 70 is too fast for tome'


def test_the_tables_are_complete_and_their_defaults_allowed():
    for table in NODES.values():
        names = [row.name for row in table]
        assert len(names) == len(set(names))
        for row in table:
            assert row.checked(row.default) == row.default
            assert row.from_ros(row.to_ros(row.default)) == row.default
            assert row.help.endswith(('.', ').'))
