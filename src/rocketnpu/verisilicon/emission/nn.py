"""The NN instruction of a convolution, and its coefficients (facts 4 to 6)."""

from __future__ import annotations

import numpy as np

from rocketnpu.errors import UnsupportedError
from rocketnpu.program.constants import Location
from rocketnpu.verisilicon.coefficients.entropy_writer import write_entropy
from rocketnpu.verisilicon.coefficients.kernels import KernelShape
from rocketnpu.verisilicon.coefficients.zero_run_writer import write_zero_runs
from rocketnpu.verisilicon.emission.words import Hole, Instruction
from rocketnpu.verisilicon.registers.nn import NN
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.tasks.caching import caching
from rocketnpu.verisilicon.tasks.task import Convolution, Int64
from rocketnpu.verisilicon.tasks.tiling import Tiling, tiling

ADDRESS_SHIFT = 6
"""Coefficients lie at multiples of 64 (facts 4)."""
ADDRESS_MASK = (1 << 26) - 1
CENTRE = 128
"""What generation 8 takes off each byte of the image (facts 4)."""
FIRST_PIXEL, NO_POOLING = 3, 0
_UNUSED_END = 0x3FFFFFF
_LARGEST, _SMALLEST = 0x7F800000, 0xFF800000
_INT32 = 1 << 31
_MOST_RUN_BITS = 5
"""Widest run that the open driver tries (facts 5)."""
_WORDS = {name: number for number, name in enumerate(NN.block.registers)}


def job_tiling(task: Convolution, soc: Soc) -> Tiling:
    """Return how the hardware is told to cut a task."""
    kernels, _, rows, columns = task.weights.shape
    size = task.target.height, task.target.width
    return tiling(size, kernels, (rows, columns), task.step, soc, stride=task.stride)


def kernel_shape(task: Convolution, soc: Soc) -> KernelShape:
    """Return what the instruction says of a task's kernels."""
    kernels, channels, rows, columns = task.weights.shape
    return KernelShape(
        kernels,
        channels,
        rows,
        columns,
        job_tiling(task, soc).kernels_per_core,
        task.zero_point,
        task.depthwise,
        soc.cores,
    )


def stored_biases(task: Convolution, generation: int) -> Int64:
    """Return the biases as they are stored, with what the hardware's own arithmetic leaves out.

    Generation 7 multiplies the image's bytes as they are, so the border's share is taken off; generation 8 takes 128
    off each, so the difference is put back (facts 4).

    Raises:
        UnsupportedError: one does not fit 32 bits.
    """
    flat = task.weights.reshape(len(task.weights), -1)
    sums = flat.sum(axis=1, dtype=np.int64) - task.zero_point * flat.shape[1]
    found: Int64 = task.biases + sums * ((CENTRE if generation == 8 else 0) - task.border)
    if found.size and int(np.abs(found).max()) >= _INT32:
        raise UnsupportedError(f"a bias of {int(np.abs(found).max()):,} does not fit 32 bits")
    return found


def coefficients(task: Convolution, soc: Soc) -> bytes:
    """Return a task's coefficient buffer.

    Raises:
        UnsupportedError: a bias does not fit 32 bits.
    """
    shape = kernel_shape(task, soc)
    biases = stored_biases(task, soc.generation)
    if soc.generation == 8:
        return write_entropy(task.weights, biases, shape)
    planes = np.array(task.places or range(shape.kernels), np.int64)
    widths = (0,) if shape.is_pointwise else range(min(soc.zero_run_bits, _MOST_RUN_BITS) + 1)
    return write_zero_runs(task.weights, biases, planes * task.target.plane, shape, widths)


def nn_instruction(task: Convolution, at: Location, size: int, soc: Soc) -> Instruction:
    """Write the instruction of a task whose coefficients, of ``size`` bytes, lie ``at``.

    Raises:
        RegisterFieldError: a value does not fit its field.
        UnsupportedError: a window begins too far in front of its image.
    """
    eight, scale = soc.generation == 8, task.scale
    fields = {
        **_maps(task, soc),
        **_cut(task, size, soc),
        "LAYER_FLUSH": 1,
        "RELU": int(task.relu),
        "MULTIPLIER": scale.fraction,
        # Generation 8 stores the shift less its 23 bits, as a number of seven bits with a sign.
        "SHIFT": scale.shift - scale.bits & 0x7F if eight else scale.shift,
        "ROUNDING": 1,
        "BORDER_CONSTANT": task.border,
        "COEFFICIENT_ZERO_POINT": task.zero_point,
        "OUT_ZERO_POINT": task.out_zero_point,
        "DEPTHWISE": int(task.depthwise),
        **dict.fromkeys(("CIRCULAR_OUT_END", "CIRCULAR_IN_END", "CONSTANT_28"), _UNUSED_END),
        "CONSTANT_29": _LARGEST,
        "CONSTANT_30": _SMALLEST,
        **(dict.fromkeys(("NO_Z_OFFSET", "NO_FLUSH"), 1) if eight else {}),
    }
    holes = {
        _WORDS["WORD5"]: Hole(at, ADDRESS_SHIFT, ADDRESS_MASK),
        _WORDS["WORD6"]: Hole(task.source.at),
        _WORDS["WORD7"]: Hole(task.target.at),
    }
    return Instruction("NN", NN.encode(fields), holes)


def _maps(task: Convolution, soc: Soc) -> dict[str, int]:
    """Return the fields that say what is read and written."""
    source, target, step = task.source, task.target, task.step
    return {
        "IN_X": source.width,
        "IN_Y": source.height,
        "IN_X_STRIDE": source.width,
        "IN_Y_STRIDE": source.height,
        "IN_X_OFFSET": _offset(task.left, soc),
        "IN_Y_OFFSET": _offset(task.top, soc),
        "OUT_X": target.width * step,
        "OUT_Y": target.height * step,
        "OUT_X_STRIDE": target.width,
        "OUT_Y_STRIDE": target.height,
        "POOLING": FIRST_PIXEL if step == 2 else NO_POOLING,
        "POOLING_XY": int(step == 1),
    }


def _cut(task: Convolution, size: int, soc: Soc) -> dict[str, int]:
    """Return the fields that say which kernels there are, how the job is cut, and what is kept in the chip."""
    kernels, _, rows, columns = task.weights.shape
    tiles = job_tiling(task, soc)
    cache = caching(tiles, task.source.channels, kernels, (rows, columns), size, soc)
    return {
        "KERNEL_X": columns,
        "KERNEL_Y": rows,
        "KERNEL_Z": task.source.channels,
        "OUT_Z": kernels,
        "KERNELS_PER_CORE": tiles.kernels_per_core,
        "TILE_X": tiles.width,
        "TILE_Y": tiles.height,
        "IMAGE_CACHING": cache.image,
        "KERNEL_CACHING": cache.kernel,
        "KERNEL_CACHE_START": cache.kernel_start,
        "KERNEL_CACHE_END": cache.kernel_end,
        "IMAGE_CACHE_START": cache.image_start,
        "IMAGE_CACHE_END": cache.image_end,
        "PATTERN_MSB": cache.pattern_bits,
        "PATTERN": cache.pattern,
    }


def _offset(before: int, soc: Soc) -> int:
    """Return a window's offset as it is stored: minus the rows or columns in front of the image.

    Raises:
        UnsupportedError: the field has too few bits.
    """
    if not -1 << soc.offset_bits - 1 <= -before < 1 << soc.offset_bits - 1:
        raise UnsupportedError(f"a window that begins {before} pixels before the image: {soc.offset_bits} bits hold it")
    return -before & (1 << soc.offset_bits) - 1
