"""What a bag holds and how it is read, as plain values: `tosa bag info`."""

from __future__ import annotations

from typing import Any

from tosa_ros.sources.bags.reading import BagFrames


def bag_info(frames: BagFrames) -> dict[str, Any]:
    """A bag's images, topics and notes.

    Returns:
        images, images_without_depth: how many. seconds: from the first image to the last.
        used: the topic of each kind that is read. depth_scale: units of 16-bit depth per metre;
        None where there is no such depth. topics: type and messages of every topic. notes: what
        to know of the depth, and the bag's faults.
    """
    scaled = frames.missing_depth < len(frames) and not frames.depth_is_metric
    with frames.opened() as bag:
        topics: dict[str, dict[str, Any]] = {}
        for connection in sorted(bag.connections, key=lambda one: one.topic):
            row = topics.setdefault(connection.topic, {'type': connection.msgtype, 'messages': 0})
            row['messages'] += connection.msgcount
    return {
        'images': len(frames),
        'images_without_depth': frames.missing_depth,
        'seconds': float(frames.stamps_s[-1] - frames.stamps_s[0]),
        'used': vars(frames.topics),
        'depth_scale': frames.depth_scale if scaled else None,
        'topics': topics,
        'notes': list(frames.notes),
    }
