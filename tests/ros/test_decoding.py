"""Messages of a video are decoded one after another, off the caller's thread."""

from __future__ import annotations

import itertools
import threading
import time
from array import array

import pytest
from videos import video_packets

from tosa_ros.ros import conversions
from tosa_ros.ros.decoding import MOST_WAITING, DecodingThread

pytest.importorskip('rclpy')


class Counting:
    """A decoder that needs every message: it gives how many it had."""

    def __init__(self):
        self.count = 0

    def images(self, message):
        self.count += 1
        if message == 'bad':
            raise ValueError('bad')
        return [(message, self.count)]


def wait(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_each_message_in_its_turn_and_a_bad_one_is_survived():
    images, errors = [], []
    thread = DecodingThread(Counting, images.append, errors.append)
    for message in (1, 2, 'bad', 3):
        thread.put(message)
    wait(lambda: len(images) == 3)
    assert images == [(1, 1), (2, 2), (3, 4)]
    assert [str(error) for error in errors] == ['bad']
    assert thread.stop(5.0)


def test_who_puts_never_waits_and_too_many_are_dropped_together():
    gate, images = threading.Event(), []

    def emit(image):
        gate.wait(10)
        images.append(image)

    thread = DecodingThread(Counting, emit, lambda error: None)
    thread.put('first')
    wait(lambda: not thread._waiting)
    began = time.monotonic()
    for number in range(MOST_WAITING + 5):
        thread.put(number)
    assert time.monotonic() - began < 1.0
    gate.set()
    wait(lambda: len(images) == 6)
    # The first was under way; after the drop a new decoder begins.
    assert images[0] == ('first', 1)
    assert images[1:] == [(MOST_WAITING + index, 1 + index) for index in range(5)]
    assert thread.dropped == MOST_WAITING
    assert thread.stop(5.0)


def test_a_video_on_a_topic_is_decoded_off_the_executor(bench, node_here, checkpoint):
    pytest.importorskip('av')
    from sensor_msgs.msg import CompressedImage

    from tosa_ros.ros.vision_node import VisionNode

    node = node_here(
        VisionNode,
        model=str(checkpoint),
        max_rate=0.0,
        use_depth=False,
        image_transport='compressed',
    )
    threads, came = set(), node._feed._emit
    node._feed._emit = lambda image: threads.add(threading.current_thread().name) or came(image)
    publisher = bench.node.create_publisher(CompressedImage, 'image/compressed', 10)
    bench.listen('visual_tokens')
    bench.wait(publisher.get_subscription_count)
    packets = iter(itertools.cycle(video_packets(20)))

    def send():
        data = array('B', next(packets).data)
        publisher.publish(CompressedImage(header=bench.header(), format='h264', data=data))

    bench.wait(lambda: len(bench.received['visual_tokens']) >= 3, send, every_s=0.02)
    assert threads == {'decoding'}
    # Whole pictures need no thread.
    threads.clear()
    jpeg = conversions.compressed_image_message(bench.rgb, bench.header())
    bench.wait(lambda: threads == {'MainThread'}, lambda: publisher.publish(jpeg))
    bench.node.destroy_publisher(publisher)
