"""Rules of MAX_POOL_2D."""

from __future__ import annotations

from rocketnpu.graph import Graph, Operator
from rocketnpu.graph.maps import map_shape
from rocketnpu.graph.operators import Pool2D
from rocketnpu.partition.rules.tensors import clamping_activation, equal_scales, in_reference_range
from rocketnpu.rockchip.rules.common import COMMON, Rule
from rocketnpu.rockchip.soc import Soc
from rocketnpu.rockchip.tasks.pooling import MAX_WINDOW


def pool_window(graph: Graph, operator: Operator, soc: Soc) -> str | None:
    """The window has at most 31 rows and columns and strides 1 to 7, or at most 16 both and padding at most 7 where the
    pooling unit can be used: on the simulator and with the vendor's kernel, not with the mainline kernel.
    """
    attributes, output = operator.attributes, map_shape(graph.tensors[operator.outputs[0]])
    assert isinstance(attributes, Pool2D)
    assert output is not None
    stride = [step if size > 1 else 1 for step, size in zip(attributes.stride, output[:2], strict=True)]
    largest = MAX_WINDOW if max(stride) > soc.max_stride else soc.max_kernel
    if min(*attributes.kernel, *stride) >= 1 and max(attributes.kernel) <= largest and max(stride) <= MAX_WINDOW:
        return None
    return f"window {attributes.kernel[0]}x{attributes.kernel[1]}, stride {stride[0]}x{stride[1]}"


MAXIMUM: tuple[Rule, ...] = (*COMMON, equal_scales, pool_window, clamping_activation, in_reference_range)
"""MAX_POOL_2D: equal to the reference."""
