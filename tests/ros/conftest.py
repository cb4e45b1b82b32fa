"""Tests with real rclpy and real DDS: a domain of their own, on this machine only."""

from __future__ import annotations

import os

import pytest

# Before rclpy is imported anywhere. 1 to 101 are the domains whose ports are free on Linux.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 101)


@pytest.fixture(scope='session')
def ros():
    """rclpy, initialised for the session."""
    rclpy = pytest.importorskip('rclpy')
    rclpy.init()
    yield rclpy
    rclpy.try_shutdown()
