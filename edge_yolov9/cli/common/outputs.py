"""Where the verbs that make a page put it: a folder, a second copy of the JSON, the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_yolov9.cli.common.output import write_json
from edge_yolov9.cli.common.terminal import echo, echo_lines
from edge_yolov9.files import finite

if TYPE_CHECKING:
    from edge_yolov9.report.page import Page


@dataclass(frozen=True)
class Outputs:
    """Where a report goes."""

    out: Path | None
    """Folder for the pages and the JSON."""
    json_file: str | None
    """Second place for the JSON; - for standard output."""

    def write_json(self, data: object) -> None:
        """Write the second copy, where one is asked for."""
        if self.json_file is not None:
            write_json(finite(data), self.json_file)

    def show(self, page: Page) -> None:
        """Print a page, beside standard output where that takes the JSON."""
        from edge_yolov9.report.page import as_text

        echo_lines(as_text(page), err=self.json_file == "-")

    def say(self, text: str) -> None:
        """Print a line in the same place."""
        echo(text, err=self.json_file == "-")
