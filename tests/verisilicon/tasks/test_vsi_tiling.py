"""Tiles, superblocks and caches against every recorded instruction."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vsi_recordings as recorded

from rocketnpu.verisilicon.soc import A311D, IMX8MP
from rocketnpu.verisilicon.streams.jobs import jobs_of
from rocketnpu.verisilicon.streams.recording import load
from rocketnpu.verisilicon.tasks.caching import START, caching
from rocketnpu.verisilicon.tasks.tiling import MAX_KERNELS, Tiling, ceil_div, tiling

EXPLAINED = ("add_", "sub_", "conv_conv_add", "resid", "conv3x3_u8_rect")
"""Recordings whose tiles the open driver computes before it reshapes a sum, or before it swaps width and height."""


def instructions(chip):
    for path in [*recorded.recordings(chip), *recorded.recordings(f"{chip}-verdicts")]:
        recording = load(path)
        for submission in recording.submissions:
            jobs, _ = jobs_of(submission, recording.soc)
            for before, job in zip([None, *jobs], jobs, strict=False):
                if job.nn is not None and job.kernels is not None:
                    quartered = before is not None and before.unit == "TP" and before.fields["RESET_3"]
                    yield path.stem, job, 2 if quartered else 1


@pytest.mark.parametrize("chip", recorded.CHIPS)
def test_tiles_are_those_of_the_open_driver(chip):
    soc = {"a311d": A311D, "imx8mp": IMX8MP}[chip]
    tiles = shares = total = 0
    for name, job, stride in instructions(chip):
        nn, shape = job.nn, job.nn.shape
        kernel, size = (shape.rows, shape.columns), (nn.out_rows, nn.out_columns)
        found = tiling(size, shape.kernels, kernel, nn.step, soc, stride=stride)
        same = (found.width, found.height) == (job.fields["TILE_X"], job.fields["TILE_Y"])
        assert same or name.startswith(EXPLAINED), name
        assert found.kernels_per_core == shape.per_core, name
        tiles, shares, total = tiles + same, shares + 1, total + 1
    print(f"{chip}: kernels of a core equal in {shares} of {total} instructions, tiles in {tiles}")
    assert total >= 5


@pytest.mark.parametrize("chip", recorded.CHIPS)
def test_caches_are_those_of_the_open_driver(chip):
    """Generation 7's are a little smaller where the driver's guess of a size is larger than the coefficients are."""
    soc = {"a311d": A311D, "imx8mp": IMX8MP}[chip]
    names = ("IMAGE_CACHING", "KERNEL_CACHING", "IMAGE_CACHE_START", "IMAGE_CACHE_END", "PATTERN_MSB", "PATTERN")
    equal = total = 0
    for name, job, _ in instructions(chip):
        shape, fields = job.nn.shape, job.fields
        blocks = ceil_div(ceil_div(shape.kernels, soc.cores), shape.per_core)
        tiles = Tiling(fields["TILE_X"], fields["TILE_Y"], shape.per_core, blocks)
        kernel = (shape.rows, shape.columns)
        found = caching(tiles, job.nn.in_planes, shape.kernels, kernel, job.kernels.size, soc)
        values = (found.image, found.kernel, found.image_start, found.image_end, found.pattern_bits, found.pattern)
        same = values == tuple(fields[n] for n in names) and found.kernel_end == fields["KERNEL_CACHE_END"]
        assert same or (chip == "a311d" and found.kernel_end < fields["KERNEL_CACHE_END"]), name
        equal, total = equal + same, total + 1
    print(f"{chip}: caches equal in {equal} of {total} instructions")
    assert equal >= 0.9 * total - 1


@given(
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
    st.integers(1, 4000),
    st.tuples(st.integers(1, 11), st.integers(1, 11)),
    st.integers(1, 2),
    st.sampled_from([A311D, IMX8MP]),
)
def test_tiles_fit_their_fields_and_buffers(size, kernels, kernel, step, soc):
    found = tiling(size, kernels, kernel, step, soc)
    assert 1 <= found.width <= 64
    assert 1 <= found.height <= 127
    assert 1 <= found.kernels_per_core <= MAX_KERNELS
    assert found.kernels_per_core * found.superblocks * soc.cores >= kernels
    cached = caching(found, 16, kernels, kernel, kernels * 16, soc)
    assert START <= cached.kernel_end <= soc.sram or cached.kernel_end == 0xA00
