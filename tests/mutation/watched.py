"""A pytest plugin of ``mutants.py``: says which test runs which line, and runs chosen tests in a chosen order.

MUTANTS_TIMES names the file that receives each test's seconds; while they are measured, coverage's context is the test.
MUTANTS_CHOSEN names a file of ``seconds node`` lines: only these tests run, in this order, each with a time limit.
"""

from __future__ import annotations

import faulthandler
import json
import os
import time
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

TIMES, CHOSEN = os.environ.get("MUTANTS_TIMES"), os.environ.get("MUTANTS_CHOSEN")
LEAST_LIMIT, SLOWER = 60, 20
"""Seconds that a test may always take, and how many times longer than before."""
COLLECTING = 300

_times: dict[str, list[float | str]] = {}
_limits: dict[str, float] = {}


def pytest_configure() -> None:
    if TIMES:
        os.environ["COVERAGE_PROCESS_START"] = os.environ["MUTANTS_CHILDREN"]
    if CHOSEN:
        for line in Path(CHOSEN).read_text().splitlines():
            seconds, _, node = line.partition(" ")
            _limits[node] = LEAST_LIMIT + SLOWER * float(seconds)
        faulthandler.dump_traceback_later(COLLECTING, exit=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if CHOSEN:
        order = {node: number for number, node in enumerate(_limits)}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in order])
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if CHOSEN:
        faulthandler.dump_traceback_later(_limits[item.nodeid], exit=True)
    measuring = coverage.Coverage.current() if TIMES else None
    if measuring is not None:
        measuring.switch_context(item.nodeid)
        os.environ["MUTANTS_CONTEXT"] = item.nodeid  # of children: see _settings() in mutants.py
    began = time.perf_counter()
    try:
        return (yield)
    finally:
        _times.setdefault(item.nodeid, [0.0, "passed"])[0] = time.perf_counter() - began
        if measuring is not None:
            measuring.switch_context("")
            os.environ["MUTANTS_CONTEXT"] = ""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.outcome != "passed":
        _times.setdefault(report.nodeid, [0.0, ""])[1] = report.outcome


def pytest_sessionfinish() -> None:
    if CHOSEN:
        faulthandler.cancel_dump_traceback_later()
    if TIMES:
        Path(TIMES).write_text(json.dumps(_times, indent=0))
