"""What this process may use of the machine: cores and memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def cores() -> int:
    """Physical cores that this process may use: siblings of one core share its arithmetic units."""
    try:
        mine = os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
    topology = (Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in mine)
    try:
        return len({file.read_text() for file in topology}) or 1
    except OSError:
        return len(mine)


def free_memory() -> int:
    """Bytes of main memory that can be had without swapping."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
