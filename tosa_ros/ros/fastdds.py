"""Fast DDS made fit for images: larger shared-memory segments, and none left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
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
# Segments of data (fastrtps before Kilted). Ports have numbers, which come again.
SEGMENT = re.compile(r'(fastdds|fastrtps)_[0-9a-f]{16}')


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
    """Removes the segments that killed processes left in shared memory; gives how many.

    Nothing of a living process is touched, whenever it starts or ends: Fast DDS draws a name once,
    locks the name's lock file before it makes the segment, and unlocks it after it has removed
    that. So a segment that is there and whose lock is free will never be used again. A port's name
    is used again, by the next process of that number, which clears it under a mutex of its own:
    by the time we had the lock, the files of that name might be the next one's.
    """
    removed = 0
    for segment in folder.glob('fast*'):
        if not SEGMENT.fullmatch(segment.name):
            continue
        lock = segment.with_name(f'{segment.name}_el')
        try:
            with contextlib.ExitStack() as held:
                # Others remove the lock of a process that they find dead.
                with contextlib.suppress(FileNotFoundError):
                    stream = held.enter_context(open(lock, 'rb'))
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                segment.unlink()
                lock.unlink(missing_ok=True)
                removed += 1
        except OSError:
            continue  # In use, somebody else's, or gone already.
    return removed
