"""How many CPU threads are sensible: the allowed cores, a cgroup's quota, OMP_NUM_THREADS."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_yolov9.system.cpu import cores, quota, stated_limit


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_quota_of_either_version_counts_and_the_least_one(tmp_path: Path) -> None:
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    assert quota(tmp_path / "none", root) is None
    groups.write_text("0::/a/b\n")
    assert quota(groups, root) is None
    write(root / "a/b/cpu.max", "max 100000\n")
    assert quota(groups, root) is None
    write(root / "a/cpu.max", "150000 100000\n")
    assert quota(groups, root) == 1.5
    groups.write_text("9:name=systemd:/\n4:cpu,cpuacct:/c/d\n3:cpuset:/x\n")
    write(root / "cpu/c/d/cpu.cfs_quota_us", "-1\n")
    write(root / "cpu/c/d/cpu.cfs_period_us", "100000\n")
    assert quota(groups, root) is None
    write(root / "cpu/c/cpu.cfs_quota_us", "50000\n")
    write(root / "cpu/c/cpu.cfs_period_us", "100000\n")
    assert quota(groups, root) == 0.5


@pytest.mark.parametrize(("stated", "limit"), [("1", 1), ("2,4", 2), (" 3", 3), ("", None), ("all", None)])
def test_omp_num_threads_is_respected(monkeypatch: pytest.MonkeyPatch, stated: str, limit: int | None) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    most, without = cores(), stated_limit()
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    assert cores() == min(most, limit or most)
    assert stated_limit() == (without if limit is None else min(limit, without or limit))


def test_affinity_is_respected() -> None:
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, mine)
