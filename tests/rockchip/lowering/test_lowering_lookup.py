"""Look-up table operators and PRELU: equal to the reference for every byte, loaded when and as often as needed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_checks import PROVEN, all_bytes, check, parsed, simulate, single, writes

from bench import Case
from rocketnpu.arithmetic.byte_functions import BYTE_FUNCTIONS
from rocketnpu.compiler import compile_graph
from rocketnpu.errors import UnsupportedError
from rocketnpu.graph import DType, Graph, Operator, Padding, Quantisation, Tensor
from rocketnpu.graph import operators as ops
from rocketnpu.inspect.reference import reference
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.partition.plan import plan
from rocketnpu.policy import Policy
from rocketnpu.rockchip.emission.emit import emit
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.lowering.lookup import SPREAD, byte_table
from rocketnpu.rockchip.models.operator_model import graph_model
from rocketnpu.rockchip.prepared import lower
from rocketnpu.rockchip.soc import RK3588
from rocketnpu.rockchip.tasks.jobs import job_groups
from rocketnpu.rockchip.tasks.task import ConvolutionTask, FlyingTask, PoolingTask
from strategies import case, cases

SIGNED_ONLY = ("ELU", "EXP", "LOG", "RSQRT", "ABS")
BOUNDS = {"RSQRT": 1}
"""Distance from the reference; 0 for all others."""
KINDS = [(kind, dtype) for kind in BYTE_FUNCTIONS for dtype in (DType.INT8, DType.UINT8) if kind != "BYTE_FUNCTION"]
"""LiteRT has no BYTE_FUNCTION; readers of other formats make it."""
TAKEN = [(kind, dtype) for kind, dtype in KINDS if dtype is DType.INT8 or kind not in SIGNED_ONLY]


def byte_model(kind: str, dtype: DType, seed: int) -> Case:
    """An operator on a row of 256 pixels with scales of its own."""
    random = np.random.default_rng(seed)
    low, high = (int(value) for value in (np.iinfo(dtype.value).min, np.iinfo(dtype.value).max))
    zero = (low, high, (low + high + 1) // 2, int(random.integers(low, high + 1)))[seed % 4]
    if kind == "RSQRT":
        zero = low  # The reference refuses negative values while it runs.
    scale = float(np.float32(2.0 ** random.uniform(-8, 0)))
    outputs = {"LOGISTIC": (1 / 256, low), "TANH": (1 / 128, (low + high + 1) // 2)}
    other = (float(np.float32(scale * 2.0 ** random.uniform(-3, 3))), int(random.integers(low, high + 1)))
    attributes = {
        "LEAKY_RELU": ops.LeakyRelu((0.5, 0.1, 0.01, 0.0, -0.3, 1.5)[seed % 6]),
        "GELU": ops.Gelu(seed % 2 == 0),
    }.get(kind)
    shape = (1, 1, 256, 1)
    return single(kind, [(shape, scale, zero), (shape, *outputs.get(kind, other))], attributes, dtype)


def expected(found: Case, values: np.ndarray) -> np.ndarray:
    """What LiteRT gives: its reference kernels, or for ELU, which they lack, its plain built-in ones."""
    output = found.graph.outputs[0]
    if found.graph.operators[0].kind != "ELU":
        return reference(found.model, [values])[output]
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=found.model, num_threads=1, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    interpreter.set_tensor(found.graph.inputs[0], values)
    interpreter.invoke()
    return interpreter.get_tensor(output)


@pytest.mark.parametrize(("kind", "dtype"), TAKEN)
def test_every_byte_is_right(kind: str, dtype: DType) -> None:
    values = all_bytes(dtype).reshape(1, 1, 256, 1)
    for seed in range(12):
        found = byte_model(kind, dtype, seed)
        if kind == "HARD_SWISH" and plan(found.graph).decisions[0].reason:
            continue
        ((output,),) = simulate(found.graph, [[values]])
        exact = graph_model(found.graph, {found.graph.inputs[0]: values})[found.graph.outputs[0]]
        np.testing.assert_array_equal(output, exact)
        difference = np.abs(output.astype(int) - expected(found, values).astype(int))
        assert difference.max() <= BOUNDS.get(kind, 0), f"{found!r}: {difference.max()}"


@pytest.mark.parametrize(("kind", "dtype"), TAKEN)
@settings(max_examples=25)
@given(seed=st.integers(0, 1 << 30))
def test_byte_functions_are_those_of_the_reference(kind: str, dtype: DType, seed: int) -> None:
    found = byte_model(kind, dtype, seed)
    graph = found.graph
    source, target = (graph.tensors[number] for number in (*graph.inputs, *graph.outputs))
    try:
        outputs = BYTE_FUNCTIONS[kind](graph.operators[0], source, target)
    except UnsupportedError:
        assert kind == "HARD_SWISH"
        return
    wanted = expected(found, all_bytes(dtype).reshape(1, 1, 256, 1)).reshape(-1)
    assert np.abs(outputs - wanted).max() <= BOUNDS.get(kind, 0)


def test_activations_on_all_pictures() -> None:
    taken: Counter[str] = Counter()
    for seed in range(90):
        found = case("activation", seed)
        kind = found.graph.operators[0].kind
        reason = check(found, 0 if kind in BYTE_FUNCTIONS else 1)
        assert not reason or kind == "SOFTMAX", reason
        taken[kind] += not reason
    assert min(taken[kind] for kind in ("LOGISTIC", "TANH", "HARD_SWISH", "GELU", "LEAKY_RELU", "PRELU")) >= 3, taken


@settings(max_examples=50)
@given(found=cases("activation"))
def test_random_activations(found: Case) -> None:
    kind = found.graph.operators[0].kind
    reason = check(found, 0 if kind in BYTE_FUNCTIONS else 1, patterns=("random", "channels"))
    assert not reason or kind in ("SOFTMAX", "HARD_SWISH"), reason


@pytest.mark.parametrize("largest", [0.5, 1.99, 3.0, 250.0])
def test_slopes_of_any_size(largest: float) -> None:
    slopes = np.linspace(-127, 127, 33).round().astype(np.int64)[None, None]
    shape, scale = (1, 3, 5, 33), 0.05
    tensors = [(shape, scale, 10), (slopes.shape, largest / 127, 0), (shape, scale * max(largest, 1) / 2, -20)]
    assert check(single("PRELU", tensors, constants={1: slopes}), 1) == ""


def test_entries_do_not_depend_on_what_lies_between_them() -> None:
    found = byte_model("TANH", DType.INT8, 3)
    source, target = (found.graph.tensors[number] for number in (*found.graph.inputs, *found.graph.outputs))
    table = byte_table(found.graph.operators[0], source, target)
    outputs = BYTE_FUNCTIONS["TANH"](found.graph.operators[0], source, target)
    assert source.quantisation is not None
    assert target.quantisation is not None
    for value, output in zip(range(-128, 128), outputs.tolist(), strict=True):
        argument = (value - source.quantisation.zero_point) * SPREAD
        assert argument % 32 == 0
        assert -16384 < argument < 16384
        entry = table.above[argument // 32] if argument >= 0 else table.below[(argument + 16384) // 32]
        assert entry == output - target.quantisation.zero_point
    assert table.below[-1] == table.above[0]


def test_registers_are_those_of_the_known_programmes() -> None:
    found = byte_model("LOGISTIC", DType.INT8, 2)
    ((load, use),) = job_groups(lower(found.graph, RK3588, Policy()).tasks, RK3588)
    assert isinstance(load, FlyingTask)
    loading, using = emit(load, RK3588), emit(use, RK3588)
    assert loading.enable_mask == 0x18
    assert {writes(loading.words)[offset] for offset in (0x4004, 0x5004)} == {0x30}
    heads = [word >> 16 & 0xFFFFFFFF for word in loading.words if word & 0xFFFF == 0x4100][:2]
    assert heads == [0x20000, 0x30000]
    assert sum(word & 0xFFFF == 0x4104 for word in loading.words[:1200]) == 2 * 513 + 1
    known = {
        0x4070: 0x302,
        0x4108: 0x68,
        0x410C: 0x50500,
        0x4110: 0xFFFFC000,
        0x4114: 0,
        0x4118: 0,
        0x411C: 0x4000,
        0x4060: 0x53,
    }
    found_registers = writes(using.words)
    assert {offset: found_registers[offset] for offset in known} == known
    assert 0x4104 not in found_registers, "a task that uses the tables must not touch their port"


def two_in_a_row(first: str, second: str) -> Case:
    builder = ModelBuilder()
    tensors = [builder.tensor((1, 4, 4, 20), DType.INT8, scale=1 / 32, zero_point=-3) for _ in range(4)]
    # Between them an operator on pixels, or both would be one function of a byte.
    builder.operator(first, [tensors[0]], [tensors[1]])
    builder.operator("MAX_POOL_2D", [tensors[1]], [tensors[2]], ops.Pool2D((1, 1), Padding.SAME, (2, 2)))
    builder.operator(second, [tensors[2]], [tensors[3]])
    return parsed(builder, [tensors[0]], [tensors[3]], f"{first} {second}")


@pytest.mark.parametrize(("second", "loads"), [("TANH", 1), ("HARD_SWISH", 2)])
def test_equal_tables_are_loaded_once(second: str, loads: int) -> None:
    found = two_in_a_row("TANH", second)
    assert check(found, 0) == ""
    labels = [task.label for task in compile_graph(found.graph).tasks]
    assert sum(label.startswith("load") for label in labels) == loads


def test_each_job_loads_its_own_tables() -> None:
    found = two_in_a_row("TANH", "TANH")
    tasks = lower(found.graph, RK3588, Policy()).tasks
    groups = job_groups(tasks, replace(RK3588, job_cycles=1))
    kinds = [[type(task) for task in group] for group in groups]
    assert [group for group in kinds if group != [PoolingTask]] == [[FlyingTask, ConvolutionTask]] * 2


def test_the_policy_keeps_tables_on_the_cpu() -> None:
    for kind, rule in (("TANH", Unproven.LOOKUP), ("PRELU", Unproven.PARAMETRIC_RELU)):
        found = next(one for one in (case("activation", seed) for seed in range(90)) if one.name.startswith(kind))
        divided = plan(found.graph, PROVEN)
        assert not divided.parts
        assert rule in divided.decisions[0].reason
        with pytest.raises(UnsupportedError, match=rule):
            compile_graph(found.graph, PROVEN)
        more = (Unproven.FLYING_START,) if rule is Unproven.LOOKUP else ()
        assert compile_graph(found.graph).rules == (rule, *more)


@pytest.mark.parametrize("kind", SIGNED_ONLY)
def test_what_the_reference_lacks_stays_on_the_cpu(kind: str) -> None:
    assert "INT8" in plan(byte_model(kind, DType.UINT8, 1).graph).decisions[0].reason


def test_a_finer_output_than_the_reference_takes_is_refused() -> None:
    shape = (1, 2, 2, 3)
    found = single("HARD_SWISH", [(shape, 1.0, 0), (shape, 1 / 1024, 0)])
    assert "reference kernel refuses" in plan(found.graph).decisions[0].reason


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8])
def test_a_function_given_as_256_values_gives_them(dtype: DType) -> None:
    low = np.iinfo(dtype.value).min
    answers = np.random.default_rng(3).permutation(256) + low
    whole = (1, 1, 256, 1)
    scale = Quantisation.per_tensor(0.1, low + 100)
    tensors = {number: Tensor(number, f"t{number}", whole, dtype, scale) for number in (0, 1)}
    function = ops.ByteFunction(tuple(int(answer) for answer in answers))
    graph = Graph("bytes", tensors, (Operator(0, "BYTE_FUNCTION", (0,), (1,), function),), (0,), (1,))
    ((output,),) = simulate(graph, [[all_bytes(dtype).reshape(whole)]])
    np.testing.assert_array_equal(output.reshape(-1), answers)


@pytest.mark.parametrize("values", [(0,) * 255, (0,) * 255 + (300,)])
def test_a_function_that_is_not_of_bytes_is_refused(values: tuple[int, ...]) -> None:
    scale = Quantisation.per_tensor(0.1, 0)
    tensors = {number: Tensor(number, f"t{number}", (1, 2, 2, 3), DType.UINT8, scale) for number in (0, 1)}
    graph = Graph("bytes", tensors, (Operator(0, "BYTE_FUNCTION", (0,), (1,), ops.ByteFunction(values)),), (0,), (1,))
    assert "values" in plan(graph).decisions[0].reason
