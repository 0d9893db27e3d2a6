"""Open compiler, bit-exact simulator and runtime for the NPU of the Rockchip RK3588.

The public face; everything here is imported when it is first used::

    import rocketnpu

    graph = rocketnpu.load("model.tflite")                          # read a model
    with rocketnpu.open_device("auto") as device:
        plan = rocketnpu.plan(graph, rocketnpu.policy_of(device))   # what it takes, and why not the rest
        program = rocketnpu.compile(plan.parts[0], plan.policy)     # register commands
        outputs = rocketnpu.run(device, program, inputs)

Or the whole model at once, the rest on the CPU: ``rocketnpu.Inference("model.tflite").run(inputs)``, or
``rocketnpu.Delegate()`` for a LiteRT interpreter of your own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rocketnpu._version import __version__
from rocketnpu.errors import (
    CommandError,
    DeviceError,
    DeviceTimeoutError,
    FetchError,
    InputError,
    ModelError,
    ProgramError,
    RegisterFieldError,
    RocketError,
    SimulationError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from rocketnpu.compiler import compile_graph as compile  # noqa: A004
    from rocketnpu.delegate import Delegate
    from rocketnpu.device.discover import open_device
    from rocketnpu.device.executor import run
    from rocketnpu.device.standing import policy_of
    from rocketnpu.inference import Inference
    from rocketnpu.model.tflite import load
    from rocketnpu.partition.plan import plan
    from rocketnpu.policy import Policy

_LAZY = {
    "Delegate": ("rocketnpu.delegate", "Delegate"),
    "Inference": ("rocketnpu.inference", "Inference"),
    "Policy": ("rocketnpu.policy", "Policy"),
    "compile": ("rocketnpu.compiler", "compile_graph"),
    "load": ("rocketnpu.model.tflite", "load"),
    "open_device": ("rocketnpu.device.discover", "open_device"),
    "plan": ("rocketnpu.partition.plan", "plan"),
    "policy_of": ("rocketnpu.device.standing", "policy_of"),
    "run": ("rocketnpu.device.executor", "run"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line must not load LiteRT to print its help."""
    if name not in _LAZY:
        raise AttributeError(f"module 'rocketnpu' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


__all__ = [
    "CommandError",
    "Delegate",
    "DeviceError",
    "DeviceTimeoutError",
    "FetchError",
    "Inference",
    "InputError",
    "ModelError",
    "Policy",
    "ProgramError",
    "RegisterFieldError",
    "RocketError",
    "SimulationError",
    "UnsupportedError",
    "__version__",
    "compile",
    "load",
    "open_device",
    "plan",
    "policy_of",
    "run",
]
