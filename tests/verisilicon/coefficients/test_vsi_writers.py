"""Coefficients as they are written: byte for byte what is recorded, never larger, and read back as they were."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vsi_recordings as recorded

from rocketnpu.verisilicon.coefficients.entropy import read_entropy
from rocketnpu.verisilicon.coefficients.entropy_writer import symbol_order, write_entropy
from rocketnpu.verisilicon.coefficients.kernels import KernelShape
from rocketnpu.verisilicon.coefficients.zero_run_writer import write_zero_runs
from rocketnpu.verisilicon.coefficients.zero_runs import read_zero_runs
from rocketnpu.verisilicon.streams.jobs import jobs_of
from rocketnpu.verisilicon.streams.recording import load

ADDED = ("add_", "sub_", "conv_conv_add", "resid")
"""Recordings whose sums generation 7 writes without runs, by rule."""


def convolutions(chip):
    """Every NN job of all recordings, whose kernels can be read."""
    for path in [*recorded.recordings(chip), *recorded.recordings(f"{chip}-verdicts")]:
        recording = load(path)
        for submission in recording.submissions:
            for job in jobs_of(submission, recording.soc)[0]:
                if job.nn is not None and job.kernels is not None:
                    yield path.stem, job


def by_channel(job, places):
    """Kernels in the order of their output channels, surplus ones behind; None where a stream's places are nonsense."""
    kernels, count = job.kernels, job.nn.shape.kernels
    channels = np.where(places < count, places, count)
    if sorted(channels[channels < count]) != list(range(count)):
        return None
    order = np.argsort(channels, kind="stable")
    return kernels.weights[order], kernels.biases[order], kernels.places[order]


@pytest.mark.parametrize("chip", ["a311d"])
def test_generation_7_is_written_as_recorded(chip):
    equal = skipped = 0
    for name, job in convolutions(chip):
        found = by_channel(job, job.kernels.places // max(job.nn.out_plane, 1))
        if found is None:  # the streams with defects 9.1 and 9.7 are in another order than the core's
            skipped += 1
            assert name.startswith(("fc_u8", "mobilenet_v1_0.25")), name
            continue
        shape, added = job.nn.shape, job.nn.shape.kernels == 1 and name.startswith(ADDED)
        widths = (0,) if shape.is_pointwise or added else range(6)
        written = write_zero_runs(*found, shape, widths)
        assert written == job.coefficients[: job.kernels.size].tobytes(), name
        equal += 1
    print(f"{equal} buffers equal, {skipped} in an order that is not the core's")
    assert equal >= 5


@pytest.mark.parametrize("chip", ["imx8mp"])
def test_generation_8_is_written_as_recorded_and_smaller_by_our_own_count(chip):
    equal = smaller = 0
    for name, job in convolutions(chip):
        weights, biases, _ = by_channel(job, job.kernels.places)
        recorded_bytes = job.coefficients[: job.kernels.size].tobytes()
        packed = int.from_bytes(recorded_bytes[20:24], "little")
        order = [packed >> 4 * symbol & 15 for symbol in range(8)]
        assert write_entropy(weights, biases, job.nn.shape, order) == recorded_bytes, name
        own = write_entropy(weights, biases, job.nn.shape)
        assert len(own) <= len(recorded_bytes), name
        equal, smaller = equal + 1, smaller + (len(own) < len(recorded_bytes))
    print(f"{equal} buffers equal given the header's order of symbols, {smaller} smaller by our own count")
    assert equal >= 5


@st.composite
def kernels(draw, depthwise=False):
    count, channels = draw(st.integers(1, 40)), 1 if depthwise else draw(st.integers(1, 20))
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    zero_point, seed = draw(st.integers(0, 255)), draw(st.integers(0, 999))
    cores = draw(st.sampled_from([2, 6, 8]))
    per_core = draw(st.integers(1, max(1, -(-count // cores))))
    random = np.random.default_rng(seed)
    weights = random.integers(0, 256, (count, channels, rows, columns), np.uint8)
    weights[random.random(weights.shape) < draw(st.sampled_from([0.0, 0.5, 0.97]))] = zero_point
    shape = KernelShape(count, channels, rows, columns, per_core, zero_point, depthwise, cores)
    return weights, random.integers(-(1 << 31), 1 << 31, count), shape


@settings(max_examples=60)
@given(kernels(), st.sampled_from([(0,), (5,), range(6), (8,)]))
def test_runs_come_back(found, widths):
    weights, biases, shape = found
    places = np.arange(shape.kernels) * 49
    read = read_zero_runs(np.frombuffer(write_zero_runs(weights, biases, places, shape, widths), np.uint8), shape)
    real = np.flatnonzero(read.places < 49 * shape.kernels)
    order = real[np.argsort(read.places[real])]
    assert np.array_equal(read.weights[order], weights)
    assert np.array_equal(read.biases[order], biases)
    assert len(order) == shape.kernels


@settings(max_examples=60)
@given(st.one_of(kernels(), kernels(depthwise=True)), st.permutations(range(8)) | st.none())
def test_codes_come_back(found, order):
    weights, biases, shape = found
    read = read_entropy(np.frombuffer(write_entropy(weights, biases, shape, order), np.uint8), shape)
    assert sorted(read.places) == list(range(shape.kernels))
    assert np.array_equal(read.weights[np.argsort(read.places)], weights)
    assert np.array_equal(read.biases[np.argsort(read.places)], biases)


@given(st.lists(st.integers(0, 1000), min_size=8, max_size=8))
def test_the_commonest_length_gets_the_shortest_code(counts):
    order = symbol_order(np.array(counts))
    assert sorted(order) == list(range(8))
    assert [counts[length] for length in order] == sorted(counts, reverse=True)
