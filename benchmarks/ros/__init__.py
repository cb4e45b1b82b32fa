"""What ROS costs: the graph measured from outside, beside direct calls."""

import os

# A graph of its own, on this machine only; before rclpy reads it.
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 101))
