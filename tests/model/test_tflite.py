"""Reading whole files: what is told, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
import pytest

from damage import MODELS
from rocketnpu.errors import ModelError, UnsupportedError
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import load, parse
from rocketnpu.third_party import tflite_schema as schema

DATA = Path(__file__).resolve().parents[1] / "data"


def unpacked(make=MODELS[0]):
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(make(), 0))


def packed(model) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_model_is_read() -> None:
    graph = parse(MODELS[0](), "small")
    assert (graph.name, graph.inputs, graph.outputs, len(graph.tensors)) == ("small", (0,), (7,), 8)
    first, second, last = graph.operators
    assert first == ops.Operator(
        0, "CONV_2D", (0, 1, 2), (3,), ops.Conv2D((2, 2), Padding.SAME, (1, 1), Activation.RELU6)
    )
    assert second.attributes == ops.DepthwiseConv2D((1, 1), Padding.VALID, depth_multiplier=1)
    assert last.attributes == ops.Softmax(1.0)
    weights, bias = graph.tensors[1], graph.tensors[2]
    assert (weights.shape, weights.dtype, weights.is_constant) == ((4, 3, 3, 3), DType.INT8, True)
    assert weights.quantisation is not None
    np.testing.assert_array_equal(weights.quantisation.scales, np.array([0.01, 0.02, 0.03, 0.04], np.float32))
    assert bias.data is not None
    assert bias.data.tolist() == [1, -20, 300, 4]
    assert not bias.data.flags.writeable


def test_published_models_are_read(shared: Path) -> None:
    counts = {
        "mobilenet_v1_0.25_128_quant": 31,
        "mobilenet_v1_1.0_224_quant": 31,
        "mobilenet_v2_1.0_224_quant": 65,
        "resnet8_cifar10_int8": 16,
        "tf2_mobilenet_v2_1.0_224_ptq": 68,
    }
    for name, count in counts.items():
        assert len(load(shared / "models" / f"{name}.tflite").operators) == count


@pytest.mark.parametrize("folder", ["packaged", "shared"])
def test_models_of_the_recordings_are_read(folder: str, request: pytest.FixtureRequest) -> None:
    place = DATA if folder == "packaged" else request.getfixturevalue("shared") / "golden"
    found = sorted(place.rglob("*.tflite"))
    assert found
    for path in found:
        assert load(path).operators


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"TFL3", "not a TFLite model"),
        (bytes(100), "not a TFLite model"),
        (b"PK\3\4" + bytes(60), "not a TFLite model"),
        (MODELS[0]()[:200], "outside the file"),
    ],
)
def test_what_is_no_model(data: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        parse(data)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read model .*none\.tflite: No such file"):
        load(tmp_path / "none.tflite")
    with pytest.raises(ModelError, match="cannot read model"):
        load(tmp_path)


def set_version(model):
    model.version = 2


def no_subgraph(model):
    model.subgraphs = []


def negative_shape(model):
    model.subgraphs[0].tensors[0].shape = np.array([1, -6, 6, 3], np.int32)


def unknown_tensor(model):
    model.subgraphs[0].operators[1].inputs = np.array([3, 99, 5], np.int32)


def unknown_output(model):
    model.subgraphs[0].outputs = np.array([8], np.int32)


def unknown_buffer(model):
    model.subgraphs[0].tensors[1].buffer = 77


def unknown_code(model):
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 120
    model.operatorCodes[0].builtinCode = 9999


def unknown_code_index(model):
    model.subgraphs[0].operators[0].opcodeIndex = 9


def short_data(model):
    model.buffers[1].data = model.buffers[1].data[:-1]


def zero_points(model):
    model.subgraphs[0].tensors[1].quantization.zeroPoint = np.zeros(3, np.int64)


def wrong_activation(model):
    model.subgraphs[0].operators[0].builtinOptions.fusedActivationFunction = 77


def wrong_padding(model):
    model.subgraphs[0].operators[0].builtinOptions.padding = 2


def no_options(model):
    model.subgraphs[0].operators[0].builtinOptions = None
    model.subgraphs[0].operators[0].builtinOptionsType = 0


def unknown_metadata(model):
    found = schema.MetadataT()
    found.name, found.buffer = "x", 50
    model.metadata = [found]


def unknown_signature(model):
    found = schema.SignatureDefT()
    found.signatureKey, found.subgraphIndex = "x", 3
    model.signatureDefs = [found]


def signature_of_no_tensor(model):
    end, found = schema.TensorMapT(), schema.SignatureDefT()
    end.name, end.tensorIndex = "x", 8
    found.signatureKey, found.inputs = "x", [end]
    model.signatureDefs = [found]


def second_subgraph(model):
    other = schema.SubGraphT()
    other.tensors, other.operators, other.inputs, other.outputs = [], [], np.array([5], np.int32), []
    model.subgraphs.append(other)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_version, "schema version 2, known is 3"),
        (no_subgraph, "no subgraph"),
        (negative_shape, r"tensor 0 \(x\) has a negative dimension"),
        (unknown_tensor, r"tensor number 99 is outside 0\.\.7"),
        (unknown_output, r"tensor number 8 is outside 0\.\.7"),
        (unknown_buffer, "refers to buffer 77 of 5"),
        (unknown_code, "unknown builtin code 9999"),
        (unknown_code_index, "operator code 9 of 3"),
        (short_data, "107 bytes of data, its shape .* needs 108"),
        (zero_points, "4 scales but 3 zero points"),
        (wrong_activation, "operator 0: unknown fused activation 77"),
        (wrong_padding, "operator 0: unknown padding 2"),
        (no_options, "operator 0: CONV_2D has no Conv2DOptions"),
        (unknown_metadata, "metadata 0 refers to buffer 50"),
        (unknown_signature, "signature 0 is of subgraph 3 of 1"),
        (signature_of_no_tensor, "tensor number 8 is outside"),
        (second_subgraph, "tensor number 5 is outside"),
    ],
)
def test_contradictions_are_named(change, words: str) -> None:
    model = unpacked()
    change(model)
    with pytest.raises(ModelError, match=words):
        parse(packed(model))


def test_a_count_of_outputs_that_the_options_contradict() -> None:
    model = unpacked(MODELS[1])
    split = next(o for o in model.subgraphs[0].operators if isinstance(o.builtinOptions, schema.SplitOptionsT))
    split.builtinOptions.numSplits = 3
    with pytest.raises(ModelError, match="SPLIT has 2 outputs, its options say 3"):
        parse(packed(model))


def test_names_that_are_no_text() -> None:
    data = MODELS[0]()
    with pytest.raises(ModelError, match="name of tensor 3 is not UTF-8"):
        parse(data.replace(b"\x01\0\0\0y\0", b"\x01\0\0\0\xff\0"))


def test_custom_quantisation_is_unsupported() -> None:
    model = unpacked()
    quantisation = model.subgraphs[0].tensors[0].quantization
    quantisation.details = schema.CustomQuantizationT()
    quantisation.detailsType = schema.QuantizationDetails.CustomQuantization
    with pytest.raises(UnsupportedError, match="custom quantisation"):
        parse(packed(model))


def moved_apart(model: bytes) -> bytes:
    """Move the first constant's bytes behind the flatbuffer, as some writers do."""
    found = unpacked(lambda: model)
    number = next(
        tensor.buffer for tensor in found.subgraphs[0].tensors if found.buffers[tensor.buffer].data is not None
    )
    content = bytes(found.buffers[number].data)
    found.buffers[number].data = None
    # The size of the flatbuffer does not depend on the numbers, so a first packing tells where its end is.
    found.buffers[number].offset, found.buffers[number].size = 1 << 20, len(content)
    end = len(packed(found))
    found.buffers[number].offset = end
    return packed(found) + content


def test_constants_behind_the_flatbuffer_are_read() -> None:
    model = MODELS[0]()
    inside, apart = parse(model), parse(moved_apart(model))
    for number, tensor in inside.tensors.items():
        other = apart.tensors[number].data
        assert (tensor.data is None) == (other is None)
        if tensor.data is not None:
            np.testing.assert_array_equal(tensor.data, other)
    with pytest.raises(ModelError, match=r"buffer \d+ ends at byte \d+ of \d+"):
        parse(moved_apart(model)[:-1])


def test_the_first_buffer_stands_for_no_data_whatever_it_holds() -> None:
    model = unpacked(relu)
    model.buffers[0].data = np.arange(16, dtype=np.uint8)
    graph = parse(packed(model))
    assert not any(tensor.is_constant for tensor in graph.tensors.values())


def test_a_constant_among_the_inputs_is_none() -> None:
    builder = ModelBuilder()
    given, made = (builder.tensor((1, 2, 2, 4), DType.INT8, scale=0.1) for _ in range(2))
    row = builder.tensor((4,), DType.INT8, scale=0.1, data=np.arange(4))
    builder.operator("ADD", [row, given], [made], ops.Arithmetic())
    assert parse(builder.build([row, given], [made])).inputs == (given,)


def relu() -> bytes:
    """A model without constants."""
    builder = ModelBuilder()
    given, made = (builder.tensor((1, 2, 2, 4), DType.INT8, scale=0.1) for _ in range(2))
    builder.operator("RELU", [given], [made])
    return builder.build([given], [made])
