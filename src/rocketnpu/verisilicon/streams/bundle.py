"""A submission of ours in the form of a recording, so that ``rocketnpu replay`` runs it: see :mod:`.recording`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rocketnpu.device.base import DeviceJob
from rocketnpu.verisilicon.drivers.etnaviv_stream import MODES, stream_of
from rocketnpu.verisilicon.registers.instruction import Words
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.streams.recording import FORMAT

_WORD = 8
"""Bytes of a task's word."""
_READ, _WRITTEN = 1, 2
_KEPT = ("handle", "address", "size", "file")


def describe(
    soc: Soc,
    jobs: Sequence[DeviceJob],
    buffers: Sequence[Mapping[str, Any]],
    fetch: Callable[[int, int], bytes | None],
) -> dict[str, Any]:
    """Return format, chip and submissions; the first sets the NPU's modes.

    Args:
        soc: the chip.
        jobs: what was submitted, a submission each.
        buffers: as :meth:`rocketnpu.family.Family.recording` gets them.
        fetch: reads the buffers.
    """
    known = {buffer["handle"]: buffer for buffer in buffers}
    submissions = [{"buffers": [], "stream": MODES.tolist()}]
    submissions += [
        {"buffers": list(_listed(job, known)), "stream": stream_of(_tasks(job, fetch)).tolist()} for job in jobs
    ]
    identity = soc.identity
    chip = {
        "model": identity.model,
        "revision": identity.revision,
        "product_id": identity.product,
        "customer_id": identity.customer,
        "eco_id": identity.eco,
    }
    return {"format": FORMAT, "chip": chip, "submits": submissions}


def _listed(job: DeviceJob, known: Mapping[int, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    access = {buffer.handle: _READ for buffer in job.reads}
    access |= {buffer.handle: _READ | _WRITTEN for buffer in job.writes}
    for handle, kind in access.items():
        yield {key: known[handle][key] for key in _KEPT if key in known[handle]} | {"access": kind}


def _tasks(job: DeviceJob, fetch: Callable[[int, int], bytes | None]) -> Iterator[Words]:
    for task in job.tasks:
        data = fetch(task.address, task.words * _WORD)
        if data is not None:
            yield np.frombuffer(data, "<u4")
