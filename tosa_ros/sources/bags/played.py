"""What a running graph must be told to hear a bag that is played to it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tosa_ros.messages.transports import RAW, image_topic
from tosa_ros.sources.bags.opening import Bag
from tosa_ros.sources.bags.topics import NONE, BagTopics, find_topics


def graph_arguments(path: Path, named: BagTopics) -> dict[str, str]:
    """A bag's topics and transports as launch arguments; those that are named are taken as named.

    Raises:
        DataError: no such bag, a topic that is not in it, or several that could be meant.
    """
    with Bag(path).opened() as reader:
        found = find_topics(reader, named, Counter()).topics
    arguments = {'image_topic': image_topic(found.image), 'image_transport': _way(found.image)}
    if found.camera_info != NONE:
        arguments['camera_info_topic'] = found.camera_info
    if found.depth == NONE:
        return {**arguments, 'depth_source': 'none'}
    arguments |= {'depth_topic': image_topic(found.depth), 'depth_transport': _way(found.depth)}
    if found.depth_camera_info != NONE:
        arguments['depth_camera_info_topic'] = found.depth_camera_info
    return arguments


def _way(topic: str) -> str:
    """The name of the transport by which a topic's messages come."""
    image = image_topic(topic)
    return RAW if image == topic else topic.removeprefix(f'{image}/')
