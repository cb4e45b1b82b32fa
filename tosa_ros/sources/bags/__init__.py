"""Bags as frames and frames as bags, over rosbags and `tosa_ros.messages`."""

from tosa_ros.sources.bags.from_folder import folder_to_bag
from tosa_ros.sources.bags.info import bag_info
from tosa_ros.sources.bags.reading import BagFrames
from tosa_ros.sources.bags.to_folder import bag_to_folder
from tosa_ros.sources.bags.topics import BagTopics
from tosa_ros.sources.bags.writing import frames_to_bag

__all__ = [
    'BagFrames',
    'BagTopics',
    'bag_info',
    'bag_to_folder',
    'folder_to_bag',
    'frames_to_bag',
]
