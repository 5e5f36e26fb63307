"""Frames in, frames out: sources that open, reconnect and drop; streams of detections; tracking; windows and MJPEG.

``source.py`` tells what a text means and opens it by ``capture.py`` or ``gstreamer.py``; ``reader.py`` opens it again
when it is lost, ``latest.py`` keeps the newest frame only: both are ``frames.Frames``. ``stream.py`` overlaps capture,
inference and use; what waits between its threads lies in ``exchange.py``.
"""
