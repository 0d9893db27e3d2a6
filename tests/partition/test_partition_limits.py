"""Numbers by which a part is weighed, each on both sides of its limit."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from rocketnpu.errors import InputError
from rocketnpu.graph import DType, Graph, Operator
from rocketnpu.graph import operators as ops
from rocketnpu.partition.decisions import Decision
from rocketnpu.partition.groups import Group, joined_groups
from rocketnpu.partition.plan import Plan, plan
from rocketnpu.partition.price import Price
from rocketnpu.partition.rates import PUBLISHED, Rates, keep, local_rates, path_of, updated
from rocketnpu.policy import Policy
from sheets import Sheet

MEASURED = {"format": 1, "chip": "rk3588", "signed": 2, "unsigned": 3.5, "npu": 1, "measured": "a board"}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKETNPU_CONFIG", str(tmp_path / "config"))


@pytest.mark.parametrize(("cpu", "pays"), [(5.0, True), (5.1, True), (4.9, False)])
def test_a_part_pays_that_is_no_slower(cpu: float, pays: bool) -> None:
    price = Price(3.0, 2.0, cpu)
    assert price.pays == pays
    assert str(Price(3000.0, 1500.0, 9000.0)) == ("4.50 ms on the NPU, 1.50 of them for the cut; 9.00 ms on the CPU")


@pytest.mark.parametrize("name", ["signed", "unsigned", "npu"])
@pytest.mark.parametrize(
    ("value", "taken"), [(1e-3, True), (1e9, True), (0.99e-3, False), (1.01e9, False), (None, False)]
)
def test_rates_that_a_board_could_have(name: str, value: float | None, taken: bool) -> None:
    path = keep("rk3588", Rates(measured="x"))
    path.write_text(json.dumps(MEASURED | {name: value}))
    if taken:
        assert getattr(local_rates("rk3588"), name) == value
        return
    with pytest.raises(InputError, match="is no file of rates"):
        local_rates("rk3588")


@pytest.mark.parametrize("value", [1e-3, 1e9])
def test_measured_figures_at_their_limits(value: float) -> None:
    found = updated(PUBLISHED, unsigned=False, processor=value, npu=value, measured="x")
    assert (found.signed, found.npu) == (value, value)
    beyond = value * (0.99 if value < 1 else 1.01)
    for processor, npu in ((beyond, 1.0), (1.0, beyond)):
        with pytest.raises(InputError, match="no rates"):
            updated(PUBLISHED, unsigned=True, processor=processor, npu=npu, measured="x")


@pytest.mark.parametrize(
    "wrong", [{"format": 0}, {"format": 2}, {"format": None}, {"chip": "rk3576"}, {"measured": 3}, {"measured": None}]
)
def test_rates_of_another_format_or_board(wrong: dict[str, object]) -> None:
    path = keep("rk3588", Rates(measured="x"))
    path.write_text(json.dumps(MEASURED))
    assert local_rates("rk3588") == Rates(2.0, 3.5, 1.0, "a board")
    path.write_text(json.dumps(MEASURED | wrong))
    with pytest.raises(InputError, match="is no file of rates"):
        local_rates("rk3588")


def test_a_file_of_rates_is_small() -> None:
    path = keep("rk3588", Rates(measured="x"))
    text = json.dumps(MEASURED)
    path.write_text(text.ljust(1 << 16))
    assert local_rates("rk3588").measured == "a board"
    path.write_text(text.ljust((1 << 16) + 1))
    with pytest.raises(InputError):
        local_rates("rk3588")


def test_rates_that_cannot_be_written() -> None:
    path = path_of("rk3588")
    path.mkdir(parents=True)
    with pytest.raises(InputError, match="cannot write the rates"):
        keep("rk3588", PUBLISHED)


def convolutions(*channels: int) -> Graph:
    """Convolutions of one pixel one behind the other, with a SOFTMAX behind each."""
    sheet = Sheet(DType.INT8)
    current = sheet.map(1, 4, 4, channels[0])
    for given, made in pairwise(channels):
        weights, bias = sheet.weights(made, 1, 1, given)
        target = sheet.map(1, 4, 4, made)
        sheet.op("CONV_2D", [current, weights, bias], target, ops.Conv2D((1, 1), ops.Padding.SAME))
        current = sheet.op("SOFTMAX", [target], sheet.map(1, 4, 4, made, scale=1 / 256, zero=-128), ops.Softmax())
        current = sheet.op("QUANTIZE", [current], sheet.map(1, 4, 4, made))
    return sheet.graph()


def test_a_part_of_exactly_as_much_work_as_pays_is_taken() -> None:
    graph = convolutions(16, 16, 32)
    work = 16 * 16 * 16
    for minimum, count in ((work, 2), (work + 1, 1), (2 * work, 1), (2 * work + 1, 0)):
        found = plan(graph, Policy(minimum_macs=minimum))
        convs = [decision for decision in found.decisions if decision.kind == "CONV_2D" and decision.supported]
        assert len(convs) == count, minimum


@pytest.mark.parametrize(
    ("macs", "coverage"), [([(30, True), (10, False)], 0.75), ([(0, True)], 0.0), ([(7, True)], 1.0), ([], 0.0)]
)
def test_coverage_is_a_share_of_the_work(macs: list[tuple[int, bool]], coverage: float) -> None:
    decisions = tuple(Decision(n, "CONV_2D", taken, "", work) for n, (work, taken) in enumerate(macs))
    found = Plan(convolutions(1, 1), decisions, (), Policy())
    assert found.coverage == coverage
    assert len(str(found).splitlines()) == len(macs)
    assert Decision(0, "RELU", True).macs == 0


def test_a_group_hides_what_its_new_operators_do_not_make() -> None:
    old = (Operator(0, "PAD", (0, 1), (2,)), Operator(1, "RELU", (2,), (3,)))
    assert Group((Operator(1, "RELU", (0,), (3,)),), old).hidden == {2}
    assert Group(old, old).hidden == frozenset()


def test_each_untouched_operator_is_a_group_of_its_own() -> None:
    graph = convolutions(16, 16, 8)
    groups = list(joined_groups(graph, graph))
    assert [group.made for group in groups] == [(operator,) for operator in graph.operators]
    assert all(group.made == group.originals for group in groups)
