"""The verifier knows the schema's layout, accepts sound files, and names what is out of place."""

from __future__ import annotations

import struct
from pathlib import Path

import flatbuffers
import pytest

from damage import MODELS
from rocketnpu.errors import ModelError
from rocketnpu.model.flatbuffer import Slot, check, slots
from rocketnpu.third_party import tflite_schema as schema
from strategies import FAMILIES, case

WHOLE = MODELS[0]()


def layout(table: type) -> dict[str, tuple[int, str, int, object]]:
    return {s.name: (s.place, s.kind.value, s.width, getattr(s.target, "__name__", s.target)) for s in slots(table)}


def changed(place: int, layout: str, value: int) -> bytes:
    found = bytearray(WHOLE)
    struct.pack_into(layout, found, place, value)
    return bytes(found)


def root() -> int:
    return struct.unpack_from("<I", WHOLE, 0)[0]


def field(table: int, number: int) -> int:
    """Position of a field of the table at ``table``; its number counts from 0."""
    vtable = table - struct.unpack_from("<i", WHOLE, table)[0]
    return table + struct.unpack_from("<H", WHOLE, vtable + 4 + 2 * number)[0]


def follow(position: int) -> int:
    return position + struct.unpack_from("<I", WHOLE, position)[0]


def test_layouts_are_taken_from_the_generated_accessors() -> None:
    tensor = layout(schema.Tensor)
    assert tensor["Shape"] == (4, "vector of scalars", 4, None)
    assert tensor["Type"] == (6, "scalar", 1, None)
    assert tensor["Name"] == (10, "string", 4, None)
    assert tensor["Quantization"] == (12, "table", 4, "QuantizationParameters")
    assert layout(schema.SubGraph)["Tensors"] == (4, "vector of tables", 4, "Tensor")
    assert layout(schema.Operator)["BuiltinOptions"] == (12, "union", 4, "BuiltinOptions")
    assert layout(schema.QuantizationParameters)["ZeroPoint"] == (10, "vector of scalars", 8, None)
    assert layout(schema.QuantizationParameters)["Details"] == (14, "union", 4, "QuantizationDetails")
    assert layout(schema.DimensionMetadata)["ArrayIndices"] == (14, "union", 4, "SparseIndexVector")
    assert layout(schema.VarHandleOptions)["SharedName"] == (6, "string", 4, None)


def member_tables() -> list[type]:
    unions = (schema.BuiltinOptions, schema.BuiltinOptions2, schema.QuantizationDetails, schema.SparseIndexVector)
    return [getattr(schema, n) for union in unions for n, v in vars(union).items() if not n.startswith("_") and v]


@pytest.mark.parametrize("table", [schema.Model, schema.SubGraph, schema.Operator, schema.Buffer, *member_tables()])
def test_every_field_that_can_be_written_is_known(table: type) -> None:
    """The generated ``TableStart`` says how many fields there are."""
    counted: list[int] = []

    class Counter(flatbuffers.Builder):
        def StartObject(self, numfields: int) -> None:
            counted.append(numfields)

    getattr(schema, f"{table.__name__}Start")(Counter(8))
    found = slots(table)
    assert all(isinstance(slot, Slot) and slot.place % 2 == 0 for slot in found)
    assert not found or found[-1].place == 4 + 2 * (counted[0] - 1)
    assert counted[0] == 0 or found


def test_sound_files_pass() -> None:
    for make in MODELS:
        check(make())
    for family in FAMILIES:
        check(case(family, 3).model)


def test_real_files_pass(shared: Path) -> None:
    found = sorted((shared / "models").glob("*.tflite"))
    assert found
    for path in found:
        check(path.read_bytes())


def test_an_offset_outside_the_file() -> None:
    with pytest.raises(ModelError, match=r"Model\.Subgraphs: bytes \d+\.\.\d+ are outside the file"):
        check(changed(field(root(), 2), "<I", 0x00FFFFF0))


def test_a_vector_longer_than_the_file() -> None:
    with pytest.raises(ModelError, match=r"Model\.Buffers: bytes .* outside the file"):
        check(changed(follow(field(root(), 4)), "<I", 1 << 28))


def test_a_misaligned_vector() -> None:
    place = field(root(), 4)
    with pytest.raises(ModelError, match=r"Model\.Buffers: byte \d+ is not a multiple of 4"):
        check(changed(place, "<I", struct.unpack_from("<I", WHOLE, place)[0] + 2))


def test_a_vtable_with_impossible_lengths() -> None:
    vtable = root() - struct.unpack_from("<i", WHOLE, root())[0]
    with pytest.raises(ModelError, match=r"vtable of Model at byte \d+ has lengths 3 and"):
        check(changed(vtable, "<H", 3))
    with pytest.raises(ModelError, match="outside the file"):
        check(changed(vtable, "<H", 0xFFFE))


def test_a_vtable_before_the_file() -> None:
    with pytest.raises(ModelError, match="vtable of Model: bytes -"):
        check(changed(root(), "<i", 1 << 20))


def test_a_text_without_end() -> None:
    place = WHOLE.index(b"\x04\0\0\0main\0")
    with pytest.raises(ModelError, match=r"SubGraph\.Name: the text at byte \d+ does not end in a zero byte"):
        check(changed(place + 8, "<B", 65))


def test_an_offset_to_itself() -> None:
    with pytest.raises(ModelError, match="points to itself"):
        check(changed(field(root(), 2), "<I", 0))


def test_an_unknown_union_member() -> None:
    subgraph = follow(follow(field(root(), 2)) + 4)
    operator = follow(follow(field(subgraph, 3)) + 4)
    with pytest.raises(ModelError, match=r"Operator\.BuiltinOptions has unknown type 250"):
        check(changed(field(operator, 3), "<B", 250))


@pytest.mark.parametrize("length", [0, 1, 3, 7, 20])
def test_short_files(length: int) -> None:
    with pytest.raises(ModelError, match="outside the file"):
        check(WHOLE[:length])


def test_shared_lists_are_walked_once() -> None:
    """A list of many tables that refer to one long list would take hours if it were walked for each."""
    builder = flatbuffers.Builder(1 << 20)
    schema.BufferStart(builder)
    leaf = schema.BufferEnd(builder)
    buffers = many(builder, [leaf] * 20000)
    schema.TensorStart(builder)
    tensor = schema.TensorEnd(builder)
    tensors = many(builder, [tensor] * 20000)
    subgraphs = []
    for _ in range(2000):
        schema.SubGraphStart(builder)
        schema.SubGraphAddTensors(builder, tensors)
        subgraphs.append(schema.SubGraphEnd(builder))
    graphs = many(builder, subgraphs)
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    check(bytes(builder.Output()))


def many(builder: flatbuffers.Builder, items: list[int]) -> int:
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    return builder.EndVector()
