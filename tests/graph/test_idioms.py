"""Each idiom of converters becomes what its pass says, and LiteRT computes the same of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiom_models import idiom_model
from rocketnpu.graph import Graph, Operator
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes import fold_padding
from rocketnpu.graph.passes.idioms.byte_chains import byte_chains
from rocketnpu.graph.passes.idioms.dilation import dilate
from rocketnpu.graph.passes.idioms.large_strides import cut_strides
from rocketnpu.graph.passes.idioms.mirror_pad import mirror
from rocketnpu.graph.passes.idioms.moves import select_values
from rocketnpu.graph.passes.idioms.reductions import reduce_as_maps
from rocketnpu.graph.passes.idioms.single_rows import stand_up
from rocketnpu.graph.passes.idioms.upsampling import upsample
from rocketnpu.graph.passes.rewrite import Accepts, anything
from rocketnpu.graph.verify import verify
from rocketnpu.inspect.reference import reference
from rocketnpu.model import tflite
from sheets import any_values, computed

pytestmark = pytest.mark.litert

_PASSES: Mapping[str, tuple[Callable[[Graph, Accepts], Graph], set[str]]] = {
    "dilated": (dilate, {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"}),
    "dilated_sound": (dilate, {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"}),
    "upsampled": (upsample, {"TILE"}),
    "mirrored": (mirror, {"MIRROR_PAD"}),
    "padded_pool": (fold_padding, set()),
    "focused": (select_values, {"STRIDED_SLICE"}),
    "blocks": (select_values, {"SPACE_TO_DEPTH", "DEPTH_TO_SPACE"}),
    "gathered": (select_values, {"GATHER"}),
    "shuffled": (select_values, {"TRANSPOSE"}),
    "reduced": (reduce_as_maps, set()),
    "strided": (cut_strides, set()),
    "sounded": (stand_up, set()),
}
"""By idiom: its pass, and what is gone afterwards."""


def without_pads(graph: Graph, operator: Operator) -> bool:
    """Accept what a file can hold."""
    del graph
    return getattr(operator.attributes, "pads", None) is None


@pytest.mark.parametrize("accepts", [anything, without_pads])
@pytest.mark.parametrize("name", _PASSES)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_litert_computes_the_same_of_what_a_pass_makes(name: str, accepts: Accepts, seed: int) -> None:
    step, gone = _PASSES[name]
    model = idiom_model(name, seed)
    before = tflite.parse(model)
    after = step(before, accepts)
    verify(after)
    assert not gone & {operator.kind for operator in after.operators}
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    values = any_values(before, seed)
    wanted = reference(model, values)[before.outputs[0]].astype(int)
    divides = before.operators[-1].kind in ("MEAN", "AVERAGE_POOL_2D") and name != "padded_pool"
    assert np.abs(computed(after, values) - wanted).max() <= int(divides)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_chain_becomes_the_table_of_what_litert_computes(seed: int) -> None:
    model = idiom_model("chained", seed)
    before = tflite.parse(model)
    (made,) = byte_chains(before).operators
    assert isinstance(made.attributes, ops.ByteFunction)
    assert (made.inputs, made.outputs) == (before.inputs, before.outputs)
    tensor = before.tensors[before.inputs[0]]
    low = np.iinfo(tensor.dtype.value).min
    values = np.resize(np.arange(low, low + 256), tensor.shape).astype(tensor.dtype.value)
    wanted = reference(model, [values])[before.outputs[0]].astype(int)
    found = np.array(made.attributes.values)[values.astype(int) - low]
    floats = any(operator.kind == "DEQUANTIZE" for operator in before.operators)
    assert np.abs(found - wanted).max() <= int(floats)
