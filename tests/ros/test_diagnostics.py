"""Faults are logged once and dropped when over; rates and latencies are those measured."""

from __future__ import annotations

import pytest

from tosa_ros.ros.diagnostics import ERROR, OK, WARN, Faults, Meter, diagnostic_array


def test_a_fault_of_every_frame_is_logged_once():
    log = []
    faults = Faults(lambda level, text: log.append((level, text)), hold_s=5.0)
    for frame in range(100):
        faults.report('image', f'image {frame} is cut off', frame / 30)
    assert log == [(WARN, 'image 0 is cut off')]
    for _ in range(3):  # Another fault of the same thing is news, once.
        faults.report('image', 'the encoding is wrong', 3.5)
        faults.report('image', 'image 100 is cut off', 3.5)
    assert log[1:] == [(WARN, 'the encoding is wrong')]
    [fault] = faults.settled(4.0)
    assert fault.message == 'image 100 is cut off'
    assert fault.count == 106
    assert faults.settled(9.0) == []
    assert log[2:] == [(OK, 'over: image 100 is cut off (106 times)')]
    faults.report('image', 'again', 10.0)
    assert log[-1] == (WARN, 'again')


def test_a_lasting_fault_waits_for_being_cleared_and_the_worst_leads():
    faults = Faults(lambda level, text: None)
    faults.report('depth', 'no depth', 0.0)
    faults.report('model', 'no model', 0.0, ERROR, lasting=True)
    assert [fault.message for fault in faults.settled(1.0)] == ['no model', 'no depth']
    assert [fault.message for fault in faults.settled(1000.0)] == ['no model']
    faults.clear('model')
    assert faults.settled(1001.0) == []


def test_the_meter_gives_rate_percentiles_and_age():
    meter = Meter()
    assert meter.values(0.0) == {
        'fps': '0.0',
        'latency_p50_ms': 'none',
        'latency_p95_ms': 'none',
        'input_age_s': 'none',
    }
    for index in range(100):
        meter.input(index * 0.1)
        meter.done(index * 0.1, (index + 1) * 1e-3)
    values = meter.values(10.0)
    assert float(values['fps']) == pytest.approx(10, abs=0.2)
    assert float(values['latency_p50_ms']) == pytest.approx(50.5, abs=1)
    assert float(values['latency_p95_ms']) == pytest.approx(95, abs=1)
    assert values['input_age_s'] == '0.10'


def test_the_message_leads_with_the_worst_fault():
    pytest.importorskip('diagnostic_msgs.msg')
    from builtin_interfaces.msg import Time

    faults = Faults(lambda level, text: None)
    faults.report('a', 'first', 0.0, WARN)
    faults.report('b', 'second', 0.0, ERROR)
    message = diagnostic_array(
        Time(sec=5), 'vision_node', 'tiny-vlm', faults.settled(0.0), 'active', {'fps': '9.8'}
    )
    [status] = message.status
    assert status.level == b'\x02'
    assert status.message == 'second; first'
    assert {item.key: item.value for item in status.values} == {'state': 'active', 'fps': '9.8'}
    assert message.header.stamp.sec == 5
    fine = diagnostic_array(Time(), 'vision_node', '', [], 'active', {})
    assert (fine.status[0].level, fine.status[0].message) == (b'\x00', 'active')
