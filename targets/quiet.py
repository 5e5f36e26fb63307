"""Keeps vendor runtimes from reporting what they run. Import it before a runtime.

The one module that does something when it is imported: the switches must be set before the runtime is loaded, whichever
module loads it first. A user's own setting stays.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""ONNX Runtime from 1.29 on reports every model that it opens to Microsoft, unless told not to."""

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
"""OpenVINO sends usage figures from the device when it is imported, unless this package is absent."""
