"""The robot side: three lifecycle nodes over the ROS-free core, and what they share.

Only the node modules import rclpy; conversion, pairing and the worker run anywhere.
"""
