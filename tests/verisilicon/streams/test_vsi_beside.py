"""Our instructions and kernels beside stock Mesa's of the same models: equal, or different for a named reason."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vsi_recordings as recorded

from rocketnpu.inspect.recorded_model import recorded_model
from rocketnpu.verisilicon.streams.beside import beside_ours
from rocketnpu.verisilicon.streams.recording import load

OTHER_WAYS = ("add_", "sub_", "fc_", "residual", "c3x3_i8_perchannel")
"""Operators that are done in another way: sums as planes, fully connected layers as 1x1, scales of channels."""
SINGLE_OUTPUT = "input_size_3_weight_size_3"
"""A stride of 2 with a single output is none here."""
KERNELS_OF_NO_CHANNEL = "edge_dwconv3x3_u8_c33"
"""33 channels in 40 kernels: what the last seven hold differs, and nothing else; nobody reads what they compute."""


def is_known(chip, name):
    """Whether a recording differs because it is wrong, by the lists of what real chips computed, or another way."""
    if name in recorded.WRONG[chip] or name.startswith(OTHER_WAYS):
        return True
    if SINGLE_OUTPUT in name and name.endswith("stride_2_padding_same_0"):
        return True
    one_channel = "weight_size_5_input_channels_1_" in name and "stride_1" in name
    padded_twice = name.startswith("DepthwiseConv2D") and "weight_size_5" in name and "stride_2" in name
    return chip == "a311d" and (one_channel or padded_twice or name == KERNELS_OF_NO_CHANNEL)


@pytest.mark.parametrize("chip", recorded.CHIPS)
def test_instructions_and_kernels_are_the_open_drivers(chip):
    equal = explained = known = 0
    for path in [*recorded.recordings(chip), *recorded.recordings(f"{chip}-verdicts")]:
        if path.stem.startswith("mobilenet"):
            continue
        recording = load(path)
        graph = recorded_model(path, recording.model, recording.model_sha256)
        if graph is None:
            continue
        found = beside_ours(recording, graph)
        if found.recorded == found.ours and not found.unexplained:
            equal, explained = equal + (not found.differences), explained + bool(found.differences)
            continue
        known += 1
        assert is_known(chip, path.stem), (path.stem, found.recorded, found.ours, found.unexplained[:3])
    print(f"{chip}: {equal} equal in every field and weight, {explained} but for named fields, {known} another way")
    assert equal + explained >= 4
