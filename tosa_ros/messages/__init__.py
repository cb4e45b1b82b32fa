"""ROS messages <-> arrays and frames, without ROS: for the nodes and for bags alike.

Reading goes by the fields' names, so that the messages of rclpy and of rosbags (ROS 2 and ROS 1)
both work; making takes the classes to make them of.
"""

from tosa_ros.messages.cameras import Camera, camera_from_info
from tosa_ros.messages.frame_builder import FrameBuilder
from tosa_ros.messages.making import MessageMaker
from tosa_ros.messages.poses import pose_from_message, quaternion
from tosa_ros.messages.sensor_depth import SensorReader
from tosa_ros.messages.stamps import header_stamp_ns, stamp_ns, stamp_s
from tosa_ros.messages.transports import (
    TRANSPORTS,
    ImageStream,
    depth_from_message,
    rgb_from_message,
)

__all__ = [
    'TRANSPORTS',
    'Camera',
    'FrameBuilder',
    'ImageStream',
    'MessageMaker',
    'SensorReader',
    'camera_from_info',
    'depth_from_message',
    'header_stamp_ns',
    'pose_from_message',
    'quaternion',
    'rgb_from_message',
    'stamp_ns',
    'stamp_s',
]
