"""Tensors there and back, and whatever JSON can say where a request is expected."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rocketnpu.graph import DType, Graph, Operator, Tensor
from rocketnpu.serving.refusal import RefusedError
from rocketnpu.serving.requests import Asked, read_request, write_answer
from rocketnpu.serving.signature import DATATYPES, Signature, signature_of
from rocketnpu.serving.tensors import from_bytes, from_json, to_bytes, to_json


def graph(dtype: DType, shape: tuple[int, ...], names: tuple[str, str] = ("in", "out")) -> Graph:
    tensors = {number: Tensor(number, name, shape, dtype, None) for number, name in enumerate(names)}
    return Graph("model", tensors, (Operator(0, "RELU", (0,), (1,)),), (0,), (1,))


def values(dtype: DType) -> st.SearchStrategy[np.ndarray]:
    shape = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
    finite: dict[str, Any] = (
        {"elements": {"allow_nan": False, "allow_infinity": False}} if "FLOAT" in dtype.name else {}
    )
    return arrays.arrays(dtype.value, shape, **finite)


@given(st.data(), st.sampled_from(list(DATATYPES)), st.booleans(), st.booleans())
def test_what_goes_in_comes_out(data: st.DataObject, dtype: DType, given_: bool, taken: bool) -> None:
    """An identity: every element type, by each way, in batches."""
    array = data.draw(values(dtype))
    shape = (1, *array.shape[1:])
    signature = signature_of(graph(dtype, shape), [np.zeros(shape, dtype.value)])
    source: dict[str, Any] = {"name": "in", "datatype": DATATYPES[dtype], "shape": list(array.shape)}
    if given_:
        source["parameters"] = {"binary_data_size": array.nbytes}
    else:
        source["data"] = array.tolist() if array.ndim % 2 else array.reshape(-1).tolist()
    text = json.dumps({"inputs": [source], "parameters": {"binary_data_output": taken}}).encode()
    body = text + array.tobytes() if given_ else text
    asked = read_request(body, len(text) if given_ else None, signature, 4)
    np.testing.assert_array_equal(np.concatenate([item[0] for item in asked.items]), array)
    answer, length = write_answer({}, asked, signature, asked.items)
    output = json.loads(answer[:length])["outputs"][0]
    assert (output["shape"], output["datatype"]) == (list(array.shape), DATATYPES[dtype])
    back = np.frombuffer(answer[length:], dtype.value) if taken else np.array(output["data"], dtype.value)
    np.testing.assert_array_equal(back, array.reshape(-1))


NAMES = st.sampled_from(
    (
        *("inputs", "outputs", "parameters", "id", "name", "shape", "datatype", "data", "in", "out", "UINT8"),
        *("timeout", "binary_data_size", "binary_data", "binary_data_output", "classification"),
    )
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NAMES | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
SOUND = {"name": "in", "datatype": "UINT8", "shape": [1, 2, 2], "data": [1, 2, 3, 4]}


@given(JSON, st.dictionaries(NAMES, JSON, max_size=3), st.dictionaries(NAMES, JSON, max_size=3), st.binary(max_size=9))
def test_whatever_json_says_is_read_or_refused(anything: Any, around: Any, inside: Any, rest: bytes) -> None:
    signature = signature_of(graph(DType.UINT8, (1, 2, 2)), [np.zeros((1, 2, 2), np.uint8)])
    for document in (
        anything,
        {"inputs": [{**SOUND, **inside}], **around},
        {**around, "inputs": [{**SOUND, **inside}]},
    ):
        text = json.dumps(document).encode()
        asked = read_or_refused(text, rest, signature)
        if isinstance(asked, RefusedError):
            assert asked.status == 400
            assert len(str(asked)) < 400
            continue
        assert 1 <= len(asked.items) <= 4
        assert all(item[0].shape == (1, 2, 2) and item[0].dtype == np.uint8 for item in asked.items)
        assert write_answer({}, asked, signature, asked.items)


def read_or_refused(text: bytes, rest: bytes, signature: Signature) -> Asked | RefusedError:
    try:
        return read_request(text + rest, len(text), signature, 4)
    except RefusedError as error:
        return error


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    (port,) = signature_of(graph(DType.FLOAT32, (1, 2)), [np.zeros((1, 2), np.float32)]).inputs
    data = np.array([1, bad], np.float32)
    with pytest.raises(RefusedError, match="not finite"):
        from_bytes(port, memoryview(data.tobytes()), 1)
    with pytest.raises(RefusedError, match="ask for binary data"):
        to_json(port, data)
    assert to_bytes(port, data) == data.tobytes()
    for given_ in ([0, 1e300], [0, 10**400]):
        with pytest.raises(RefusedError, match=r"finite|not within FP32"):
            from_json(port, given_, 1)


@pytest.mark.parametrize("timeout", [0, 1, 2**64, 10**400])
def test_a_client_may_name_any_time(timeout: int) -> None:
    signature = signature_of(graph(DType.UINT8, (1, 2)), [np.zeros((1, 2), np.uint8)])
    source = {"name": "in", "datatype": "UINT8", "shape": [1, 2], "data": [1, 2]}
    body = json.dumps({"inputs": [source], "parameters": {"timeout": timeout}}).encode()
    seconds = read_request(body, None, signature, 1).seconds
    assert seconds == pytest.approx(min(timeout, 2**62) / 1e6)


def test_truths_are_zero_or_one() -> None:
    (port,) = signature_of(graph(DType.BOOL, (1, 2)), [np.zeros((1, 2), np.bool_)]).inputs
    assert from_bytes(port, memoryview(b"\x00\x01"), 1).tolist() == [[False, True]]
    with pytest.raises(RefusedError, match="neither 0 nor 1"):
        from_bytes(port, memoryview(b"\x00\x02"), 1)
    with pytest.raises(RefusedError, match="are not BOOL"):
        from_json(port, [0, 1], 1)


def test_names_and_batches_of_models() -> None:
    twice = signature_of(graph(DType.INT8, (1, 4), ("", "out")), [np.zeros((1, 4), np.int8)])
    assert [port.name for port in (*twice.inputs, *twice.outputs)] == ["input0", "out"]
    assert twice.batched
    assert twice.inputs[0].metadata(batched=True)["shape"] == [-1, 4]
    fixed = signature_of(graph(DType.INT8, (3, 4)), [np.zeros((3, 4), np.int8)])
    assert not fixed.batched
    text = json.dumps({"inputs": [{"name": "in", "datatype": "INT8", "shape": [3, 4], "data": [1] * 12}]}).encode()
    assert read_request(text, None, fixed, 4).items[0][0].shape == (3, 4)
    with pytest.raises(RefusedError, match=r"has the shape \[3, 4\]"):
        read_request(text.replace(b"[3, 4]", b"[6, 2]"), None, fixed, 4)
