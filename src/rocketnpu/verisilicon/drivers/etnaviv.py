"""The kernel driver ``etnaviv``: a render node, ``/dev/dri/renderD128`` and up, which most often is a GPU's.

User space chooses addresses: each open file has an address space of its own, in which this device places buffers, and
a submission names every buffer that it reaches with its address. One submission runs all jobs of a program, task after
task on the whole NPU.

The kernel reports no failed job: a job that makes no progress for half a second is dropped and its fence signalled like
any other's. Who submits must mark the output beforehand and look afterwards, as :mod:`rocketnpu.device.executor` does.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rocketnpu.address_space import LIMIT, PAGE, AddressSpace
from rocketnpu.device import uapi
from rocketnpu.device.base import Buffer, DeviceJob
from rocketnpu.device.calls import Calls
from rocketnpu.device.kernel import KernelDevice, Owned
from rocketnpu.device.mapping import Mapping
from rocketnpu.errors import DeviceError
from rocketnpu.verisilicon.drivers import etnaviv_uapi as kernel
from rocketnpu.verisilicon.drivers.check import check_task
from rocketnpu.verisilicon.drivers.etnaviv_chip import parameter, pipe_of, refusal_of
from rocketnpu.verisilicon.drivers.etnaviv_stream import MODES, stream_of
from rocketnpu.verisilicon.registers.instruction import Words
from rocketnpu.verisilicon.soc import Soc

_NO_SOFTPIN = (1 << 64) - 1
"""What a driver answers that chooses addresses itself."""
_LONGEST_WAIT = 1e9
"""Seconds; a deadline is a signed 64-bit number of seconds and must not overflow."""
_CLOSING_TIMEOUT = 5.0
"""Seconds to wait for running jobs when closing; the kernel itself drops each after 0.5 without progress."""
_FORGETS_AFTER = 0.1
"""Seconds since the last submission after which the modes are set anew: the kernel switches the NPU off 0.2 s after its
last job (autosuspend in etnaviv_gpu.c), and resets it when it drops one, which takes longer than this."""
_KEPT = 8
"""Lists of jobs that stay prepared."""
_BOTH = kernel.SUBMIT_BO_READ | kernel.SUBMIT_BO_WRITE


@dataclass(eq=False)
class _Prepared:
    """Jobs as the kernel reads them; streams and array live as long as this object."""

    jobs: tuple[DeviceJob, ...]
    requests: list[kernel.Submit]
    """One, unless there are more commands than the kernel takes at once."""
    keep: list[object]
    writes: tuple[Owned, ...]
    sources: frozenset[int]
    """Handles of the buffers from which streams were copied."""


class EtnavivDevice(KernelDevice):
    """A :class:`~rocketnpu.device.base.Device` on the etnaviv driver. Works from any thread, one call at a time.

    Args:
        soc: the chip that is looked for.
        path: device node; the first that has such a chip where not given.
        calls: stands in for the kernel in tests.
    """

    name = kernel.DRIVER
    nodes: ClassVar[tuple[str, ...]] = tuple(f"/dev/dri/renderD{number}" for number in range(128, 192))

    def __init__(self, soc: Soc, path: str = "", calls: Calls | None = None) -> None:
        """Open the node.

        Raises:
            DeviceError: no such node, no permission, another driver, another chip, or a kernel that is too old.
        """
        self.chip = soc.name
        self._prepared: list[_Prepared] = []
        """The last few lists of jobs, the latest first: a network's parts take turns."""
        self._held: set[int] = set()
        """Handles of buffers that the CPU may touch."""
        self._fence, self._pending, self._last = 0, False, float("-inf")
        super().__init__(path, calls, refusal_of(soc))
        try:
            self.pipe, self._space = self._look_around(soc)
        except BaseException:
            self.close()
            raise

    def _look_around(self, soc: Soc) -> tuple[int, AddressSpace]:
        """Return the NPU's pipe, and the addresses that buffers may have."""
        try:
            pipe = pipe_of(self._calls, self._fd, soc)
            start = parameter(self._calls, self._fd, pipe or 0, kernel.PARAM_SOFTPIN_START)
        except OSError as error:
            raise self._error(error, "ask which chip this is") from None
        if pipe is None:
            raise DeviceError(f"{self.name} ({self.path}): it no longer says that it is the {soc.title}'s NPU")
        if start == _NO_SOFTPIN:
            raise DeviceError(
                f"{self.name} ({self.path}): the kernel wants to choose addresses itself (no soft pinning), which no "
                "driver for this NPU uses; a newer kernel is needed"
            )
        if start % PAGE or start >= LIMIT:
            raise DeviceError(f"{self.name} ({self.path}): addresses from 0x{start:x} on are none of this NPU's")
        return pipe, AddressSpace(start=start)

    # -- memory

    def allocate(self, size: int) -> Buffer:
        """Allocate zero-filled memory; see :class:`~rocketnpu.device.base.Device`."""
        self._alive()
        if not 0 < size < LIMIT:
            raise DeviceError(f"{self.name}: a buffer has 1..{LIMIT - 1} bytes, {size} were asked for")
        address = self._space.insert(-(-size // PAGE) * PAGE)
        if address is None:
            raise DeviceError(
                f"{self.name} ({self.path}): no {size} of the 4 GiB of addresses of one open file are free"
            )
        try:
            owned = self._create(size, address)
        except BaseException:
            self._space.remove(address)
            raise
        return owned.buffer

    def _create(self, size: int, address: int) -> Owned:
        made = kernel.GemNew(size=size, flags=kernel.BO_WRITE_COMBINED)
        self._ioctl(kernel.GEM_NEW, made, f"allocate {size} bytes")
        if not made.handle or made.handle in self._owned:
            raise DeviceError(
                f"{self.name} ({self.path}): the kernel gave buffer {made.handle}, which is none or in use"
            )
        try:
            place = kernel.GemInfo(handle=made.handle)
            self._ioctl(kernel.GEM_INFO, place, f"map {size} bytes")
            try:
                mapping = Mapping(self._calls, self._fd, place.offset, size)
            except OSError as error:
                raise self._error(error, f"map {size} bytes") from None
            self._take(made.handle, _CLOSING_TIMEOUT)
        except BaseException:
            self._ioctl(uapi.GEM_CLOSE, uapi.GemClose(handle=made.handle), "free a buffer")
            raise
        owned = self._owned[made.handle] = Owned(Buffer(made.handle, address, size), mapping)
        return owned

    def _release(self, owned: Owned) -> None:
        self._held.discard(owned.buffer.handle)
        self._space.remove(owned.buffer.address)
        self._ioctl(uapi.GEM_CLOSE, uapi.GemClose(handle=owned.buffer.handle), "free a buffer")

    def sync_for_device(self, buffer: Buffer) -> None:
        """Hand the buffer over (CPU_FINI). One that was filled again without having been waited for is taken first."""
        self._own(buffer)
        if buffer.handle not in self._held:
            self._take(buffer.handle, _CLOSING_TIMEOUT)
        self._held.discard(buffer.handle)
        self._prepared = [one for one in self._prepared if buffer.handle not in one.sources]
        self._ioctl(kernel.CPU_FINI, kernel.CpuFini(handle=buffer.handle), "hand a buffer to the device")

    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        """Wait for the last submission, if it writes the buffer, and for the buffer itself (WAIT_FENCE, CPU_PREP)."""
        owned = self._own(buffer)
        if owned.busy:
            self._wait(timeout)
        self._take(buffer.handle, timeout)
        owned.busy = False

    def _take(self, handle: int, timeout: float) -> None:
        request = kernel.CpuPrep(handle=handle, op=kernel.PREP_READ | kernel.PREP_WRITE, timeout=_deadline(timeout))
        self._ioctl(kernel.CPU_PREP, request, f"wait {timeout:g} s for a buffer")
        self._held.add(handle)

    # -- jobs

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        """Check the jobs, at their first submission, and queue them as one.

        Raises:
            DeviceError: a stream breaks a rule of :mod:`rocketnpu.verisilicon.drivers.check`, or a buffer is not ours.
        """
        self._alive()
        wanted = tuple(jobs)
        if not wanted:
            return
        prepared = next((one for one in self._prepared if one.jobs == wanted), None) or self._prepare(wanted)
        self._prepared = [prepared, *(one for one in self._prepared if one is not prepared)][:_KEPT]
        if time.monotonic() - self._last > _FORGETS_AFTER:
            self._send(self._request(MODES), "set the NPU's modes")
        for request in prepared.requests:
            self._send(request, f"submit {len(wanted)} jobs")
        for owned in prepared.writes:
            owned.busy = True

    def _send(self, request: kernel.Submit, action: str) -> None:
        self._ioctl(kernel.SUBMIT, request, action)
        self._fence, self._pending, self._last = int(request.fence), True, time.monotonic()

    def _prepare(self, jobs: tuple[DeviceJob, ...]) -> _Prepared:
        for job in jobs:
            self._check(job)
        tasks = [task for job in jobs for task in job.tasks]
        writes = {buffer.handle: self._own(buffer) for job in jobs for buffer in job.writes}
        listed = {buffer.handle: self._own(buffer) for job in jobs for buffer in job.reads} | writes
        # A handle that is named twice is refused, so each has one entry.
        entries = (kernel.SubmitBo * len(listed))(
            *(
                kernel.SubmitBo(_BOTH if handle in writes else kernel.SUBMIT_BO_READ, handle, owned.buffer.address)
                for handle, owned in listed.items()
            )
        )
        streams = [stream_of(chunk) for chunk in _chunks([self.words(task).view("<u4") for task in tasks])]
        requests = [self._request(stream) for stream in streams]
        for request in requests:
            request.bos, request.bo_count = ctypes.addressof(entries), len(listed)
        found = (self._at(task.address, 1) for task in tasks)
        sources = frozenset(owned.buffer.handle for owned in found if owned is not None)
        return _Prepared(jobs, requests, [entries, *streams], tuple(writes.values()), sources)

    def _check(self, job: DeviceJob) -> None:
        if not job.tasks:
            raise DeviceError(f"{self.name}: a job has no task")
        written = [self._own(buffer).buffer for buffer in job.writes]
        listed = [*written, *(self._own(buffer).buffer for buffer in job.reads)]
        for task in job.tasks:
            place = f"{self.name}: task at 0x{task.address:x} ({task.words} words)"
            check_task(self.words(task).view("<u4"), place, listed, written, self._fetch)

    def _request(self, stream: Words) -> kernel.Submit:
        return kernel.Submit(
            pipe=self.pipe,
            stream=stream.ctypes.data,
            stream_size=stream.nbytes,
            flags=kernel.SUBMIT_SOFTPIN,
            fence_fd=-1,
        )

    def _fetch(self, address: int, size: int) -> bytes:
        owned = self._at(address, size)
        assert owned is not None, "only memory inside the device's buffers is asked for"
        offset = address - owned.buffer.address
        return bytes(owned.mapping.view[offset : offset + size])

    def _wait(self, timeout: float) -> None:
        """Wait for the last submission, and so for all: they run in their order."""
        if self._pending:
            request = kernel.WaitFence(pipe=self.pipe, fence=self._fence, timeout=_deadline(timeout))
            self._ioctl(kernel.WAIT_FENCE, request, f"wait {timeout:g} s for a submission")
            self._pending = False

    def _settle(self) -> None:
        self._wait(_CLOSING_TIMEOUT)

    def _forget_jobs(self) -> None:
        self._prepared = []


def _chunks(parts: Sequence[Words]) -> Iterator[list[Words]]:
    """Share tasks out to submissions of the size that the kernel takes."""
    room = kernel.MAX_STREAM - stream_of([]).nbytes
    chunk: list[Words] = []
    used = 0
    for part in parts:
        if chunk and used + part.nbytes > room:
            yield chunk
            chunk, used = [], 0
        chunk.append(part)
        used += part.nbytes
    yield chunk


def _deadline(timeout: float) -> kernel.Timespec:
    """Return a time of the monotonic clock, so many seconds from now."""
    end = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(min(timeout, _LONGEST_WAIT) * 1e9)
    return kernel.Timespec(*divmod(end, 1_000_000_000))
