"""Which operators on single bytes become a table, and which stay: one condition is broken at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rocketnpu.graph import DType, Graph, Operator
from rocketnpu.graph import operators as ops
from rocketnpu.graph.passes.idioms.byte_chains import byte_chains
from rocketnpu.graph.verify import verify
from sheets import PLAIN, Sheet, any_values, computed, kinds, with_tensor

SHAPE = (1, 8, 8, 4)
Built = Callable[[Sheet, int], int]


def chain(build: Built, *others: int) -> Graph:
    """A graph of one map from 0 on; ``others`` are returned too."""
    sheet = Sheet()
    last = build(sheet, sheet.map(*SHAPE, scale=1 / 32, zero=0))
    return replace(sheet.graph(), outputs=(last, *others))


def unary(sheet: Sheet, kind: str, source: int, scale: float = 1 / 32, zero: int = 0) -> int:
    return sheet.op(kind, [source], sheet.map(*SHAPE, scale=scale, zero=zero))


def binary(sheet: Sheet, kind: str, one: int, other: int) -> int:
    attributes = PLAIN if kind in ("MAXIMUM", "MINIMUM") else ops.Arithmetic()
    return sheet.op(kind, [one, other], sheet.map(*SHAPE, scale=1 / 32, zero=0), attributes)


def gated(sheet: Sheet, x: int) -> int:
    return binary(sheet, "MUL", x, unary(sheet, "LOGISTIC", x, 1 / 256, -128))


def squared(sheet: Sheet, x: int) -> int:
    return unary(sheet, "RELU", binary(sheet, "MUL", x, x))


def shifted(sheet: Sheet, x: int) -> int:
    return unary(sheet, "TANH", binary(sheet, "ADD", x, sheet.constant([9], 1 / 16)), 1 / 128)


def larger(sheet: Sheet, x: int) -> int:
    return binary(sheet, "MAXIMUM", x, unary(sheet, "RELU", x))


def between(kind: str) -> Built:
    def build(sheet: Sheet, x: int) -> int:
        real = sheet.op("DEQUANTIZE", [x], sheet.map(*SHAPE, dtype=DType.FLOAT32))
        real = sheet.op(kind, [real], sheet.map(*SHAPE, dtype=DType.FLOAT32)) if kind else real
        for number in (real, real - 1 if kind else real):
            sheet.tensors[number] = replace(sheet.tensors[number], quantisation=None)
        return unary(sheet, "QUANTIZE", real, 1 / 16, 5)

    return build


@pytest.mark.litert
@pytest.mark.parametrize("build", [gated, squared, shifted, larger, between("NEG"), between("ABS")])
def test_chains_that_pay_become_a_table(build: Built) -> None:
    graph = chain(build)
    verify(graph)
    after = byte_chains(graph)
    verify(after)
    (made,) = after.operators
    assert isinstance(made.attributes, ops.ByteFunction)
    assert (made.kind, made.inputs, made.outputs) == ("BYTE_FUNCTION", (0,), graph.outputs)
    values = any_values(graph, 1)
    found = np.array(made.attributes.values)[values[0].astype(int) + 128]
    np.testing.assert_array_equal(found, computed(graph, values))
    assert byte_chains(graph, lambda *_: False) is graph


def alone(sheet: Sheet, x: int) -> int:
    return unary(sheet, "LOGISTIC", x, 1 / 256, -128)


def cheap(sheet: Sheet, x: int) -> int:
    return unary(sheet, "RELU6", unary(sheet, "RELU", unary(sheet, "QUANTIZE", x, 1 / 16)), 1 / 32)


def raised(sheet: Sheet, x: int) -> int:
    return unary(sheet, "RELU", binary(sheet, "ADD", x, sheet.constant([9], 1 / 16)))


def of_channels(sheet: Sheet, x: int) -> int:
    return binary(sheet, "MUL", unary(sheet, "TANH", x, 1 / 128), sheet.constant([1, 2, 3, 4], 1 / 16))


def of_two(sheet: Sheet, x: int) -> int:
    return unary(sheet, "RELU", binary(sheet, "MUL", x, sheet.map(*SHAPE)))


def spread(sheet: Sheet, x: int) -> int:
    small = sheet.map(1, 1, 1, 4)
    return binary(sheet, "MUL", small, sheet.op("TANH", [small], sheet.map(*SHAPE)))


def averaged(sheet: Sheet, x: int) -> int:
    pooled = sheet.op("MAX_POOL_2D", [x], sheet.map(*SHAPE), ops.Pool2D((1, 1), ops.Padding.SAME, (3, 3)))
    return unary(sheet, "RELU", pooled)


def of_words(sheet: Sheet, x: int) -> int:
    wide = sheet.op("QUANTIZE", [x], sheet.map(*SHAPE, dtype=DType.INT16, zero=0))
    return sheet.op("TANH", [wide], sheet.map(*SHAPE, dtype=DType.INT16, zero=0))


def exploded(sheet: Sheet, x: int) -> int:
    """exp(exp(x)) of up to 4 is 5e23, and what LiteRT makes of that is the processor's affair."""
    real = sheet.op("DEQUANTIZE", [x], sheet.map(*SHAPE, dtype=DType.FLOAT32))
    once = sheet.op("EXP", [real], sheet.map(*SHAPE, dtype=DType.FLOAT32))
    twice = sheet.op("EXP", [once], sheet.map(*SHAPE, dtype=DType.FLOAT32))
    for number in (real, once, twice):
        sheet.tensors[number] = replace(sheet.tensors[number], quantisation=None)
    return unary(sheet, "QUANTIZE", twice, 1 / 16)


def rooted(sheet: Sheet, x: int) -> int:
    """The root of a negative number is none, and one processor makes the lowest byte of it, another the zero point."""
    return between("SQRT")(sheet, x)


def swapped(sheet: Sheet, x: int) -> int:
    """QUANTIZE to a real number, which no kernel does."""
    real = sheet.op("QUANTIZE", [x], sheet.map(*SHAPE, dtype=DType.FLOAT32))
    sheet.tensors[real] = replace(sheet.tensors[real], quantisation=None)
    return unary(sheet, "QUANTIZE", unary(sheet, "DEQUANTIZE", real), 1 / 16)


@pytest.mark.parametrize(
    "build",
    [alone, cheap, raised, of_channels, of_two, spread, averaged, of_words, exploded, rooted, swapped, between("")],
)
def test_what_does_not_pay_or_is_no_chain_stays(build: Built) -> None:
    graph = chain(build)
    assert byte_chains(graph) is graph


def test_a_chain_whose_size_only_a_run_knows_stays() -> None:
    graph = chain(gated)
    for number in graph.operators[0].outputs + graph.operators[1].outputs:
        changed = with_tensor(graph, number, is_dynamic=True)
        assert byte_chains(changed) is changed
    unscaled = with_tensor(graph, 0, quantisation=None)
    assert byte_chains(unscaled) is unscaled


def test_what_others_read_stays_beside_the_table() -> None:
    graph = chain(gated, 1)
    assert graph.operators[0].outputs == (1,)
    after = byte_chains(graph)
    verify(after)
    assert sorted(kinds(after)) == ["BYTE_FUNCTION", "LOGISTIC"]
    assert after.operators[-1].inputs == (0,)


def test_a_chain_ends_where_somebody_reads_its_bytes() -> None:
    """Two chains from one map, one inside the other: a pool reads what is in the middle."""

    def build(sheet: Sheet, x: int) -> int:
        middle = gated(sheet, x)
        sheet.op("MAX_POOL_2D", [middle], sheet.map(*SHAPE, scale=1 / 32, zero=0), POOL)
        return unary(sheet, "TANH", middle, 1 / 128)

    sheet = Sheet()
    last = build(sheet, sheet.map(*SHAPE, scale=1 / 32, zero=0))
    pooled = next(o.outputs[0] for o in sheet.operators if o.kind == "MAX_POOL_2D")
    after = byte_chains(replace(sheet.graph(), outputs=(last, pooled)))
    verify(after)
    assert sorted(kinds(after)) == ["BYTE_FUNCTION", "BYTE_FUNCTION", "MAX_POOL_2D"]
    tables = [operator for operator in after.operators if operator.kind == "BYTE_FUNCTION"]
    assert {operator.inputs for operator in tables} == {(0,)}


POOL = ops.Pool2D((1, 1), ops.Padding.SAME, (3, 3))


def test_a_scale_that_the_kernels_refuse_leaves_the_chain() -> None:
    def build(sheet: Sheet, x: int) -> int:
        other = sheet.op("RELU", [x], sheet.map(*SHAPE, scale=1 / 64, zero=0))
        return binary(sheet, "MAXIMUM", x, other)

    graph = chain(build)
    assert byte_chains(graph) is graph


def test_an_operator_with_an_absent_input_is_no_link() -> None:
    graph = chain(gated)
    absent = Operator(0, "LOGISTIC", (0, None), graph.operators[0].outputs)
    changed = replace(graph, operators=(absent, graph.operators[1]))
    assert byte_chains(changed) is changed
