"""Fast DDS made fit for images: larger shared-memory segments, and none left behind."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tosa_ros.ros.package_files import shared_file

IMAGES, TEXT = 'config/fastdds.xml', 'config/fastdds_text.xml'
# They publish no more than text, and need no segment for images.
SMALL = ('qa_node', 'tosa up', 'tosa say')
PROFILE_VARIABLE = 'FASTDDS_DEFAULT_PROFILES_FILE'
# What distributions before Jazzy call it, and later ones warn about.
OLD_VARIABLE, OLD_DISTRIBUTIONS = 'FASTRTPS_DEFAULT_PROFILES_FILE', ('humble', 'iron')
SHARED_MEMORY = Path('/dev/shm')
# A process that starts makes the lock file, then locks it.
YOUNG_S = 1.0


def profile_environment(
    process: str, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variable that gives Fast DDS our profile for a node or command, by its name.

    Empty where the user has set a profile of their own.
    """
    ours = [str(shared_file(name)) for name in (IMAGES, TEXT)]
    for variable in (PROFILE_VARIABLE, OLD_VARIABLE):
        # Ours may be there from the process that starts this one.
        if environment.get(variable, '') not in ('', *ours):
            return {}
    if 'fastrtps' not in environment.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp'):
        return {}
    old = environment.get('ROS_DISTRO') in OLD_DISTRIBUTIONS
    return {OLD_VARIABLE if old else PROFILE_VARIABLE: ours[process in SMALL]}


def remove_dead_segments(folder: Path = SHARED_MEMORY) -> int:
    """Removes what processes that were killed left in shared memory, as `fastdds shm clean` does.

    A segment's lock file is locked as long as its process lives. Gives how many were removed.
    """
    removed = 0
    for lock in folder.glob('fastdds_*_el'):
        try:
            if time.time() - lock.stat().st_mtime < YOUNG_S:
                continue
            with open(lock, 'rb') as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lock.with_name(lock.name.removesuffix('_el')).unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
                removed += 1
        except OSError:
            continue  # In use, somebody else's, or gone already.
    return removed
