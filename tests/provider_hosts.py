"""Sessions of ONNX Runtime that use the execution provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from rocketnpu.provider import NAME

OPTIONS = {"device": "simulator", "minimum_macs": "0", "cache": "off"}


def session(model: onnx.ModelProto | bytes | Path, **options: str) -> Any:
    """Make a session with the provider, which must be registered."""
    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = 4
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME]
    chosen.add_provider_for_devices(devices[:1], {**OPTIONS, **options})
    data = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    return onnxruntime.InferenceSession(str(data) if isinstance(data, Path) else data, chosen)
