"""Measure a bundle on this machine: latency, power, heat, footprint, throughput, and what qualifies the figures.

The bundle runs in a process of its own; sensors are read in this one, twice a second.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import caveats, child, energy, footprint, throttling
from edge_yolov9.bench.sensors import machine, readings
from edge_yolov9.bench.sensors.probe import ROOT, missing
from edge_yolov9.bench.sensors.recorder import Load, Recorder

FRAMES = 300
IDLE_S = 5.0


def measure(
    bundle: Path,
    *,
    seconds: float = 60.0,
    frames: int | None = None,
    progress: child.Progress | None = None,
    images: Sequence[Path] = (),
    runtime: str | None = None,
    threads: int | None = None,
    root: Path = ROOT,
) -> dict[str, Any]:
    """Everything but accuracy.

    Args:
        bundle: a sealed bundle.
        seconds: length of the sustained run; throughput takes a third of it in addition, at most 20 s.
        frames: how many frames are timed stage by stage; 300 when None.
        progress: is told in a few words what is being measured now.
        images: pictures that are decoded and detected in turn; a made-up 1280 x 720 JPEG without objects when empty.
        runtime: see :func:`edge_yolov9.registry.open_session`.
        threads: CPU threads of the runtime; its default when None.
        root: where ``sys``, ``proc`` and ``etc`` lie.

    Returns:
        Sections ``machine``, ``latency``, ``power``, ``heat``, ``footprint``, ``throughput`` and ``warnings`` (texts).
        Milliseconds, watts, joules, megabytes, MHz and degrees Celsius, as the names say; latency is in milliseconds.
        Distributions are as :func:`edge_yolov9.bench.spread.summary` gives them, small samples as
        :func:`edge_yolov9.bench.spread.few`. What cannot be measured here is a text that begins with
        ``probe.MISSING``, in place of its figure; ``power`` is ``{"unavailable": text}`` then.

    Raises:
        BundleError: the bundle is missing, changed or not accepted by its runtime.
        RuntimeNotInstalled, TargetError: it cannot be run here.
        SourceError: one of ``images`` does not decode.
        InferenceError: it does not run.
    """
    opened = bundles.read(bundle)
    say = progress or (lambda text: None)
    found: dict[str, Any] = {"machine": machine.facts(opened, runtime, threads, root)}
    with Recorder(root) as recorder:
        idle_s = max(1.0, min(IDLE_S, seconds / 6))
        say(f"idle, {idle_s:.2g} s")
        others = Load(root)
        time.sleep(idle_s)
        before = others.cores()
        idle = recorder.between(others.begin, time.monotonic())
        say(f"start-up and memory, {footprint.STARTS} processes")
        found["footprint"] = footprint.measure(opened, runtime, threads)
        others = Load(root)
        settings = {
            "bundle": str(bundle),
            "images": [str(path) for path in images],
            "runtime": runtime,
            "threads": threads,
            "frames": frames or FRAMES,
            "seconds": seconds,
        }
        timed = child.run("worker", settings, say)
        beside = others.cores()
        begin, end = timed["sustained"].pop("begin"), timed["sustained"].pop("end")
        load = recorder.between(begin, end)
    notices = timed.pop("notices")
    timed["sustained"]["timeline"] |= _sensor_timeline(load, begin)
    found |= _sections(timed, found["footprint"])
    found["power"] = _power(recorder, idle, load, timed["sustained"]["fps"]["median"])
    found["heat"] = {
        **throttling.section(idle, load),
        "throttling": throttling.throttling(load, timed["sustained"]["timeline"], timed["sustained"]["seconds"]),
    }
    found["warnings"] = [*notices, *caveats.collect(found, before, beside)]
    return found


def _sections(timed: dict[str, Any], started: dict[str, Any]) -> dict[str, Any]:
    """``latency`` and ``throughput``."""
    one, together = timed.pop("one"), timed.pop("all")
    start = started["startup_ms"]
    return {
        "latency": {"model_load": start["model_load"], "first_inference": start["first_inference"], **timed},
        "throughput": {"one_session_fps": one["fps"], "sessions": together["sessions"], "fps": together["fps"]},
    }


def _sensor_timeline(load: Sequence[readings.Reading], begin: float) -> dict[str, Any]:
    """Clocks, temperature and power of the sustained run, at ``sensors_t`` seconds from its beginning, as ``t``."""
    return {
        "sensors_t": [round(reading.time - begin, 2) for reading in load],
        "celsius": [reading.hottest for reading in load],
        "mhz": {name: [reading.mhz.get(name) for reading in load] for name in (load[0].mhz if load else ())},
        "watts": [reading.watts.get("total") for reading in load],
    }


def _power(
    recorder: Recorder, idle: Sequence[readings.Reading], load: Sequence[readings.Reading], fps: float
) -> dict[str, Any]:
    if recorder.meter is None:
        return {"unavailable": missing(recorder.no_meter)}
    section = energy.section(recorder.meter, idle, load, fps)
    return section or {"unavailable": missing(f"{recorder.meter.source} told no watts during the run")}
