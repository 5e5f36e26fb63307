"""``edge-yolov9 jetson``: build and check engines on the device."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge_yolov9.bundle import Bundle
from edge_yolov9.cli.common.keys import key_option
from edge_yolov9.cli.common.output import check_writable, write_json
from edge_yolov9.cli.common.terminal import echo, echo_lines
from edge_yolov9.text import table


@click.group()
def jetson() -> None:
    """Build a bundle's TensorRT engine on this device, and check it."""


@jetson.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@key_option
@click.option("--json", "json_file", metavar="FILE", help="File for what was built; - for standard output.")
def build(bundle: Path, key: str | None, json_file: str | None) -> None:
    """Build the engine of BUNDLE and keep it, so that the first start does not take minutes.

    Runs the bundle's check pictures; INT8 that does not pass is replaced by FP16, and a warning says so.
    """
    from edge_yolov9.registry import check_runtime, module, target

    check_writable(json_file, lambda: [bundle])
    opened = _jetson_bundle(bundle, key)
    check_runtime(target(opened.manifest.target), "this bundle")
    with _messages():
        loaded = module(opened.manifest.target, "session").build(opened)
    facts = {
        "bundle": str(bundle),
        "engine": str(loaded.file),
        "precision": loaded.precision,
        "fallback": loaded.why,
        "build_seconds": None if loaded.seconds is None else round(loaded.seconds, 1),
    }
    how = "was there already" if loaded.seconds is None else f"built in {loaded.seconds:.0f} s"
    reason = f", not INT8: {loaded.why}" if loaded.why else ""
    echo(f"{loaded.file}: {loaded.precision}, {how}{reason}", err=json_file == "-")
    if json_file is not None:
        write_json(facts, json_file)


@jetson.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--runtime",
    type=click.Choice(["jetson", "onnx"]),
    help="Runtime that runs the pictures; onnx checks the graph where there is no Jetson.",
)
@key_option
@click.option("--json", "json_file", metavar="FILE", help="File for the figures; - for standard output.")
def check(bundle: Path, runtime: str | None, key: str | None, json_file: str | None) -> None:
    """Run BUNDLE's check pictures and print the error of each raw tensor; exit code 1 when one is off."""
    from edge_yolov9.files import finite
    from edge_yolov9.registry import module, open_session

    check_writable(json_file, lambda: [bundle])
    opened = _jetson_bundle(bundle, key)
    checks = module(opened.manifest.target, "check")
    with _messages():
        session = open_session(opened, runtime)
    try:
        precision = session.precision or opened.manifest.precision
        heads = checks.compare(session, opened, precision)
    finally:
        session.close()
    if json_file != "-":
        _show(heads, precision, opened)
    if json_file is not None:
        rows = [{**finite(asdict(head)), "good": head.good} for head in heads]
        write_json({"bundle": str(bundle), "precision": precision, "heads": rows}, json_file)
    if wrong := checks.complaint(heads):
        raise click.ClickException(f"{'the engine' if runtime != 'onnx' else 'the graph'} is off: {wrong}")


def _jetson_bundle(path: Path, key: str | None) -> Bundle:
    from edge_yolov9 import bundle as bundles
    from edge_yolov9.errors import BundleError

    opened = bundles.read(path, key=key)
    if opened.manifest.target != "jetson":
        raise BundleError(f"{path} is a bundle for {opened.manifest.target}, not for jetson; compile --target jetson")
    return opened


def _show(heads: list[Any], precision: str, bundle: Bundle) -> None:
    facts = bundle.manifest.extra.get("check")
    of = facts.get("of") if isinstance(facts, dict) else "pictures"
    echo(f"{precision} on the bundle's {of}; errors in logits, signal to noise in dB against the float model")
    rows = [("", "largest", "rms", "engine", "graph", "least", "")]
    for head in heads:
        errors = (f"{head.max_abs:.4f}", f"{head.rms:.4f}")
        decibels = (f"{head.sqnr_db:.1f}", f"{head.graph_db:.1f}", f"{head.least_db:.1f}")
        rows.append((head.name, *errors, *decibels, "good" if head.good else "OFF"))
    echo_lines(table(rows))


@contextmanager
def _messages() -> Iterator[None]:
    """Progress of a build on standard error."""
    log, handler = logging.getLogger("edge_yolov9.jetson"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("  %(message)s"))
    level, passes = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = passes
