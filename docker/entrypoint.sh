#!/usr/bin/env bash
# Runs a command with the nodes' workspace, which brings ROS along.
set -e
source /opt/tosa_ros/install/setup.bash
exec "$@"
