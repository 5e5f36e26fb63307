"""What this process may use of the machine: cores and memory."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

CGROUPS = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")


def cores() -> int:
    """CPU threads that are sensible here: the physical cores that this process may use.

    Siblings of one core share its arithmetic units. Less where a cgroup's quota or OMP_NUM_THREADS says so.
    """
    return min(_allowed_cores(), stated_limit() or sys.maxsize)


def stated_limit() -> int | None:
    """CPU threads that a cgroup's quota or OMP_NUM_THREADS allows, the lesser; at least 1. None where neither says."""
    stated = re.match(r"\s*(\d+)", os.environ.get("OMP_NUM_THREADS", ""))
    limits = [limit for limit in (quota(), stated and int(stated.group(1))) if limit is not None]
    return max(1, int(min(limits))) if limits else None


def quota(groups: Path = CGROUPS, root: Path = CGROUP_ROOT) -> float | None:
    """CPUs of the least quota among this process's cgroup and those above it, of both versions; None without."""
    found = []
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # not Linux
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        place = top / path.lstrip("/")
        for folder in (place, *place.parents):
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                if controllers:
                    limit = int((folder / "cpu.cfs_quota_us").read_text())
                    period = int((folder / "cpu.cfs_period_us").read_text())
                else:
                    limit, period = map(int, (folder / "cpu.max").read_text().split())  # "max" is no number
                if limit > 0:
                    found.append(limit / period)
            if folder == top:
                break
    return min(found, default=None)


def _allowed_cores() -> int:
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
