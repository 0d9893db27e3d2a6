"""Estimates: what they add up to, what changes them, and how they are shown."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from inspect_models import chain_program
from rocketnpu.cli import main
from rocketnpu.errors import UnsupportedError
from rocketnpu.estimate.cpu import cpu_us
from rocketnpu.estimate.estimate import Conditions, Estimate
from rocketnpu.estimate.page import page
from rocketnpu.estimate.sources import estimate_model, estimate_program
from rocketnpu.estimate.trace import trace
from rocketnpu.family import Family
from rocketnpu.model import tflite
from rocketnpu.program import store

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
SMALL = GOLDEN / "conv3x3_u8_same_16x16x16_32.tflite"


def estimated(conditions: Conditions | None = None) -> Estimate:
    return estimate_program(chain_program(), conditions or Conditions())


def test_the_total_is_the_sum_of_what_is_listed() -> None:
    found = estimated()
    listed = sum(row.us for row in found.operators)
    assert listed == pytest.approx(found.npu_us + found.starts_us)
    assert sum(row.share for row in found.operators) == pytest.approx(1)
    assert sum(row.tasks for row in found.operators) == len(found.tasks) == len(chain_program().tasks)
    assert found.total_us == pytest.approx(listed + 350)
    assert found.starts_us == 30 * len(found.tasks)
    low, high = found.range_us
    assert low < found.total_us < high


def test_five_times_the_clock_takes_a_fifth_of_the_npu_time_only() -> None:
    slow, fast = estimated(Conditions(clock_mhz=200)), estimated(Conditions(clock_mhz=1000))
    assert slow.npu_us == pytest.approx(5 * fast.npu_us)
    assert slow.starts_us == fast.starts_us


def test_busy_cores_share_the_memory_only_where_it_is_short() -> None:
    alone, three = (estimated(Conditions("vendor", cores=cores)) for cores in (1, 3))
    assert alone.npu_us < three.npu_us <= 3 * alone.npu_us
    slow = [estimated(Conditions("vendor", clock_mhz=198, cores=cores)).npu_us for cores in (1, 3)]
    assert slow[0] == pytest.approx(slow[1])


def test_levers_are_the_estimates_that_they_promise() -> None:
    found = estimated()
    by_name = {lever.name: lever for lever in found.levers}
    faster = estimated(Conditions(clock_mhz=800))
    assert by_name["NPU at 800 MHz"].total_us == pytest.approx(faster.total_us)
    assert by_name["NPU at 800 MHz"].gain_us == pytest.approx(found.total_us - faster.total_us)
    chained = estimated(Conditions(start_us=1.0))
    assert by_name["tasks chained by hardware"].total_us == pytest.approx(chained.total_us)
    assert "tasks chained by hardware" not in {lever.name for lever in estimated(Conditions("vendor")).levers}


def test_rules_that_change_the_price_are_a_lever() -> None:
    found = estimate_model(tflite.load(SMALL), Conditions(), "rk3588", allow_unproven=False)
    assert found.levers[-1].name == "all hardware rules"
    other = estimate_model(tflite.load(SMALL), Conditions(), "rk3588", allow_unproven=True)
    assert found.levers[-1].total_us == pytest.approx(other.total_us)


def test_all_cores_on_one_inference_are_a_lever(mobilenet_v1: Path) -> None:
    graph, name = tflite.load(mobilenet_v1), "one inference on all 3 cores"
    found = estimate_model(graph, Conditions(), "rk3588", allow_unproven=False)
    (lever,) = (lever for lever in found.levers if lever.name == name)
    assert lever.total_us + lever.gain_us == pytest.approx(found.total_us)
    assert found.total_us / 3 < lever.total_us < found.total_us / 1.5
    busy = estimate_model(graph, Conditions(cores=3), "rk3588", allow_unproven=False)
    assert name not in {lever.name for lever in busy.levers}, "the other cores have work of their own"
    small = estimate_model(tflite.load(SMALL), Conditions(), "rk3588", allow_unproven=False)
    assert name not in {lever.name for lever in small.levers}, "a barrier costs more than the layer"


def test_a_chip_without_a_timing_model_says_so() -> None:
    class Unknown:
        title = "Some NPU"

    with pytest.raises(UnsupportedError, match="no timing model of the Some NPU"):
        Family.timed(Unknown(), chain_program(), Conditions())  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="no timing model of the Some NPU"):
        Family.board(Unknown(), Conditions())  # type: ignore[arg-type]


def test_a_slow_npu_is_compared_with_the_processor(shared: Path) -> None:
    """EfficientNet-Lite0 by proven rules at 198 MHz: the big cores are quicker; by all rules at 1 GHz they are not."""
    graph = tflite.load(shared / "models" / "efficientnet_lite0_litert_quantizer_int8.tflite")
    slow, fast = (
        next(
            lever
            for lever in estimate_model(graph, Conditions(clock_mhz=mhz), "rk3588", allow_unproven=mhz > 198).levers
            if "CPU" in lever.name
        )
        for mhz in (198, 1000)
    )
    assert slow.total_us == pytest.approx(13_007, rel=0.1)
    assert slow.gain_us > 0
    assert "faster than the NPU" in slow.note
    assert fast.gain_us < 0


def test_the_processor_is_slower_with_the_older_kind_of_model() -> None:
    graph = tflite.load(SMALL)
    assert cpu_us(graph, [569_000_000]) == pytest.approx(68_027)
    assert cpu_us(graph, []) == 0


def assert_trace(document: Any) -> dict[int, float]:
    """Hold a document against the format: an array of events, complete ones with times; return each track's length."""
    assert set(document) == {"traceEvents", "displayTimeUnit"}
    ends: dict[int, float] = {}
    for event in document["traceEvents"]:
        assert {"name", "ph", "pid", "tid", "args"} <= set(event)
        assert event["ph"] in ("X", "M")
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
            continue
        assert event["ts"] >= 0
        assert event["dur"] >= 0
        ends[event["tid"]] = max(ends.get(event["tid"], 0.0), event["ts"] + event["dur"])
    return ends


def test_the_trace_ends_when_the_inference_does() -> None:
    found = estimated(Conditions("vendor", cores=3))
    document = json.loads(json.dumps(trace(found)))
    ends = assert_trace(document)
    assert ends[0] == pytest.approx(found.total_us, abs=0.01)
    assert set(ends) == {0, 1, 2, 3}
    tasks = [event for event in document["traceEvents"] if event["tid"] == 1 and "bound by" in event["args"]]
    assert [event["name"] for event in tasks] == [task.label for task in found.tasks]
    assert all(one["ts"] + one["dur"] <= two["ts"] + 0.01 for one, two in pairwise(tasks))


class Counter(HTMLParser):
    """Counts elements, and refuses what would be fetched from elsewhere, or tags that do not match."""

    VOID = ("meta", "line", "path", "circle", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img")
        assert not {"src", "href"} & {name for name, _ in attrs}
        self.seen[tag] = self.seen.get(tag, 0) + 1
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_by_itself() -> None:
    found = estimated()
    text = page(found)
    counter = Counter()
    counter.feed(text)
    assert counter.open == []
    assert counter.seen["svg"] == 3
    assert counter.seen["circle"] == len(found.operators)
    assert f"{found.total_us / 1e3:.2f} ms" in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert not re.search(r"https?://", text)


def test_names_are_escaped_in_the_page() -> None:
    found = estimated()
    hostile = Estimate("<script>x", found.chip, found.board, found.parts, found.cpu, found.spread)
    assert "<script>" not in page(hostile)


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, html, events = tmp_path / "chain.rktprog", tmp_path / "page.html", tmp_path / "trace.json"
    store.save(chain_program(), program)
    assert main.run(["estimate", "-m", str(program), "--html", str(html), "--trace", str(events)]) == 0
    printed = capsys.readouterr().out
    assert "ms estimated for rk3588, mainline kernel, NPU at 198 MHz" in printed
    assert "eight of ten estimates are within" in printed
    assert html.read_text("utf-8").startswith("<!doctype html>")
    assert_trace(json.loads(events.read_text("utf-8")))


@pytest.mark.parametrize("name", ["conv_conv_add_u8.tflite", "conv_conv_add_u8.zip"])
def test_models_and_recordings_are_estimated_as_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["estimate", "-m", str(GOLDEN / name), "--target", "vendor", "--clock", "600", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["board"]["clock_mhz"] == 600
    assert found["total_us"] == pytest.approx(found["npu_us"] + found["starts_us"] + found["host_us"])
    assert sum(task["busy_us"] for task in found["tasks"]) == pytest.approx(found["npu_us"])
    assert found["operators"]


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "missing" / "page.html"
    assert main.run(["estimate", "-m", str(SMALL), "--html", str(place)]) == 2
    assert "there is no folder" in capsys.readouterr().err
