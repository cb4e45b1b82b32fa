"""Images larger than Fast DDS's own segment, best effort, from process to process."""

from __future__ import annotations

import sys
import time
from array import array

import pytest

pytest.importorskip('rclpy')

SENT = 30
# Counts images until one says that it is the last, or none comes for long.
LISTEN = """
import rclpy, time
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

rclpy.init()
node, received = rclpy.create_node('subscriber'), []
came = lambda image: received.append(image.encoding)
node.create_subscription(Image, 'large', came, qos_profile_sensor_data)
end = time.monotonic() + 30
while time.monotonic() < end and 'last' not in received:
    rclpy.spin_once(node, timeout_sec=0.1)
print('received', len(received))
"""


def test_best_effort_images_of_three_megabytes_arrive(bench, run_process):
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    subscriber = run_process([sys.executable, '-c', LISTEN])
    publisher = bench.node.create_publisher(Image, 'large', qos_profile_sensor_data)
    bench.wait(lambda: publisher.get_subscription_count() == 1)
    image = Image(height=720, width=1280, step=3840, encoding='rgb8')
    image.data = array('B', bytes(720 * 3840))
    for number in range(SENT):
        image.encoding = 'last' if number == SENT - 1 else 'rgb8'
        publisher.publish(image)
        time.sleep(1 / 5)
    bench.wait(lambda: not subscriber.alive, lambda: publisher.publish(image))
    [line] = [line for line in subscriber.output.splitlines() if line.startswith('received')]
    # A busy machine loses some, at five a second; without the profile all but the last are lost.
    assert int(line.split()[1]) > SENT / 4
    bench.node.destroy_publisher(publisher)
