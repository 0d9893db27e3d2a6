"""Parts that compute the shapes of their own tensors, as converters write them where the batch was open."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from rocketnpu.delegate import Delegate
from rocketnpu.graph import DType
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder

SIZES = [(3, 4, 4, 16), (1, 5, 5, 16), (1, 2, 2, 16), (2, 4, 4, 16), (1, 4, 4, 16)]
"""Batches, a size that no chip enlarges to 8x8 (the part runs on the CPU there), and back."""


def flattened(dtype: DType) -> bytes:
    """Make a model that flattens a map of 8x8 to as many rows as there are images: SHAPE, STRIDED_SLICE, PACK,
    RESHAPE.
    """
    builder, random = ModelBuilder(), np.random.default_rng(1)
    zero = 128 if dtype is DType.UINT8 else 0

    def bytes_of(*shape: int, scale: float = 0.1) -> int:
        return builder.tensor(shape, dtype, scale=scale, zero_point=zero)

    def whole(*shape: int) -> int:
        return builder.tensor(shape, DType.INT32)

    def constant(values: object) -> int:
        array = np.array(values, np.int32)
        return builder.tensor(array.shape, DType.INT32, data=array)

    given, large, row, made = bytes_of(1, 4, 4, 16), bytes_of(1, 8, 8, 16), bytes_of(1, 1024), bytes_of(1, 10, scale=2)
    sizes, images, wanted = whole(4), whole(), whole(2)
    builder.operator("RESIZE_NEAREST_NEIGHBOR", [given, constant([8, 8])], [large], ops.Resize())
    builder.operator("SHAPE", [large], [sizes])
    limits = [constant([number]) for number in (0, 1, 1)]
    builder.operator("STRIDED_SLICE", [sizes, *limits], [images], ops.StridedSlice(shrink_axis_mask=1))
    builder.operator("PACK", [images, constant(1024)], [wanted], ops.Pack(0))
    builder.operator("RESHAPE", [large, wanted], [row])
    data = random.integers(-90, 90, (10, 1024)) + zero
    weights = builder.tensor(data.shape, dtype, scale=0.01, zero_point=zero, data=data)
    bias = builder.tensor((10,), DType.INT32, scale=0.001, data=random.integers(-500, 500, 10))
    builder.operator("FULLY_CONNECTED", [row, weights, bias], [made], ops.FullyConnected())
    return builder.build([given], [made, sizes])


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
@pytest.mark.parametrize("chip", ["rk3588", "a311d"])
def test_a_map_that_is_flattened_by_its_own_shape_follows_a_resize(dtype: DType, chip: str) -> None:
    model, random = flattened(dtype), np.random.default_rng(2)
    delegate = Delegate(device="simulator", chip=chip, minimum_macs=0, allow_unproven=True)
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    plain, ours = (
        Interpreter(model_content=model, experimental_op_resolver_type=resolver, experimental_delegates=delegates)
        for delegates in (None, [delegate])
    )
    for size in SIZES:
        image = random.integers(0, 256, size).astype(np.uint8).view(dtype.value)
        for each in (plain, ours):
            each.resize_tensor_input(0, size)
            each.allocate_tensors()
            each.set_tensor(0, image)
            each.invoke()
        for wanted, found in zip(plain.get_output_details(), ours.get_output_details(), strict=True):
            expected = plain.get_tensor(wanted["index"]).astype(int)
            assert np.abs(expected - ours.get_tensor(found["index"])).max() <= 1


@pytest.mark.parametrize("size", [(0, 4, 4, 16), (1, 0, 4, 16)])
@pytest.mark.parametrize("chip", ["rk3588", "a311d"])
def test_a_resize_to_nothing_gives_nothing_and_back_again(size: tuple[int, ...], chip: str) -> None:
    builder = ModelBuilder()
    given, made = (builder.tensor((1, 4, 4, 16), DType.INT8, scale=0.1) for _ in range(2))
    builder.operator("RELU", [given], [made])
    delegate = Delegate(device="simulator", chip=chip, minimum_macs=0, allow_unproven=True)
    ours = Interpreter(model_content=builder.build([given], [made]), experimental_delegates=[delegate])
    image = np.random.default_rng(1).integers(-128, 128, (1, 4, 4, 16)).astype(np.int8)
    for shape in (size, image.shape):
        ours.resize_tensor_input(0, shape)
        ours.allocate_tensors()
        ours.set_tensor(0, np.resize(image, shape))
        ours.invoke()
        assert ours.get_tensor(1).shape == shape
    np.testing.assert_array_equal(ours.get_tensor(1), np.maximum(image, 0))
