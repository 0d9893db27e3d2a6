"""Tiles and superblocks, which decide the order of the coefficients (facts 4, "Tiling numbers").

Which core computes what, and in which order, follows from these numbers; no value does. They are those of the open
driver, which are known to run: 156 of the 172 recorded instructions have the same tile, and the others are explained.
"""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.verisilicon.soc import Soc

MAX_TILE_WIDTH = 64
MAX_KERNELS = 127
"""Kernels of a core in a superblock: a field of seven bits."""
WIDE, NARROW = 36, 18
"""Columns that a tile and its halo may have for a line of the input buffer to hold two, or four."""
ROWS_OF_GENERATION_8 = 4
_ACCUMULATORS = 64
_SHARE = (6, 9)
"""Part of generation 8's accumulators that kernels may take."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """How an NN job is cut by the hardware."""

    width: int
    height: int
    kernels_per_core: int
    superblocks: int


def interleave(width: int, kernel_rows: int, generation: int) -> int:
    """Return how many rows lie in a line of the input buffer."""
    halo = kernel_rows - 1 + width
    if halo > WIDE:
        return 1
    mode = 1 if width > 32 else 2 if width > 16 else 4 if width > 8 or generation == 8 else 8
    if generation == 7:
        return min(mode, 4 if halo > NARROW else 2)
    return 2 if halo > NARROW and mode >= 2 else min(mode, 4)


def tiling(
    outputs: tuple[int, int], kernels: int, kernel: tuple[int, int], step: int, soc: Soc, *, stride: int = 1
) -> Tiling:
    """Cut a job.

    Args:
        outputs: rows and columns that are stored.
        kernels: output channels.
        kernel: rows and columns of a kernel.
        step: 2 where the first of each 2x2 outputs is kept.
        soc: the chip.
        stride: of the operator; 2 too where its image was cut into quarters before.
    """
    rows, columns = kernel
    width = min(outputs[1] * step, MAX_TILE_WIDTH)
    mode = interleave(width, rows, soc.generation)
    height = min(soc.input_depth * mode - rows + 1, mode * soc.accumulator_depth, outputs[0] * step)
    if soc.generation == 8:
        height = min(height, ROWS_OF_GENERATION_8)
    stride = max(step, stride)
    if stride > 1:
        height -= height % 2
    height = max(height, 1)
    count = _at_once(width, height, mode, (rows, columns), stride, soc)
    share = ceil_div(kernels, soc.cores)
    count = max(1, min(count, share, MAX_KERNELS))
    rounds = ceil_div(kernels, soc.cores * count)
    blocks = ceil_div(share, ceil_div(kernels, rounds * soc.cores))
    return Tiling(width, height, ceil_div(share, blocks), blocks)


def ceil_div(value: int, divisor: int) -> int:
    """Divide and round up."""
    return -(-value // divisor)


def _at_once(width: int, height: int, mode: int, kernel: tuple[int, int], stride: int, soc: Soc) -> int:
    """Return for how many kernels of a core the accumulators suffice."""
    depth = soc.accumulator_depth
    if soc.generation == 7:
        count = depth * mode // height
        return min(count, depth // 3) if kernel == (1, 1) else count
    if kernel[1] == 1:
        count = depth // ceil_div(height, mode)
    else:
        pixels = ceil_div(height * width, stride)
        count = depth // (ceil_div(pixels, _ACCUMULATORS) * stride)
    return min(count, depth * _SHARE[0] // _SHARE[1])
