"""Convolutions of any geometry: their streams, tensors and buffers."""

import numpy as np
from hypothesis import strategies as st
from sim_model import Window, convolve, pack_depthwise, pack_regular, to_slots
from sim_streams import BIAS, FEATURES, OUTPUT, WEIGHTS, ceil, convolution

SCALE = (19661, 24)


def tensors(case, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (case["height"], case["width"], case["channels"]), dtype=np.int8)
    cal = ceil(case["channels"], 16) * 16
    shape = (*case["kernel"], cal) if case["depthwise"] else (case["kernels"], *case["kernel"], cal)
    weights = rng.integers(-128, 128, shape, dtype=np.int8)
    weights[..., case["channels"] :] = 0
    return x, weights, rng.integers(-5000, 5000, case["kernels"], dtype=np.int32)


def build(case):
    window = Window(case["stride"], case["before"], case["out"], case["dilation"])
    size = case["height"], case["width"], case["channels"], case["kernels"]
    stream = convolution(*size, window, case["kernel"], case["depthwise"], SCALE, case["offset"])
    pad = case["pad"] & 0xFF
    stream.set("CNA.PAD_CON1", PAD_VALUE=pad * 0x0101)
    stream.set("DPU.BS_OW_OP", OW_OP=case["operand"])
    return stream, window


def output_buffer(case):
    group = 64 if case["depthwise"] else 32
    oh, ow = case["out"]
    return np.full(ceil(case["kernels"], group) * group * oh * ow, 0x55, np.uint8)


def buffers(case, x, weights, bias):
    packed = pack_depthwise(weights) if case["depthwise"] else pack_regular(weights)
    return {FEATURES: to_slots(x), WEIGHTS: packed, BIAS: bias.view(np.uint8), OUTPUT: output_buffer(case)}


def accumulate(case, x, weights, window):
    net = weights[..., : case["channels"]].astype(np.int64) + case["operand"]
    net = net[..., : case["kernels"]] if case["depthwise"] else net
    return convolve(x, net, window, case["pad"], case["depthwise"])


@st.composite
def cases(draw):
    depthwise = draw(st.booleans())
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    size, before, out = [], [], []
    for axis in range(2):
        span = (kernel[axis] - 1) * dilation[axis] + 1
        before.append(draw(st.integers(0, min(span - 1, 15))))
        after = draw(st.integers(0, span - 1))
        size.append(draw(st.integers(max(1, span - before[axis] - after), 14)))
        out.append((size[axis] + before[axis] + after - span) // stride[axis] + 1)
    channels = draw(st.integers(1, 70))
    return {
        "height": size[0], "width": size[1], "channels": channels, "depthwise": depthwise,
        "kernels": channels if depthwise else draw(st.integers(1, 70)),
        "kernel": kernel, "dilation": dilation, "stride": stride, "before": tuple(before), "out": tuple(out),
        "pad": draw(st.integers(-128, 127)), "operand": draw(st.integers(-127, 128)),
        "offset": draw(st.integers(-128, 127)),
    }  # fmt: skip


SIMPLE = {
    "height": 6, "width": 5, "channels": 20, "depthwise": False, "kernels": 33, "kernel": (3, 3), "dilation": (1, 1),
    "stride": (1, 1), "before": (1, 1), "out": (6, 5), "pad": 3, "operand": -7, "offset": 11,
}  # fmt: skip
