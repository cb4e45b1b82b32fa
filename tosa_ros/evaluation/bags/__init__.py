"""Bags as frames and frames as bags; over rosbags and `tosa_ros.ros.conversions`."""

from tosa_ros.evaluation.bags.episodes import bag_to_episode, episode_to_bag
from tosa_ros.evaluation.bags.reading import BagFrames
from tosa_ros.evaluation.bags.topics import BagTopics

__all__ = ['BagFrames', 'BagTopics', 'bag_to_episode', 'episode_to_bag']
