"""Measure a bundle on this machine: latency, power, heat, footprint, throughput, and what qualifies the figures.

The bundle runs in a process of its own; sensors are read in this one, twice a second.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import caveats, child, footprint, worker
from edge_yolov9.bench.energy import NoPower, Power, power_section
from edge_yolov9.bench.measured import Latency, Measured, Throughput
from edge_yolov9.bench.sensors import machine, readings
from edge_yolov9.bench.sensors.probe import ROOT, Missing
from edge_yolov9.bench.sensors.recorder import Load, Recorder
from edge_yolov9.bench.stages import Timeline
from edge_yolov9.bench.throttling import heat_section

FRAMES = 300
IDLE_S = 5.0


def measure_bundle(
    bundle: Path,
    *,
    seconds: float = 60.0,
    frames: int | None = None,
    progress: child.TextProgress | None = None,
    images: Sequence[Path] = (),
    runtime: str | None = None,
    threads: int | None = None,
    root: Path = ROOT,
    key: str | None = None,
) -> Measured:
    """Everything but accuracy.

    Args:
        bundle: a sealed bundle.
        seconds: length of the sustained run; throughput takes a third of it in addition, at most 20 s.
        frames: how many frames are timed stage by stage; 300 when None.
        progress: is called with a few words: what is being measured now.
        images: pictures that are decoded and detected in turn; a made-up 1280 x 720 JPEG without objects when empty.
        runtime: see :func:`edge_yolov9.registry.open_session`.
        threads: CPU threads of the runtime; its default when None.
        key: public key that must have signed it; None for any bundle.
        root: where ``sys``, ``proc`` and ``etc`` lie.

    Raises:
        BundleError: the bundle is missing, changed or not accepted by its runtime.
        RuntimeNotInstalled, TargetError: it cannot be run here.
        SourceError: one of ``images`` does not decode.
        InferenceError: it does not run.
    """
    opened = bundles.read(bundle, key=key)
    say = progress or (lambda text: None)
    about = machine.facts(opened, runtime, threads, root)
    with Recorder(root) as recorder:
        idle_s = max(1.0, min(IDLE_S, seconds / 6))
        say(f"idle, {idle_s:.2g} s")
        others = Load(root)
        time.sleep(idle_s)
        before = others.cores()
        idle = recorder.between(others.begin, time.monotonic())
        say(f"start-up and memory, {footprint.STARTS} processes")
        costs = footprint.measure_footprint(opened, runtime, threads)
        others = Load(root)
        paths = tuple(str(path) for path in images)
        settings = worker.Settings(str(bundle), paths, runtime, threads, frames or FRAMES, seconds, key)
        timed = child.run("worker", settings, worker.Timings, say)
        beside = others.cores()
        load = recorder.between(timed.run.begin, timed.run.end)
    latency = _latency(timed, costs, _with_sensors(timed.run.sustained.timeline, load, timed.run.begin))
    return Measured(
        machine=about,
        latency=latency,
        power=_power(recorder, idle, load, latency.sustained.fps.median),
        heat=heat_section(idle, load, latency.sustained.timeline.p50, latency.sustained.seconds),
        footprint=costs,
        throughput=Throughput(timed.one_session.fps, timed.all_sessions.sessions, timed.all_sessions.fps),
        warnings=(*timed.notices, *caveats.collect(about, latency, before, beside)),
    )


def _latency(timed: worker.Timings, costs: footprint.Footprint, timeline: Timeline) -> Latency:
    start = costs.startup_ms
    return Latency(
        model_load=start["model_load"],
        first_inference=start["first_inference"],
        warm_up=timed.warm_up,
        **vars(timed.by_stage),
        sustained=replace(timed.run.sustained, timeline=timeline),
    )


def _with_sensors(timeline: Timeline, load: Sequence[readings.Reading], begin: float) -> Timeline:
    """``timeline`` with clocks, temperature and power; ``begin`` is of the run, seconds of ``time.monotonic``."""
    return replace(
        timeline,
        sensors_t=tuple(round(reading.time - begin, 2) for reading in load),
        celsius=tuple(reading.hottest for reading in load),
        mhz={name: tuple(reading.mhz.get(name) for reading in load) for name in (load[0].mhz if load else ())},
        watts=tuple(reading.watts.get("total") for reading in load),
    )


def _power(
    recorder: Recorder, idle: Sequence[readings.Reading], load: Sequence[readings.Reading], fps: float
) -> Power | NoPower:
    if recorder.meter is None:
        return NoPower(Missing(recorder.no_meter))
    return power_section(recorder.meter, idle, load, fps)
