"""The ``edge-yolov9`` command. Each verb is one file here, imported when it is called.

A verb reads its options and prints; the work lies in the other rooms, what verbs share in ``common/``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any

import click

from edge_yolov9.cli.common.terminal import printable_errors
from edge_yolov9.errors import EdgeYoloError
from edge_yolov9.system.children import current_folder_kept_out
from edge_yolov9.system.imports import import_fault
from edge_yolov9.text import printable

VERBS = {
    "train": "Train a detector.",
    "data": "What is in a data set, and what is wrong with it, as a page.",
    "val": "COCO AP of a checkpoint or bundle.",
    "compile": "Turn a checkpoint into a bundle for one target.",
    "convert": "Keep a checkpoint of another program as one of ours.",
    "calibration": "Choose the images that calibrate INT8.",
    "detect": "Find objects in images, folders, videos and streams.",
    "jetson": "Build and check TensorRT engines on a Jetson.",
    "report": "Accuracy, latency, power and footprint on this machine, as a page.",
    "info": "What is in a checkpoint or bundle.",
    "visualize": "The paper's figures 6 and 7: what deep networks keep of an image.",
    "sign": "Sign a bundle with a key.",
    "verify": "Check that a bundle is signed by a key.",
    "targets": "Targets and boards, and what works on this machine.",
}


class Verbs(click.Group):
    """Knows every verb by name and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        try:
            command: click.Command = getattr(importlib.import_module(f"edge_yolov9.cli.{cmd_name}"), cmd_name)
        except Exception as error:
            raise _one_line(error) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Every deliberate error becomes one line and exit code 1."""
        with current_folder_kept_out(), printable_errors():
            return self._invoke(ctx)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with printable_errors():
            return super().make_context(info_name, args, parent, **extra)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except EdgeYoloError as error:
            raise click.ClickException(" ".join(printable(error).split())) from error
        except ImportError as error:
            raise _one_line(error) from error
        except OSError as error:  # a library that does not load, or standard output has gone, or its disk is full
            if import_fault(error):
                raise _one_line(error) from error
            with contextlib.suppress(OSError):  # standard output is none of the system's
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                ctx.exit(1)
            place = "" if error.filename is None else f"{error.filename}: "
            raise click.ClickException(f"{place}{error.strerror or error}") from error


def _one_line(error: Exception) -> Exception:
    """The one-line form of an exception that came while a foreign package was imported; any other as it is."""
    line = import_fault(error)
    return click.ClickException(printable(line)) if line else error


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edge-yolov9")
def main() -> None:
    """YOLOv9 from a trained checkpoint to a camera on a pole."""
