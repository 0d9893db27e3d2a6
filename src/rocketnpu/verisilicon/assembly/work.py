"""What each operator of a part becomes, counted for people."""

from __future__ import annotations

from collections import Counter

from rocketnpu.inspect.work import OperatorWork, PartWork
from rocketnpu.verisilicon.emission.nn import coefficients
from rocketnpu.verisilicon.lowering.lowering import Lowered
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.tasks.task import Convolution


def part_work(lowered: Lowered, soc: Soc) -> PartWork:
    """Count jobs and coefficients of each operator; nobody published the times of this chip's jobs."""
    jobs: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for task in lowered.tasks:
        jobs[task.operator] += 1
        if isinstance(task, Convolution):
            sizes[task.operator] += len(coefficients(task, soc))
    rules = frozenset(rule for task in lowered.tasks for rule in task.rules)
    return PartWork({number: OperatorWork(count, "", sizes[number]) for number, count in jobs.items()}, rules)
