"""Packed pictures: the input converter, lane by lane, and what the buffer holds of them (spec 3.4)."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sim_model import Window, from_slots, half_even, pack_regular
from sim_streams import BIAS, FEATURES, OUTPUT, WEIGHTS, convolution, run

from rocketnpu.errors import SimulationError
from rocketnpu.rockchip.registers.command import pack


def stream(channels, height=1, width=256):
    """A 1x1 convolution that hands each channel on as it is."""
    s = convolution(height, width, 16, channels, Window(out=(height, width)))
    s.set("CNA.CONV_CON1", NONALIGN_DMA=1, GROUP_LINE_OFF=1, ARGB_IN=7 + channels)
    s.set("CNA.CBUF_CON1", DATA_ENTRIES=height * width)
    s.set("CNA.DMA_CON1", LINE_STRIDE=width).set("CNA.DMA_CON2", SURF_STRIDE=width * (height - 1))
    return s.set("CNA.CVT_CON0", CVT_BYPASS=0, DATA_SIGN=0, CVT_TYPE=0)


def memory_of(pixels):
    height, width, channels = pixels.shape
    weights = np.eye(16, dtype=np.int8)[:channels, None, None, :]
    return {
        FEATURES: pixels.reshape(-1),
        WEIGHTS: pack_regular(np.ascontiguousarray(weights)),
        BIAS: np.zeros(4 * channels, np.uint8),
        OUTPUT: np.zeros(32 * height * width, np.uint8),
    }


def all_bytes(channels):
    """Every byte in every channel, in an order of its own."""
    return np.stack([np.roll(np.arange(256), 17 * channel) for channel in range(channels)], -1)[None].astype(np.uint8)


def rounded(values, shift, away):
    if not away:
        return half_even(values, shift)
    return np.sign(values) * ((np.abs(values) + (1 << shift >> 1)) >> shift)


LANES = st.tuples(st.integers(0, 65535), st.integers(-32768, 32767), st.integers(0, 20))


@given(st.integers(1, 4), st.lists(LANES, min_size=4, max_size=4), st.integers(0, 15), st.tuples(*[st.booleans()] * 4))
@example(4, [(1, 3, 0), (3, -100, 1), (11, 50, 4), (1000, 7, 9)], 15, (False, False, False, False))
@example(4, [(1, 3, 0), (3, -100, 1), (11, 50, 4), (1000, 7, 9)], 0b1010, (True, True, True, False))
@settings(max_examples=60)
def test_each_lane_has_a_converter_of_its_own(channels, lanes, enabled, modes):
    signed, first, away, bypass = modes
    s, pixels = stream(channels), all_bytes(channels)
    shifts = {f"CVT_TRUNCATE_{lane}": shift for lane, (_, _, shift) in enumerate(lanes)}
    s.set("CNA.CVT_CON0", DATA_SIGN=signed, CVT_TYPE=first, ROUND_TYPE=away, CVT_BYPASS=bypass, **shifts)
    for lane, (scale, offset, _) in enumerate(lanes):
        s.set(f"CNA.CVT_CON{lane + 1}", **{f"CVT_SCALE{lane}": scale, f"CVT_OFFSET{lane}": offset})
    s.set("CNA.CVT_CON5", PER_CHANNEL_CVT_EN=enabled)
    memory = memory_of(pixels)
    run(s, memory)
    wanted = pixels.view(np.int8 if signed else np.uint8).astype(np.int64)
    for channel, (scale, offset, shift) in enumerate(lanes[:channels]):
        if not bypass and enabled >> channel & 1:
            values = wanted[..., channel]
            moved = rounded((values + offset) * scale, shift, away) if first else rounded(values * scale, shift, away)
            wanted[..., channel] = moved if first else moved + offset
    assert np.array_equal(from_slots(memory[OUTPUT], 1, 256, channels), np.clip(wanted, -128, 127))


@pytest.mark.parametrize("off", [0, 1])
@pytest.mark.parametrize("nonalign", [0, 1])
@pytest.mark.parametrize("argb", [0, 1, 7, 8, 11, 12, 15])
def test_modes_of_packed_input(argb, nonalign, off):
    """ARGB_IN 8 to 11 stand for one to four channels, and packed rows are fetched one by one."""
    channels = argb - 7 if 8 <= argb <= 11 else 4
    s = stream(channels).set("CNA.CONV_CON1", ARGB_IN=argb, NONALIGN_DMA=nonalign, GROUP_LINE_OFF=off)
    if argb == nonalign == 0:
        return  # not packed
    memory = memory_of(all_bytes(channels))
    if 8 <= argb <= 11 and nonalign and off:
        run(s, memory)
        return
    text = f"ARGB_IN={argb} NONALIGN_DMA={nonalign} GROUP_LINE_OFF={off}; packed input needs 8..11, 1 and 1"
    with pytest.raises(SimulationError, match=text):
        run(s, memory)


def test_pixels_are_counted_beyond_the_fields_14_bits():
    """DATA_ENTRIES of packed input has 17 bits at least (addendum 6.9)."""
    size = (160, 144)
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 4), dtype=np.uint8)
    s = stream(4, *size).set("CNA.CBUF_CON0", DATA_BANK=11, WEIGHT_BANK=1)
    s.fields.pop("CNA.CBUF_CON1")
    for count, taken in ((160 * 144, True), (160 * 144 - 1, False), (160 * 144 & 0x3FFF, False)):
        s.first = [pack(0x0201, 0x1044, count)]
        memory = memory_of(pixels)
        if taken:
            run(s, memory)
            assert np.array_equal(from_slots(memory[OUTPUT], *size, 4), np.minimum(pixels, 127).astype(np.int8))
            continue
        with pytest.raises(SimulationError, match=f"DATA_ENTRIES is {count}; packed input of 23040 pixels needs that"):
            run(s, memory)


def test_packed_input_of_depthwise_convolutions_is_not_modelled():
    s = convolution(1, 16, 16, 16, Window(out=(1, 16)), depthwise=True)
    s.set("CNA.CONV_CON1", NONALIGN_DMA=1, GROUP_LINE_OFF=1, ARGB_IN=10)
    with pytest.raises(SimulationError, match="packed input for a depthwise convolution"):
        run(s, {})


def test_packed_pixels_may_lie_anywhere():
    """Slots begin at multiples of 16 bytes, packed pixels need not."""
    pixels = all_bytes(3)
    memory = memory_of(pixels)
    memory[FEATURES] = np.concatenate([np.zeros(5, np.uint8), pixels.reshape(-1)])
    s = stream(3).set("CNA.FEATURE_DATA_ADDR", FEATURE_BASE_ADDR=FEATURES + 5)
    run(s, memory)
    assert np.array_equal(from_slots(memory[OUTPUT], 1, 256, 3), np.minimum(pixels, 127).astype(np.int8))
