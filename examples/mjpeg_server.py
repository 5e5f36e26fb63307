"""A camera's annotated picture in the browser.

    python examples/mjpeg_server.py BUNDLE SOURCE [--port 8080] [--host 127.0.0.1] [--track]

Then open http://127.0.0.1:8080/. There is no password: --host 0.0.0.0 shows the camera to the whole network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_yolov9 import one_line_errors

with one_line_errors():  # a package that does not load is one line too
    from edge_yolov9 import Detector, MjpegServer


def main() -> None:
    """Serve until the source ends, or until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("source")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--track", action="store_true", help="ids that stay with the objects")
    options = parser.parse_args()
    with Detector(options.bundle) as detect, MjpegServer(options.port, options.host) as server:
        print(f"open {server.url}", flush=True)
        with detect.stream(options.source, track=options.track, status=print) as stream:
            for frame, detections in stream:
                server.show(detections.draw(frame))
    print(f"{stream.frames} frames, {stream.dropped} dropped")


if __name__ == "__main__":
    with one_line_errors():
        main()
