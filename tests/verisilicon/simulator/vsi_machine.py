"""One job on an NPU of our own making: instructions, coefficients and images where a test puts them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "coefficients"))
import encode

from rocketnpu.memory import Memory
from rocketnpu.verisilicon.registers.commands import load_state
from rocketnpu.verisilicon.registers.nn import NN
from rocketnpu.verisilicon.registers.states import NN_START, TP_START
from rocketnpu.verisilicon.registers.tp import TP
from rocketnpu.verisilicon.simulator import Npu
from rocketnpu.verisilicon.soc import A311D, IMX8MP

SOCS = {7: A311D, 8: IMX8MP}
INSTRUCTION, KERNELS, IMAGE, TARGET, TABLE = 0x10000, 0x20000, 0x400000, 0x800000, 0xC00000
FILL = 0xA5
"""What lies in memory that nobody writes."""


class Rig:
    """A chip with memory for one job."""

    def __init__(self, generation: int = 7, size: int = 1 << 16) -> None:
        self.soc = SOCS[generation]
        self.memory = Memory()
        self.instruction = np.zeros(4096, np.uint8)
        self.kernels = np.zeros(1 << 18, np.uint8)
        self.image = np.full(size, FILL, np.uint8)
        self.target = np.full(size, FILL, np.uint8)
        self.table = np.zeros(4096, np.uint8)
        places = (INSTRUCTION, KERNELS, IMAGE, TARGET, TABLE)
        arrays = (self.instruction, self.kernels, self.image, self.target, self.table)
        for address, array in zip(places, arrays, strict=True):
            self.memory.map(address, array)
        self.npu = Npu(self.memory, self.soc)

    def run(self, layout, fields):
        """Write an instruction and start it."""
        words = layout.encode(fields)
        self.instruction[: words.nbytes] = words.view(np.uint8)
        start = NN_START if layout is NN else TP_START
        return self.npu.run_stream(np.array(load_state(start, (INSTRUCTION,)), "<u4"))


def nn_fields(generation, *, weights, zero_point, per_core, image, out, offset=(0, 0), step=1, **changes):
    """Fields of a convolution; image is (channels, rows, columns), out (rows, columns)."""
    kernels, channels, rows, columns = weights.shape
    bits = SOCS[generation].offset_bits
    fields = {
        "POOLING": 3 if step == 2 else 0,
        "POOLING_XY": int(step == 1),
        "LAYER_FLUSH": 1,
        "ROUNDING": 1,
        "KERNEL_X": columns,
        "KERNEL_Y": rows,
        "KERNEL_Z": channels,
        "KERNELS_PER_CORE": per_core,
        "COEFFICIENTS_64": KERNELS // 64,
        "COEFFICIENT_ZERO_POINT": zero_point,
        "IN_ADDRESS": IMAGE,
        "IN_X": image.shape[2],
        "IN_Y": image.shape[1],
        "IN_X_STRIDE": image.shape[2],
        "IN_Y_STRIDE": image.shape[1],
        "IN_X_OFFSET": offset[1] & (1 << bits) - 1,
        "IN_Y_OFFSET": offset[0] & (1 << bits) - 1,
        "OUT_ADDRESS": TARGET,
        "OUT_X": out[1] * step,
        "OUT_Y": out[0] * step,
        "OUT_Z": kernels,
        "OUT_X_STRIDE": out[1],
        "OUT_Y_STRIDE": out[0],
        "NO_Z_OFFSET": int(generation == 8),
        "NO_FLUSH": int(generation == 8),
    }
    return fields | changes


def scale_fields(generation, scale):
    """Multiplier and shift of a scale, as the driver writes them (facts 4)."""
    bits = int(np.float32(scale).view(np.uint32))
    exponent, mantissa = bits >> 23 & 0xFF, bits & 0x7FFFFF
    if generation == 7:
        return {"MULTIPLIER": mantissa >> 8, "SHIFT": 142 - exponent}
    return {"MULTIPLIER": mantissa, "SHIFT": 127 - exponent & 0x7F}


def exact_scale(generation, scale):
    """The number that these fields stand for, as numerator and power of two."""
    fields = scale_fields(generation, scale)
    if generation == 7:
        return 0x8000 | fields["MULTIPLIER"], fields["SHIFT"]
    shift = fields["SHIFT"]
    return 0x800000 | fields["MULTIPLIER"], (shift - 128 if shift > 63 else shift) + 23


def write_kernels(rig, generation, weights, biases, *, zero_point, per_core, plane, depthwise=False, run_bits=3):
    """Put coefficients where instructions look for them."""
    if generation == 7:
        data = encode.zero_runs(
            weights, biases, per_core=per_core, zero_point=zero_point, cores=8, run_bits=run_bits, plane=plane
        )
    else:
        data = encode.entropy(
            weights,
            biases,
            per_core=per_core,
            zero_point=zero_point,
            cores=6,
            order=[4, 5, 3, 6, 2, 7, 1, 0],
            depthwise=depthwise,
        )
    rig.kernels[: len(data)] = np.frombuffer(data, np.uint8)


__all__ = ["NN", "TP", "Rig", "encode", "exact_scale", "nn_fields", "scale_fields", "write_kernels"]
