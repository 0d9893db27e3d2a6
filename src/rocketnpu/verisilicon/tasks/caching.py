"""What of an NN job's kernels and image is kept in the chip's own memory (facts 4, "SRAM caching").

The open driver's rule, which is known to run; no value depends on it, and how fast it is nobody has published.
Generation 8 leaves both caches off, but its instructions carry the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.tasks.tiling import Tiling

OFF, FULL, PARTIAL = 0, 1, 2
START = 0x800
"""Where the cache of kernels begins."""
SMALLEST_END = 0xA00
ALIGNMENT = 128
_COLUMNS = 16
_HEADER = 64
PATTERNS = (
    (1024, 0x13, 0x80000),
    (512, 0x3D, 0x2AAAAAA0 << 32),
    (256, 0x3E, 0x7FFFFFFF << 32 | 0xFFFFAAAA),
    (160, 6, 0x7E),
)
"""From so many kernels on: bits of a pattern less one, and the pattern that says which blocks are kept."""
LAST_PATTERN = (0x3F, 0xFFFFFFFF << 32 | 0xFFFFFFFE)


@dataclass(frozen=True, slots=True)
class Caching:
    """The fields of an instruction."""

    image: int
    kernel: int
    kernel_end: int
    image_start: int
    image_end: int
    pattern_bits: int = 0
    pattern: int = 0
    kernel_start: int = START


def caching(tiles: Tiling, channels: int, kernels: int, kernel: tuple[int, int], size: int, soc: Soc) -> Caching:
    """Decide what is kept.

    Args:
        tiles: how the job is cut.
        channels: input channels.
        kernels: output channels.
        kernel: rows and columns of a kernel.
        size: bytes of the coefficients.
        soc: the chip.
    """
    seven = soc.generation == 7
    image = 0
    if tiles.superblocks > 1:
        pixels = (tiles.width + kernel[1] - 1) * (tiles.height + kernel[1] - 1)
        image = _aligned(-(-pixels // _COLUMNS) * _COLUMNS * channels)
    body = size - _HEADER if seven else size
    if START + body >= soc.sram:
        image = 0
    end, mode, bits, pattern = max(_aligned(START + body), SMALLEST_END), FULL, 0, 0
    if START + body + image >= soc.sram:
        end, mode = soc.sram - image, PARTIAL
        bits, pattern = next((found[1:] for found in PATTERNS if kernels >= found[0]), LAST_PATTERN)
    # A small image lies in front of the kernels.
    where = (end, end + image) if image >= START else (0, START)
    return Caching(FULL if seven and image else OFF, mode if seven else OFF, end, *where, bits, pattern)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
