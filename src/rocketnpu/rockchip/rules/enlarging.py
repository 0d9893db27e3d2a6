"""Rules of operators that make a map larger: TRANSPOSE_CONV and RESIZE."""

from __future__ import annotations

import numpy as np

from rocketnpu.graph import DType, Graph, Operator
from rocketnpu.graph.maps import map_shape
from rocketnpu.graph.operators import Resize, TransposeConv
from rocketnpu.partition.rules.tensors import (
    clamping_activation,
    features,
    in_reference_range,
    input_tensor,
    same_scale,
)
from rocketnpu.partition.rules.weights import constant_bias, constant_weights, scales_by_output
from rocketnpu.rockchip.rules.common import COMMON, Rule
from rocketnpu.rockchip.rules.convolution import kernel_size
from rocketnpu.rockchip.soc import Soc


def known_output(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The output's size is constant."""
    position = 0 if operator.kind == "TRANSPOSE_CONV" else 1
    size = input_tensor(graph, operator, position)
    return None if size is not None and size.is_constant else "it is computed at run time"


def positive_strides(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Strides are at least 1; any are possible."""
    del graph
    assert isinstance(operator.attributes, TransposeConv)
    stride = operator.attributes.stride
    return None if min(stride) >= 1 else f"{stride[0]}x{stride[1]}"


def whole_factors(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Height and width grow by whole factors."""
    source, target = (map_shape(tensor) for tensor in features(graph, operator))
    assert source is not None
    assert target is not None
    fits = target[0] % source[0] == 0 and target[1] % source[1] == 0
    return None if fits else f"{source[0]}x{source[1]} to {target[0]}x{target[1]}"


def replicates(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Every pixel is repeated as often as every other (with aligned corners that is seldom so)."""
    attributes = operator.attributes
    assert isinstance(attributes, Resize)
    source, target = (map_shape(tensor) for tensor in features(graph, operator))
    assert source is not None
    assert target is not None
    for size, wanted in zip(source[:2], target[:2], strict=True):
        if not np.array_equal(nearest_pixels(size, wanted, attributes), np.arange(wanted) // (wanted // size)):
            return f"{size} to {wanted} pixels with {'aligned corners' if attributes.align_corners else 'odd rounding'}"
    return None


def nearest_pixels(size: int, wanted: int, attributes: Resize) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the input pixel that each output pixel is, in TFLite's single precision."""
    aligned = attributes.align_corners and wanted > 1
    scale = np.float32(size - 1) / np.float32(wanted - 1) if aligned else np.float32(size) / np.float32(wanted)
    offset = np.float32(0.5 if attributes.half_pixel_centers else 0.0)
    places = (np.arange(wanted, dtype=np.float32) + offset) * scale
    rounded = np.floor(places + np.float32(0.5)) if attributes.align_corners else np.floor(places)
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = np.clip(rounded, 0, size - 1).astype(np.int64)
    return found


def free_corners(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """Corners are not aligned, unless the size stays: then every pixel would have weights of its own."""
    attributes = operator.attributes
    assert isinstance(attributes, Resize)
    source, target = features(graph, operator)
    return "they are" if attributes.align_corners and source.shape != target.shape else None


def equal_weights(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """INT8 maps grow by powers of two: for other factors LiteRT's 10-bit weights drift over the map."""
    source, target = features(graph, operator)
    if source.dtype is not DType.INT8:
        return None
    factors = [wanted // size for wanted, size in zip(target.shape[1:3], source.shape[1:3], strict=True)]
    return None if all(factor & (factor - 1) == 0 for factor in factors) else f"{factors[0]}x{factors[1]}"


TRANSPOSED: tuple[Rule, ...] = (
    *(*COMMON, known_output, constant_weights, scales_by_output, constant_bias),
    *(kernel_size, positive_strides, clamping_activation, in_reference_range),
)
"""TRANSPOSE_CONV: at most 1 from the reference."""
NEAREST: tuple[Rule, ...] = (*COMMON, same_scale, known_output, whole_factors, replicates)
"""RESIZE_NEAREST_NEIGHBOR: exact."""
BILINEAR: tuple[Rule, ...] = (*COMMON, same_scale, known_output, whole_factors, free_corners, equal_weights)
"""RESIZE_BILINEAR: at most 1 from the reference."""
