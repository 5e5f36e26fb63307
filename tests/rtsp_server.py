"""A camera on localhost: H.264 at 30 frames per second over RTSP, by GStreamer's server.

    /usr/bin/python3 rtsp_server.py PORT

Debian: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly.

Prints "ready" when rtsp://127.0.0.1:PORT/camera can be opened.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURE = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1"
ENCODER = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96"

Gst.init(None)
if Gst.ElementFactory.find("x264enc") is None:
    sys.exit("no x264enc")
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
camera = GstRtspServer.RTSPMediaFactory()
camera.set_launch(f"( {PICTURE} ! {ENCODER} )")
camera.set_shared(True)
server.get_mount_points().add_factory("/camera", camera)
if not server.attach(None):
    sys.exit("the port is taken")
print("ready", flush=True)
GLib.MainLoop().run()
