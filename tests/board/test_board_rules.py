"""The hardware rules, asked through the unmodified driver. Heavy as ``test_board_networks.py``."""

from __future__ import annotations

import re

from board_run import Run, heavy

pytestmark = heavy
CASES = ("rules",)


def test_every_rule_that_cannot_hang_is_proven(counted: Run) -> None:
    output = counted.check("rules")
    found = re.search(r"(\d+) rules in \d+ programs: (\d+) proven, (\d+) not run$", output, re.M)
    assert found is not None, output
    rules, proven, not_run = map(int, found.groups())
    assert rules == proven + not_run
    assert proven >= 17
    assert not [verdict for verdict in counted.verdicts if verdict.outcome != "done"]
