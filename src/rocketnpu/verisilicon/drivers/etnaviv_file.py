"""One open file of the emulated etnaviv driver: soft pinning, submissions, fences.

Every ioctl is a method that returns the changed argument or raises OSError with the kernel's number. What each checks,
and in which order, restates etnaviv_drv.c, etnaviv_gem.c, etnaviv_gem_submit.c and etnaviv_mmu.c of Linux. A stream is
not looked at before it runs: with the second MMU version, which these chips have, the kernel does not either. A job
that fails is dropped after the time-out, and its fence signalled without an error. Not emulated, and refused with
EINVAL: fences as files, performance counters, buffers in user memory.
"""

from __future__ import annotations

import ctypes
import errno
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from rocketnpu.emulator.buffers import BufferObject
from rocketnpu.emulator.drm_file import DrmFile, Limits, Note
from rocketnpu.emulator.jobs import CorePool, QueuedJob, TaskHangError
from rocketnpu.emulator.wire import Store
from rocketnpu.memory import Memory
from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi
from rocketnpu.verisilicon.drivers.etnaviv_space import CommandSpace, Room
from rocketnpu.verisilicon.registers.instruction import Words
from rocketnpu.verisilicon.soc import Identity

NOWHERE = -1
"""Address of a buffer that no submission has placed yet."""
PATIENT, PATIENCE = 1_000_000_000, 120_000_000_000
"""Nanoseconds: a wait of a second or more may last two minutes longer. User space waits five seconds for a real NPU,
which needs milliseconds, and takes no notice when that is not enough; a simulated one on a busy machine needs more."""
_LIMITS = dict(zip(uapi.PARAM_LIMITS, (8, 64, 256, 16, 1, 1, 1024, 0, 512, 320, 16), strict=True))
"""Limits of a shader core, which an NPU does not have: numbers that user space accepts."""
_FLAGS = uapi.SUBMIT_NO_IMPLICIT | uapi.SUBMIT_FENCE_IN | uapi.SUBMIT_FENCE_OUT | uapi.SUBMIT_SOFTPIN
_SLEEPING = (0x44, 0x46, 0x47, 0x49)


class StreamCore(Protocol):
    """An NPU that runs front-end streams."""

    def begin(self, memory: Memory) -> None:
        """Start a job on this address space."""

    def run_stream(self, stream: Words) -> None:
        """Run one stream.

        Raises:
            RocketError: the silicon would hang, fault, or do what nobody knows.
        """


@dataclass(eq=False)
class StreamJob(QueuedJob):
    """A submission that waits, runs or is done."""

    stream: Words | None = None
    fence: int = 0
    room: Room = (0, 0)
    """Of its stream in the kernel's memory."""

    def execute(self, core: StreamCore) -> None:
        """Run it.

        Raises:
            TaskHangError: it did not complete.
        """
        assert self.stream is not None
        try:
            core.run_stream(self.stream)
        except Exception as error:
            raise TaskHangError(f"submission {self.fence} of {self.stream.size} words: {error}") from error


class EtnavivFile(DrmFile):
    """State behind one open of the node. Safe to be called from several threads."""

    arguments: ClassVar[Mapping[int, type[ctypes.Structure]]] = {
        0x40: uapi.GetParam,
        0x42: uapi.GemNew,
        0x43: uapi.GemInfo,
        0x44: uapi.CpuPrep,
        0x45: uapi.CpuFini,
        0x46: uapi.Submit,
        0x47: uapi.WaitFence,
        0x49: uapi.GemWait,
    }

    def __init__(
        self,
        identity: Identity,
        space: CommandSpace,
        pool: CorePool,
        limits: Limits,
        observe: Callable[[DrmFile, QueuedJob], None],
    ) -> None:
        """Start with no buffer, on a chip that says that it is ``identity``; all its files share ``space``."""
        super().__init__(pool, limits, observe)
        self._identity, self._space = identity, space
        self._fence = 0
        self._placed: dict[int, BufferObject] = {}
        """Buffers by the addresses that they have."""

    def call(self, argument: Any, payload: Callable[[], bytes], note: Note) -> None:
        """Do one of the driver's ioctls."""
        calls: dict[type, Callable[[Any], object]] = {
            uapi.GetParam: self._get_param,
            uapi.GemNew: self._gem_new,
            uapi.GemInfo: self._gem_info,
            uapi.CpuPrep: self._cpu_prep,
            uapi.CpuFini: self._cpu_fini,
            uapi.WaitFence: self._wait_fence,
            uapi.GemWait: self._gem_wait,
        }
        if isinstance(argument, uapi.Submit):
            self._submit(argument, payload(), note)
        else:
            calls[type(argument)](argument)

    def may_sleep(self, nr: int, store: Store) -> bool:
        """Say whether an ioctl has to wait for a job."""
        del store
        with self._queue.lock:
            return nr in _SLEEPING and bool(self._pending)

    # -- the chip

    def _get_param(self, argument: uapi.GetParam) -> None:
        _check_pipe(argument.pipe)
        identity = self._identity
        known = {
            uapi.PARAM_MODEL: identity.model,
            uapi.PARAM_REVISION: identity.revision,
            uapi.PARAM_PRODUCT: identity.product,
            uapi.PARAM_CUSTOMER: identity.customer,
            uapi.PARAM_ECO: identity.eco,
            uapi.PARAM_SOFTPIN_START: uapi.SOFTPIN_START,
            # User space reads features from a table of its own, by the identity (facts 1).
            **dict.fromkeys(uapi.PARAM_FEATURES, 0),
            **_LIMITS,
        }
        if argument.param not in known:
            raise OSError(errno.EINVAL, "no such parameter")
        argument.value = known[argument.param]

    # -- buffers

    def _gem_new(self, argument: uapi.GemNew) -> None:
        modes = sum(uapi.CACHE_MODES)
        if argument.flags & ~(modes | uapi.BO_FORCE_MMU) or argument.flags & modes not in uapi.CACHE_MODES:
            raise OSError(errno.EINVAL, "no cache mode, or several")
        with self._queue.lock:
            argument.handle, _ = self._add(argument.size, NOWHERE)

    def _gem_info(self, argument: uapi.GemInfo) -> None:
        if argument.pad:
            raise OSError(errno.EINVAL, "pad is not 0")
        with self._queue.lock:
            argument.offset = self._lookup(argument.handle).offset

    def _cpu_prep(self, argument: uapi.CpuPrep) -> None:
        if argument.op & ~(uapi.PREP_READ | uapi.PREP_WRITE | uapi.PREP_NOSYNC):
            raise OSError(errno.EINVAL, "no such operation")
        with self._queue.lock:
            buffer = self._lookup(argument.handle)
            fences = [job for job in self._pending if buffer in job.writes]
            if argument.op & uapi.PREP_WRITE:
                fences += [job for job in self._pending if buffer in job.reads]
            if argument.op & uapi.PREP_NOSYNC:
                if fences:
                    raise OSError(errno.EBUSY, "jobs are still running")
                return
            self._wait_until(fences, argument.timeout)

    def _cpu_fini(self, argument: uapi.CpuFini) -> None:
        if argument.flags:
            raise OSError(errno.EINVAL, "flags are not 0")
        with self._queue.lock:
            self._lookup(argument.handle)

    def _discard(self, buffer: BufferObject) -> None:
        if buffer.address != NOWHERE:
            self.memory.unmap(buffer.address)
            del self._placed[buffer.address]

    # -- waiting

    def _wait_fence(self, argument: uapi.WaitFence) -> None:
        with self._queue.lock:
            # A fence that is not known is one that has been signalled and forgotten.
            fences = [job for job in self._stream_jobs() if job.fence == argument.fence]
            self._wait_for(fences, argument)

    def _gem_wait(self, argument: uapi.GemWait) -> None:
        if argument.flags & ~uapi.WAIT_NONBLOCK:
            raise OSError(errno.EINVAL, "no such flag")
        _check_pipe(argument.pipe)
        with self._queue.lock:
            buffer = self._lookup(argument.handle)
            self._wait_for([job for job in self._pending if buffer in (*job.reads, *job.writes)], argument)

    def _wait_for(self, fences: list[Any], argument: uapi.WaitFence | uapi.GemWait) -> None:
        if argument.flags & ~uapi.WAIT_NONBLOCK:
            raise OSError(errno.EINVAL, "no such flag")
        _check_pipe(argument.pipe)
        if argument.flags & uapi.WAIT_NONBLOCK:
            if fences:
                raise OSError(errno.EBUSY, "jobs are still running")
            return
        self._wait_until(fences, argument.timeout)

    def _wait_until(self, fences: list[QueuedJob], timeout: uapi.Timespec) -> None:
        if not fences:
            return
        deadline = timeout.seconds * 1_000_000_000 + timeout.nanoseconds
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if deadline - now >= PATIENT:
            deadline += PATIENCE
        try:
            self._wait(fences, deadline)
        except OSError as error:
            # A deadline that has passed is no special case here.
            busy = error.errno == errno.EBUSY and deadline <= now
            raise OSError(errno.ETIMEDOUT, "jobs are still running") if busy else error from None

    def _stream_jobs(self) -> Iterator[StreamJob]:
        return (job for job in self._pending if isinstance(job, StreamJob))

    # -- jobs

    def _submit(self, argument: uapi.Submit, payload: bytes, note: Note) -> None:
        _check_submit(argument)
        try:
            bos, relocs, stream = _parts(argument, payload)
        except ValueError as problem:
            raise OSError(errno.EFAULT, str(problem)) from None
        if argument.flags & (uapi.SUBMIT_FENCE_IN | uapi.SUBMIT_FENCE_OUT) or argument.pmr_count:
            raise OSError(errno.EINVAL, "fences as files and performance counters are not emulated")
        room = self._space.take(argument.stream_size)
        try:
            with self._queue.lock:
                self._enqueue(argument, bos, relocs, stream, room)
        except BaseException:
            self._space.give_back(room)
            raise
        if argument.exec_state:
            note(f"submission {argument.fence} begins in state {argument.exec_state}: it makes no difference here")

    def _enqueue(
        self, argument: uapi.Submit, bos: list[uapi.SubmitBo], relocs: list[uapi.Reloc], stream: bytes, room: Room
    ) -> None:
        if self._closed:
            raise OSError(errno.ENODEV, "the node is gone")
        softpin = bool(argument.flags & uapi.SUBMIT_SOFTPIN)
        buffers = [self._submitted(bo, softpin) for bo in bos]
        pinned: set[BufferObject] = set()
        low = uapi.SOFTPIN_START
        for buffer, bo in zip(buffers, bos, strict=True):
            address = bo.presumed if softpin else self._free_address(buffer, low)
            self._place(buffer, address, pinned)
            pinned.add(buffer)
            low = max(low, buffer.address + buffer.mapped_size)
        words = _relocated(stream, relocs, buffers, softpin)
        if len(pinned) < len(buffers):
            raise OSError(errno.EALREADY, "a buffer is listed twice")
        writes = [bool(bo.flags & uapi.SUBMIT_BO_WRITE) for bo in bos]
        job = StreamJob(
            (),
            tuple(buffer for buffer, written in zip(buffers, writes, strict=True) if not written),
            tuple(buffer for buffer, written in zip(buffers, writes, strict=True) if written),
            size=len(stream) + len(bos) * ctypes.sizeof(uapi.SubmitBo),
            stream=words,
            fence=self._fence + 1,
            room=room,
        )
        self._push(job)
        self._fence += 1
        argument.fence, argument.fence_fd = self._fence, -1

    def _retire(self, job: QueuedJob) -> None:
        super()._retire(job)
        if isinstance(job, StreamJob):
            self._space.give_back(job.room)

    def _submitted(self, bo: uapi.SubmitBo, softpin: bool) -> BufferObject:
        if bo.flags & ~(uapi.SUBMIT_BO_READ | uapi.SUBMIT_BO_WRITE):
            raise OSError(errno.EINVAL, "no such flag of a buffer")
        if softpin and bo.presumed < uapi.SOFTPIN_START:
            raise OSError(errno.EINVAL, "an address below the first that user space may choose")
        buffer = self.handles.get(bo.handle)
        if buffer is None:
            raise OSError(errno.EINVAL, "no such handle")
        return buffer

    def _place(self, buffer: BufferObject, address: int, pinned: set[BufferObject]) -> None:
        """Map a buffer where user space wants it; what lies in the way and is not in use gives way (etnaviv_mmu.c).

        ``pinned`` are buffers of the same submission, which are in use too.
        """
        if buffer.address == address:
            return
        if address % uapi.PAGE or address + buffer.mapped_size > self._limits.address_space:
            raise OSError(errno.EINVAL, "no place for a buffer")
        if buffer.address != NOWHERE and (buffer.in_use or buffer in pinned):
            raise OSError(errno.EINVAL, "the buffer lies elsewhere and is in use")
        for start in self.memory.starts_within(address, address + buffer.mapped_size):
            other = self._placed[start]
            if other is not buffer and (other.in_use or other in pinned):
                raise OSError(errno.ENOSPC, "another buffer in use lies there")
            self._displace(other)
        if buffer.address != NOWHERE:
            self._displace(buffer)
        self.memory.map(address, buffer.array)
        buffer.address = address
        self._placed[address] = buffer

    def _displace(self, buffer: BufferObject) -> None:
        self._discard(buffer)
        buffer.address = NOWHERE

    def _free_address(self, buffer: BufferObject, low: int) -> int:
        """Return where a buffer lies, or a free place, from ``low`` on if there is one, else the first."""
        if buffer.address != NOWHERE:
            return buffer.address
        for first in (low, uapi.SOFTPIN_START):
            found = self.memory.gap(buffer.mapped_size, first, self._limits.address_space)
            if found is not None:
                return found
        raise OSError(errno.ENOSPC, "address space exhausted")


def _check_pipe(pipe: int) -> None:
    if pipe >= uapi.MAX_PIPES:
        raise OSError(errno.EINVAL, "no such pipe")
    if pipe:
        raise OSError(errno.ENXIO, "nothing at this pipe")


def _check_submit(argument: uapi.Submit) -> None:
    _check_pipe(argument.pipe)
    if argument.stream_size % 4:
        raise OSError(errno.EINVAL, "a stream of half a word")
    if argument.exec_state not in uapi.EXEC_STATES:
        raise OSError(errno.EINVAL, "no such state")
    if argument.flags & ~_FLAGS:
        raise OSError(errno.EINVAL, "no such flag")
    largest = max(argument.stream_size, argument.reloc_count, argument.bo_count)
    if largest > uapi.MAX_STREAM or argument.pmr_count > uapi.MAX_COUNTERS:
        raise OSError(errno.EINVAL, "more than the driver takes at once")


def _parts(argument: uapi.Submit, payload: bytes) -> tuple[list[uapi.SubmitBo], list[uapi.Reloc], bytes]:
    """Return the arrays behind a submission.

    Raises:
        ValueError: they are cut short; the shim never sends such, a program that writes to the socket may.
    """
    sizes = [
        argument.bo_count * ctypes.sizeof(uapi.SubmitBo),
        argument.reloc_count * ctypes.sizeof(uapi.Reloc),
        argument.pmr_count * uapi.COUNTER_BYTES,
        argument.stream_size,
    ]
    if sum(sizes) > len(payload):
        raise ValueError("a submission is cut short")
    bos = payload[: sizes[0]]
    relocs = payload[sizes[0] : sizes[0] + sizes[1]]
    stream = payload[sum(sizes[:3]) : sum(sizes)]
    return (
        [uapi.SubmitBo.from_buffer_copy(bos, 16 * index) for index in range(argument.bo_count)],
        [uapi.Reloc.from_buffer_copy(relocs, 24 * index) for index in range(argument.reloc_count)],
        stream,
    )


def _relocated(stream: bytes, relocs: list[uapi.Reloc], buffers: list[BufferObject], softpin: bool) -> Words:
    """Fill addresses into a stream."""
    if softpin and relocs:
        raise OSError(errno.EINVAL, "relocations beside soft pinning")
    words = np.frombuffer(stream, "<u4").copy()
    last = 0
    for reloc in relocs:
        place = reloc.submit_offset // 4
        if reloc.flags or reloc.submit_offset % 4 or place >= words.size or place < last:
            raise OSError(errno.EINVAL, "a relocation that cannot be done")
        if reloc.index >= len(buffers) or reloc.offset > buffers[reloc.index].mapped_size - 4:
            raise OSError(errno.EINVAL, "a relocation outside its buffer")
        words[place] = buffers[reloc.index].address + reloc.offset & 0xFFFFFFFF
        last = place
    return words
