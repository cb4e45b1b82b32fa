#!/usr/bin/env bash
# The ROS and Ubuntu packages that package.xml names; pip's are left to python_layer.sh:
#
#   docker/ros_layer.sh ROS_DISTRO KINDS [KEY ...]
#
# KINDS are rosdep's kinds of dependencies, such as 'exec test'; each KEY is one to leave out.
set -euo pipefail
cd "$(dirname "$0")/.."
distro=$1 kinds=$2
shift 2
mapfile -t pip < <(grep -oE 'python3-[a-z0-9-]+-pip' package.xml)
apt-get update
apt-get install -y --no-install-recommends python3-venv
rosdep install --rosdistro "$distro" --from-paths . --ignore-src -y \
    --dependency-types "$kinds" --skip-keys "${pip[*]} $*"
