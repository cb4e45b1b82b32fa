"""depth_node in its own process: it reports bad sensors once and survives them."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from tosa_ros import messages
from tosa_ros.ros import conversions

pytest.importorskip('rclpy')


@pytest.fixture(scope='module')
def graph(module_bench, spawn):
    bench = module_bench
    bench.process = spawn('depth_node', max_rate='0.0')
    bench.listen('depth')
    bench.wait(lambda: bench.state('depth_node') == 'active')
    return bench


@pytest.fixture(autouse=True)
def alive(graph):
    """After every test good depth comes through."""
    yield
    graph.next(
        'depth',
        lambda: graph.publisher('sensor_depth').publish(sensor(graph)),
        lambda image: np.nanmedian(messages.depth_from_message(image)) == 2.0,
    )
    assert graph.process.alive


def sensor(graph, **changes):
    raw = np.full((graph.height, graph.width), 2000, np.uint16)
    message = conversions.image_message(raw, '16UC1', graph.header())
    for name, value in changes.items():
        setattr(message, name, value)
    return message


BAD = {
    'colour': ({'encoding': 'bgr8'}, "encoding 'bgr8' is not depth"),
    'unknown encoding': ({'encoding': '64FC9'}, "encoding '64FC9' is not depth"),
    'zero size': ({'width': 0, 'height': 0, 'data': array('B')}, 'size is 0x0'),
    'truncated': ({'data': array('B', bytes(999))}, '999 bytes of data'),
    'small step': ({'step': 3}, 'step is 3 bytes'),
}


@pytest.mark.parametrize('name', BAD)
def test_a_bad_sensor_is_reported_once(graph, name):
    changes, said = BAD[name]
    graph.wait(
        lambda: said in graph.health()['depth_node'][1],
        lambda: graph.publisher('sensor_depth').publish(sensor(graph, **changes)),
    )
    assert graph.health()['depth_node'][0] == 1
    assert graph.told_once('depth_node', said)


def test_padded_big_endian_rows_and_depth_that_is_all_invalid(graph):
    rows = np.full((graph.height, graph.width), 1500, '>u2').view(np.uint8)
    rows = np.hstack([rows, np.full((graph.height, 13), 255, np.uint8)])
    odd = sensor(graph, step=rows.shape[1], data=array('B', rows.tobytes()), is_bigendian=1)
    invalid = sensor(graph, data=array('B', bytes(2 * graph.width * graph.height)))
    for message, check in (
        (odd, lambda depth: (depth == 1.5).all()),
        (invalid, lambda depth: np.isnan(depth).all()),
    ):
        graph.next(
            'depth',
            lambda message=message: graph.publisher('sensor_depth').publish(message),
            lambda cloud, check=check: check(messages.depth_from_message(cloud)),
        )
