"""What the chip must compute, written without any layout: NHWC tensors and wide integers.

Nothing here is shared with the simulator. Sums run in float64, which is exact below 2**53.
"""

from dataclasses import dataclass

import numpy as np


def half_even(values, shift):
    """Divide by 2**shift; ties go to the even neighbour. Python integers, so that nothing can overflow."""

    def one(value):
        quotient, rest = divmod(int(value), 1 << shift)
        twice = 2 * rest
        return quotient + (twice > 1 << shift or (twice == 1 << shift and quotient & 1))

    return np.vectorize(one, otypes=[np.int64])(values) if shift else np.asarray(values, np.int64)


def half_even_fast(values, shift):
    """The same for large arrays; test_sim_model holds it against the version above."""
    values = np.asarray(values, np.int64)
    if not shift:
        return values
    quotient = values >> shift
    twice = (values - (quotient << shift)) * 2
    return quotient + ((twice > 1 << shift) | ((twice == 1 << shift) & (quotient & 1 == 1)))


@dataclass
class Window:
    """Geometry of a convolution."""

    stride: tuple[int, int] = (1, 1)
    before: tuple[int, int] = (0, 0)
    out: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)


def convolve(x, weights, window, pad, depthwise=False):
    """Sum over windows. x [H, W, C], weights [OC, KH, KW, IC] or [KH, KW, C], pad one value a channel."""
    kh, kw = weights.shape[-3:-1] if not depthwise else weights.shape[:2]
    (sy, sx), (top, left), (oh, ow), (dy, dx) = window.stride, window.before, window.out, window.dilation
    rows = max((oh - 1) * sy + (kh - 1) * dy + 1, top + x.shape[0])
    columns = max((ow - 1) * sx + (kw - 1) * dx + 1, left + x.shape[1])
    padded = np.empty((rows, columns, x.shape[2]), np.float64)
    padded[...] = np.asarray(pad, np.float64)
    padded[top : top + x.shape[0], left : left + x.shape[1]] = x
    total = 0
    for ky in range(kh):
        for kx in range(kw):
            tap = padded[ky * dy : ky * dy + (oh - 1) * sy + 1 : sy, kx * dx : kx * dx + (ow - 1) * sx + 1 : sx]
            total = total + (tap * weights[ky, kx] if depthwise else tap @ weights[:, ky, kx].T.astype(np.float64))
    return total.astype(np.int64)


def saturate(values, bits):
    return np.clip(values, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def requantise(total, scale, shift, offset):
    """Output converter to int8."""
    return saturate(half_even_fast(saturate(total, 32) * scale, shift) + offset, 8)


def to_slots(tensor):
    """[H, W, C] int8 to the memory image: surfaces of 16 channels."""
    height, width, channels = tensor.shape
    surfaces = -(-channels // 16)
    padded = np.zeros((height, width, surfaces * 16), np.int8)
    padded[..., :channels] = tensor
    return padded.reshape(height, width, surfaces, 16).transpose(2, 0, 1, 3).reshape(-1).view(np.uint8).copy()


def from_slots(memory, height, width, channels):
    """The memory image back to [H, W, C] int8."""
    surfaces = -(-channels // 16)
    cube = np.asarray(memory[: surfaces * height * width * 16]).view(np.int8).reshape(surfaces, height, width, 16)
    return cube.transpose(1, 2, 0, 3).reshape(height, width, surfaces * 16)[..., :channels]


def pack_regular(weights, kernels=None):
    """[OC, KH, KW, IC] int8 to the memory image, element by element in the documented order (spec 3.5)."""
    oc, kh, kw, ic = weights.shape
    assert ic % 16 == 0
    out = []
    for o in range(0, oc, 32):
        for i in range(0, ic, 32):
            out.extend(
                weights[k, y, x, i : i + 32].tolist()
                for y in range(kh)
                for x in range(kw)
                for k in range(o, min(o + 32, oc))
            )
    return np.array([value for run in out for value in run], np.int8).view(np.uint8)


def pack_depthwise(weights):
    """[KH, KW, C] int8 to the memory image (spec 3.5)."""
    kh, kw, channels = weights.shape
    runs = [weights[y, x, c : c + 64] for c in range(0, channels, 64) for y in range(kh) for x in range(kw)]
    return np.concatenate(runs).astype(np.int8).view(np.uint8)
