"""Programs on the unmodified rocket driver, and what becomes of broken jobs. Heavy as ``test_board_networks.py``."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from board_run import Run, heavy

pytestmark = heavy
CASES = ("doctor", "selftest", "two", "three", "permission", "hang", "readfault", "writefault", "clock")
"""What is broken on purpose comes last."""
BUGS = ("WARNING: ", "BUG: ", "Oops", "Internal error", "use-after-free", "Unable to handle", "not clean", "Call trace")
"""What a sound kernel never says, whatever a job does."""


def test_the_doctor_finds_the_drivers_node(counted: Run) -> None:
    output = counted.check("doctor")
    assert re.search(r"good +module +rocket is loaded", output)
    assert re.search(r"good +node +/dev/accel/accel0, driver rocket", output)
    assert re.search(r"good +IOMMU +3 NPU devices behind it", output)
    assert "An NPU can be used." in output


def test_every_network_of_the_selftest_is_equal(counted: Run) -> None:
    assert "6 of 6 networks give the simulator's bytes on the device rocket" in counted.check("selftest")


def test_two_processes_do_not_disturb_each_other(counted: Run) -> None:
    assert counted.check("two").count("10 inferences, 0 wrong") == 2


def test_three_descriptors_are_right(counted: Run) -> None:
    assert counted.check("three").count("9 of 9 equal") == 3


def test_without_permission_it_says_so_and_touches_nothing(counted: Run) -> None:
    output = counted.check("permission")
    assert "doctor: 1" in output
    assert "selftest: 2" in output
    assert "ermission" in output
    assert "6 of 6 networks" in output, "with permission, an ordinary user needs nothing more"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hang", ["NPU job timed out"]),
        ("readfault", ["Page fault at 0x00000000d0000000 of type read", "NPU job timed out"]),
        ("writefault", ["Page fault at 0x00000000e0000000 of type write", "NPU job timed out"]),
        ("clock", ["NPU job timed out"]),
    ],
)
def test_a_broken_job_is_found_and_the_next_is_right(counted: Run, name: str, said: list[str]) -> None:
    run = counted
    assert run.status(name) == 0, run.output(name)
    assert "JobFailedError: task 2 of 4, corrupted 2" in run.output(name)
    found = run.complaints(name)
    for line in said:
        assert any(line in other for other in found), found
    assert not [line for line in found if any(bug in line for bug in BUGS)]


def test_nothing_else_hung_or_faulted(counted: Run) -> None:
    assert counted.outcome.status == 0
    assert not [verdict for verdict in counted.verdicts if verdict.defects]
    outcomes = Counter(verdict.outcome for verdict in counted.verdicts)
    assert (outcomes["hang"], outcomes["fault"]) == (2, 2), "once for each of two cases of either kind"
