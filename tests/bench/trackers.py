"""Our tracker beside the public ByteTrack and OC-SORT of the package ``trackers``, on made scenes.

    python -m tests.bench.trackers [SEEDS]

Prints HOTA and IDF1 (by the package's own metrics) per kind of scene. Every tracker gets the same boxes, times and
threshold, and of every tracker the boxes over the threshold count.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_yolov9.detections import Detections
from edge_yolov9.geometry import iou_matrix
from edge_yolov9.video.tracking import ByteTrack
from tests.scenes import THRESHOLD, Scene, scenes

Tracker = Callable[[Detections, float], tuple[Any, Any]]


def ours(scene: Scene) -> Tracker:
    tracker = ByteTrack(scene.fps, confidence=THRESHOLD, lost_seconds=scene.patience)

    def update(found: Detections, time: float) -> tuple[Any, Any]:
        tracked = tracker.update(found, seconds=time)
        kept = np.flatnonzero(tracked.track_id)
        return tracked.xyxy[kept], tracked.track_id[kept]  # type: ignore[index]

    return update


def public(scene: Scene, name: str, timed: bool) -> Tracker:
    import trackers

    if name == "ByteTrack":
        tracker: Any = trackers.ByteTrackTracker(
            frame_rate=scene.fps,
            lost_track_buffer=round(30 * scene.patience),
            track_activation_threshold=THRESHOLD,
            high_conf_det_threshold=THRESHOLD,
        )
    else:
        tracker = trackers.OCSORTTracker(
            frame_rate=scene.fps, lost_track_buffer=round(30 * scene.patience), high_conf_det_threshold=THRESHOLD
        )

    def update(found: Detections, time: float) -> tuple[Any, Any]:
        tracked = tracker.update(found.as_supervision(), timestamp=time if timed else None)
        kept = (tracked.tracker_id >= 0) & (tracked.confidence >= THRESHOLD)
        return tracked.xyxy[kept].astype(np.float32), tracked.tracker_id[kept]

    return update


MAKERS: dict[str, Callable[[Scene], Tracker]] = {
    "ours": ours,
    "ByteTrack": lambda scene: public(scene, "ByteTrack", timed=False),
    "ByteTrack, timed": lambda scene: public(scene, "ByteTrack", timed=True),
    "OC-SORT": lambda scene: public(scene, "OC-SORT", timed=False),
    "OC-SORT, timed": lambda scene: public(scene, "OC-SORT", timed=True),
}


def score(scene: Scene, make: Callable[[Scene], Tracker]) -> tuple[float, float]:
    """(HOTA, IDF1) of one tracker on one scene."""
    from trackers.eval import compute_hota_metrics, compute_identity_metrics

    update = make(scene)
    true_ids, ids, overlaps = [], [], []
    for time, (boxes, names), found in zip(scene.times, scene.truth, scene.found, strict=True):
        tracked, own = update(found, time)
        true_ids.append(names)
        ids.append(np.asarray(own, np.int64))
        overlaps.append(iou_matrix(boxes, tracked.reshape(-1, 4)))
    numbers = {name: k for k, name in enumerate(np.unique(np.concatenate(ids)))}
    ids = [np.array([numbers[name] for name in frame], np.int64) for frame in ids]
    hota = compute_hota_metrics(true_ids, ids, overlaps)["HOTA"]
    return float(np.mean(hota)), float(compute_identity_metrics(true_ids, ids, overlaps)["IDF1"])


def compare(seeds: int, *names: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Kind of scene -> tracker (those of ``names``) -> mean (HOTA, IDF1); "all" is the mean of the kinds."""
    marks: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for seed in range(seeds):
        for kind, scene in scenes(seed):
            for name in names:
                marks[kind][name].append(score(scene, MAKERS[name]))
    means = {k: {name: tuple(np.mean(rows, axis=0)) for name, rows in row.items()} for k, row in marks.items()}
    means["all"] = {name: tuple(np.mean([row[name] for row in means.values()], axis=0)) for name in names}
    return means  # type: ignore[return-value]


if __name__ == "__main__":
    table = compare(int(sys.argv[1]) if len(sys.argv) > 1 else 3, *MAKERS)
    print(f"{'HOTA / IDF1':20}" + "".join(f"{name:>18}" for name in MAKERS))
    for kind, row in table.items():
        print(f"{kind:20}" + "".join(f"{h:11.3f} {i:.3f} " for h, i in row.values()))
