"""Our tracker is no worse than the public ByteTrack and OC-SORT of the package ``trackers`` on made scenes."""

from __future__ import annotations

import pytest

pytest.importorskip("trackers", reason="the package trackers comes with the development extra")

from tests.bench.trackers import MAKERS, compare


def test_ids_are_as_good_as_those_of_public_trackers() -> None:
    table = compare(1, "ours", "ByteTrack", "OC-SORT")
    for name in ("ByteTrack", "OC-SORT"):
        assert name in MAKERS
        for mark in (0, 1):  # HOTA, IDF1
            assert table["all"]["ours"][mark] >= table["all"][name][mark] - 0.002
            for kind, row in table.items():
                assert row["ours"][mark] >= row[name][mark] - 0.05, kind
