"""``edge-yolov9 info``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_yolov9.bundle.record import AutoRecord, CompilationRecord, LatencyRecord, PlanRecord, SearchRecord
from edge_yolov9.cli.common.keys import key_option, refuse_key
from edge_yolov9.cli.common.output import check_writable, write_json
from edge_yolov9.cli.common.terminal import echo
from edge_yolov9.files import from_json
from edge_yolov9.text import short

if TYPE_CHECKING:
    from edge_yolov9.model import YOLOv9


ESTIMATED = {"estimated_ms": "estimate, ms per frame (roofline at the rates of the profile; none was measured)"}


@click.command()
@click.argument("file", metavar="CHECKPOINT|BUNDLE", type=click.Path(path_type=Path))
@key_option
@click.option("--json", "json_file", metavar="FILE", help="File for everything that is known; - for standard output.")
def info(file: Path, key: str | None, json_file: str | None) -> None:
    """What is in a checkpoint or bundle."""
    from edge_yolov9.errors import InputError

    check_writable(json_file, lambda: [file])
    if not os.path.lexists(file):
        raise InputError(f"there is nothing at {short(file, 200)}; expected a checkpoint file or a bundle folder")
    if not file.is_dir():
        refuse_key(file, key)
    about = bundle_info(file, key) if file.is_dir() else checkpoint_info(file)
    if json_file != "-":
        show(about)
    if json_file is not None:
        write_json(about, json_file)


def checkpoint_info(path: Path) -> dict[str, Any]:
    """Everything about a checkpoint that JSON can hold.

    Raises:
        CheckpointError: see :func:`edge_yolov9.checkpoint.load`.
    """
    from edge_yolov9.checkpoint import load

    checkpoint = load(path, unnamed=True)
    height, width = checkpoint.input_size
    return {
        "kind": "checkpoint",
        "file": str(path),
        "bytes": path.stat().st_size,
        "variant": checkpoint.variant,
        "names": list(checkpoint.names),
        "input_size": {"height": height, "width": width},
        "options": checkpoint.model.options.changed(),
        "cost": _costs(checkpoint.model, checkpoint.input_size),
        "facts": checkpoint.facts,
    }


def _costs(model: YOLOv9, input_size: tuple[int, int]) -> dict[str, Any]:
    """Parameters and GFLOPs of the training graph (main and auxiliary) and of the deployed one (pruned and folded)."""
    import torch

    from edge_yolov9.compiler import fold
    from edge_yolov9.model import build
    from edge_yolov9.model.cost import gflops, parameters

    size, num_classes, options = model.variant.size, model.num_classes, model.options
    with torch.device("meta"):
        training = build(f"yolov9-{size}", num_classes, options).eval()
        deployed = fold(build(f"gelan-{size}", num_classes, options).eval())
    return {
        name: {
            "parameters": parameters(graph),
            "gflops": round(gflops(graph, input_size), 3),
            "gflops_640": round(gflops(graph), 3),
        }
        for name, graph in (("training", training), ("deployed", deployed))
    }


def bundle_info(path: Path, key: str | None = None) -> dict[str, Any]:
    """Everything about a bundle that JSON can hold, its files checked against their digests. Needs no torch.

    Raises:
        BundleError: see :func:`edge_yolov9.bundle.read`.
    """
    from edge_yolov9 import bundle as bundles

    bundle = bundles.read(path, key=key)
    manifest = asdict(bundle.manifest)
    sizes = {name: (bundle.path / name).stat().st_size for name in bundle.manifest.files}
    rule = manifest.pop("input")
    return {
        "kind": "bundle",
        "file": str(path),
        "digest": bundle.digest,
        "bytes": sum(sizes.values()),
        "sizes": sizes,
        "options": manifest["source"].get("options", {}),
        "input_size": {"height": rule["height"], "width": rule["width"]},
        "input": rule,
        **manifest,
    }


def show(about: Mapping[str, Any]) -> None:
    """Print what was found, one subject a line."""
    names, size = about["names"], about["input_size"]
    _line("file", f"{about['file']} ({about['kind']}, {about['bytes'] / 1e6:.2f} MB)")
    _line("variant", about["variant"])
    if about.get("options"):
        _line("options", _plain(about["options"]))
    _line("classes", f"{len(names)}: {', '.join(names)}")
    _line("input size", f"{size['width']} x {size['height']} (width x height, pixels)")
    if about["kind"] == "checkpoint":
        _show_costs(about["cost"], size)
        _tree("facts", about["facts"])
        return
    _line("target", f"{about['target']}, board {about['board']}, precision {about['precision']}")
    tensor = about["input"]["tensor"]
    _line("input", f"{tensor['dtype']} {tensor['layout']} {about['input']['color']}, {_shape(tensor['shape'])}")
    for name, count in about["sizes"].items():
        _line("model" if name == about["model"] else "", f"{name}, {count / 1e6:.2f} MB")
    compilation = from_json(CompilationRecord, about["compilation"], "compilation")
    if compilation.plan is not None:
        _tree("int8", _int8(compilation.plan, compilation.search))
    if isinstance(own := about["extra"].get(about["target"]), Mapping):  # what the target says of its graph
        _tree(about["target"], {ESTIMATED.get(key, key): value for key, value in own.items()})
    if compilation.auto is not None:
        _tree("auto", _stated(compilation.auto))
    if isinstance(npu := about["extra"].get("npu"), Mapping):
        _tree("npu", npu)
    for key in ("accuracy", "parity", "calibration", "tools", "licence", "source"):
        _tree(key, about[key] or "not given")


def _int8(plan: PlanRecord, search: SearchRecord | None) -> dict[str, object]:
    """What was decided, without the range of every tensor."""
    decided: dict[str, object] = {"ranges": plan.rule, "float layers": plan.float_layers or "none"}
    if search is not None:
        decided["attempts"] = len(search.attempts)
        if search.latency is not None:
            decided["latency"] = _stated(search.latency)
    return decided


def _stated(record: AutoRecord | LatencyRecord) -> Any:
    """A record as JSON has it, without what is not known."""

    def known(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: known(item) for key, item in value.items() if item is not None}
        return value

    return known(asdict(record))


def _show_costs(costs: Mapping[str, Any], size: Mapping[str, int]) -> None:
    own = f"{size['width']} x {size['height']}"
    for name, cost in costs.items():
        text = f"{cost['parameters'] / 1e6:.1f}M parameters, {cost['gflops_640']:.1f} GFLOPs at 640 x 640"
        _line(name, text if own == "640 x 640" else f"{text}, {cost['gflops']:.1f} at {own}")


def _tree(key: str, value: Any, depth: int = 0) -> None:
    """A mapping of plain values takes one line; deeper ones take one line per entry."""
    if isinstance(value, Mapping) and any(isinstance(item, Mapping) for item in value.values()):
        _line(key, "", depth)
        for name, item in value.items():
            _tree(str(name), item, depth + 1)
    else:
        _line(key, _plain(value), depth)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items()) or "none stated"
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _shape(shape: Any) -> str:
    return " x ".join(str(size) for size in shape)


def _line(key: str, text: str, depth: int = 0) -> None:
    """One line."""
    line = f"{'  ' * depth}{key:<{max(1, 12 - 2 * depth)}} {text}".rstrip()
    echo(line)
