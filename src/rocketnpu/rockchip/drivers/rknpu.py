"""Rockchip's vendor driver ``rknpu`` (kernels 5.10 and 6.1): a DRM node, blocking submission of chained tasks.

Source of every rule here: addendum 9.3 to 9.5. Different from the mainline driver: one start runs a whole chain, whose
lists link to each other; failures are reported; and kernel pointers go through the program's hands, so they are
passed back exactly as they came. All cores reach all memory of an open file (addendum 8.4: three cores recorded at
work on one map).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

from rocketnpu.device.base import METHODS, Buffer, DeviceJob, DeviceTask
from rocketnpu.device.calls import Calls
from rocketnpu.device.kernel import MOST_PREPARED, KernelDevice, Owned
from rocketnpu.device.mapping import Mapping
from rocketnpu.errors import DeviceError, DeviceTimeoutError
from rocketnpu.rockchip.drivers import rknpu_uapi as kernel
from rocketnpu.rockchip.drivers.check import DPU_MASK, TRAILER, check_start, check_task
from rocketnpu.rockchip.evidence import Unproven
from rocketnpu.rockchip.registers.command import write
from rocketnpu.rockchip.soc import RK3588

MEMORY_FLAGS = kernel.MEMORY_NON_CONTIGUOUS | kernel.MEMORY_CACHEABLE | kernel.MEMORY_LIMIT_IOVA_ALIGNMENT
"""0x403, as the vendor's runtime asks (addendum 9.3)."""
TASK_MEMORY_FLAGS = MEMORY_FLAGS | kernel.MEMORY_KERNEL_MAPPING
"""0x40b, the same for the task buffer."""
ADDRESS_LIMIT = 1 << 32
TIMEOUT_MS = 2000
"""For one job; the driver waits up to three rounds of it (addendum 9.4)."""
_LOCK_PATIENCE = 30.0
"""Seconds to wait for other processes' jobs."""
_LINK_SHIFT = 16
_ADDRESS_WORD = write("PC.BASE_ADDRESS") & ~(0xFFFFFFFF << _LINK_SHIFT)


@dataclass(eq=False)
class _Prepared:
    """A list of jobs, each with its request; the task arrays lie in one buffer."""

    jobs: tuple[DeviceJob, ...]
    cores: tuple[int, ...]
    """Which runs each."""
    requests: list[kernel.Submit]
    tasks: Owned


class RknpuDevice(KernelDevice):
    """A :class:`~rocketnpu.device.base.Device` on the vendor driver. Not thread safe; processes take turns.

    Args:
        path: device node; the first whose driver is called "rknpu" where not given.
        core: which core runs the jobs that are submitted without saying on which, 0 to 2.
        calls: stands in for the kernel in tests.
    """

    name = kernel.DRIVER
    chip = "rk3588"
    shared_cores = RK3588.cores
    taking_turns = (*METHODS, "submit_together")
    nodes: ClassVar[tuple[str, ...]] = (
        *(f"/dev/dri/renderD{number}" for number in range(128, 136)),
        *(f"/dev/dri/card{number}" for number in range(8)),
    )

    def __init__(self, path: str = "", core: int = 0, calls: Calls | None = None) -> None:
        """Open the node.

        Raises:
            DeviceError: no such node, no permission, another driver, or no such core.
        """
        if not 0 <= core < RK3588.cores:
            raise DeviceError(f"{self.name}: there is no core {core}, only 0..{RK3588.cores - 1}")
        self.core = core
        self._prepared: list[_Prepared] = []
        self._threads: ThreadPoolExecutor | None = None
        super().__init__(path, calls)

    # -- memory

    def allocate(self, size: int) -> Buffer:
        """Allocate zero-filled memory; see :class:`~rocketnpu.device.base.Device`."""
        if not 0 < size < ADDRESS_LIMIT:
            raise DeviceError(f"{self.name}: a buffer has 1..{ADDRESS_LIMIT - 1} bytes, {size} were asked for")
        owned = self._create(size, MEMORY_FLAGS)
        self._owned[owned.buffer.handle] = owned
        # The driver does not promise cleared memory without a flag that the vendor's runtime never uses.
        ctypes.memset(ctypes.addressof(ctypes.c_uint8.from_buffer(owned.mapping.view)), 0, size)
        self._sync(owned, kernel.SYNC_TO_DEVICE)
        return owned.buffer

    def _create(self, size: int, flags: int) -> Owned:
        # A handle other than 0 would name an existing object instead of making one.
        made = kernel.MemoryCreate(handle=0, flags=flags, size=size)
        self._ioctl(kernel.MEMORY_CREATE, made, f"allocate {size} bytes")
        try:
            mapping = self._map_memory(made)
        except BaseException:
            self._destroy(made.handle, made.object_address)
            raise
        return Owned(Buffer(made.handle, made.dma_address, size), mapping, secret=made.object_address)

    def _map_memory(self, made: kernel.MemoryCreate) -> Mapping:
        if made.dma_address + made.size > ADDRESS_LIMIT:
            raise DeviceError(f"{self.name}: got memory at 0x{made.dma_address:x}, which no command word can name")
        place = kernel.MemoryMap(handle=made.handle)
        self._ioctl(kernel.MEMORY_MAP, place, f"map {made.size} bytes")
        try:
            return Mapping(self._calls, self._fd, place.offset, made.size)
        except OSError as error:
            raise self._error(error, f"map {made.size} bytes") from None

    def _destroy(self, handle: int, object_address: int) -> None:
        request = kernel.MemoryDestroy(handle=handle, object_address=object_address)
        self._ioctl(kernel.MEMORY_DESTROY, request, "free a buffer")

    def _release(self, owned: Owned) -> None:
        self._destroy(owned.buffer.handle, owned.secret)

    def sync_for_device(self, buffer: Buffer) -> None:
        """Flush the whole buffer."""
        self._sync(self._own(buffer), kernel.SYNC_TO_DEVICE)

    def sync_for_cpu(self, buffer: Buffer, timeout: float) -> None:
        """Invalidate the whole buffer; jobs have ended before ``submit`` returned, so ``timeout`` never expires."""
        del timeout
        self._sync(self._own(buffer), kernel.SYNC_FROM_DEVICE)

    def _sync(self, owned: Owned, direction: int) -> None:
        request = kernel.MemorySync(flags=direction, object_address=owned.secret, size=owned.buffer.size)
        self._ioctl(kernel.MEMORY_SYNC, request, "synchronise a buffer")

    # -- jobs

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        """Check the jobs, at their first submission, and run them one after the other.

        Raises:
            DeviceTimeoutError: a job did not end; the NPU was reset, and the next submission works again.
            DeviceError: a command list breaks a rule of :mod:`rocketnpu.rockchip.drivers.check`, or a buffer is not
                ours.
        """
        self._alive()
        wanted = tuple(jobs)
        if wanted:
            self._run(self._ready(wanted, (self.core,) * len(wanted)), [1] * len(wanted))

    def submit_together(self, steps: Sequence[Sequence[DeviceJob | None]]) -> None:
        """Check the jobs, at their first submission, and run those of each step at once; see
        :class:`~rocketnpu.device.base.SharesMemory`.

        A submission blocks, so each core has a thread and a request of its own, as is advised before a request for
        all cores (addendum 9.5).

        Raises:
            DeviceTimeoutError: a job did not end; the NPU was reset when the others had.
            DeviceError: as :meth:`submit`, or there is no such core.
        """
        self._alive()
        if any(len(step) > self.shared_cores for step in steps):
            raise DeviceError(f"{self.name}: a step has jobs for more than {self.shared_cores} cores")
        busy = [[(core, job) for core, job in enumerate(step) if job is not None] for step in steps]
        wanted = [one for step in busy for one in step]
        if wanted:
            prepared = self._ready(tuple(job for _, job in wanted), tuple(core for core, _ in wanted))
            self._run(prepared, [len(step) for step in busy])

    def _ready(self, jobs: tuple[DeviceJob, ...], cores: tuple[int, ...]) -> _Prepared:
        """Return jobs as they were prepared before, or prepare them."""
        found = next((one for one in self._prepared if (one.jobs, one.cores) == (jobs, cores)), None)
        if found is None:
            if len(self._prepared) == MOST_PREPARED:
                self._forget(self._prepared.pop(0))
            found = self._prepare(jobs, cores)
            self._prepared.append(found)
        return found

    def _run(self, prepared: _Prepared, counts: Sequence[int]) -> None:
        """Run so many jobs at once, step by step."""
        works = [partial(self._start, *one) for one in enumerate(zip(prepared.requests, prepared.cores, strict=True))]
        self._take_turn()
        try:
            first = 0
            for count in counts:
                self._run_step(works[first : first + count])
                first += count
        except DeviceTimeoutError:
            # The reset attaches the IOMMU again as well. It must not meet another job's set-up (addendum 9.5).
            self._ioctl(kernel.ACTION, kernel.Action(flags=kernel.ACTION_RESET), "reset the NPU")
            raise
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _run_step(self, works: Sequence[Callable[[], None]]) -> None:
        """Run jobs at once, wait for all, and raise what the first of them has to complain of."""
        if len(works) == 1:
            works[0]()
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.shared_cores, "rknpu")
        waiting = [self._threads.submit(work) for work in works]
        try:
            failed = [error for error in [one.exception() for one in waiting] if error is not None]
        finally:
            wait(
                waiting
            )  # where a signal's handler raised too: nothing may run when the turn and memory are given back
        if failed:
            raise next((error for error in failed if isinstance(error, DeviceTimeoutError)), failed[0])

    def _start(self, number: int, request: tuple[kernel.Submit, int]) -> None:
        submit, core = request
        self._ioctl(kernel.SUBMIT, submit, f"run job {number} ({submit.task_number} tasks) on core {core}")

    def _take_turn(self) -> None:
        """Wait until no other process of this package submits: two at once crashed a board (addendum 9.5)."""
        end = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise DeviceTimeoutError(f"{self.name}: another process uses the NPU all the time") from None
                time.sleep(0.0005)
            else:
                return

    def _prepare(self, jobs: tuple[DeviceJob, ...], cores: tuple[int, ...]) -> _Prepared:
        for number, job in enumerate(jobs):
            if not job.tasks:
                raise DeviceError(f"{self.name}: job {number} has no task")
            for buffer in (*job.reads, *job.writes):
                self._own(buffer)
            for task in job.tasks:
                check_task(task, self.words(task), self.owns, dpu_required=False)
            check_start(job.tasks[0], self.name, self.takes_risks or Unproven.FLYING_START in self.standing.proven)
            self._link(job.tasks)
        entries = [_entry(task) for job in jobs for task in job.tasks]
        array = (kernel.Task * len(entries))(*entries)
        tasks = self._create(ctypes.sizeof(array), TASK_MEMORY_FLAGS)
        tasks.mapping.view[:] = bytes(array)
        self._sync(tasks, kernel.SYNC_TO_DEVICE)
        requests, start = [], 0
        for job, core in zip(jobs, cores, strict=True):
            requests.append(self._request(tasks, start, len(job.tasks), core))
            start += len(job.tasks)
        return _Prepared(jobs, cores, requests, tasks)

    def _request(self, tasks: Owned, start: int, count: int, core: int) -> kernel.Submit:
        request = kernel.Submit(
            flags=kernel.JOB_PC | kernel.JOB_PINGPONG,
            timeout=TIMEOUT_MS,
            task_start=start,
            task_number=count,
            task_object_address=tasks.secret,
            core_mask=1 << core,
            fence_fd=-1,
        )
        # The driver takes ranges for one or two cores from the entry of the core's number (addendum 9.4).
        request.subcore_task[core] = kernel.SubcoreTask(start, count)
        return request

    def _link(self, tasks: Sequence[DeviceTask]) -> None:
        """Make each list's trailer name the next list: only the first one's place and length go to the registers."""
        changed: dict[int, Owned] = {}
        for task, following in pairwise(tasks):
            words = self.words(task)
            link = (
                _ADDRESS_WORD | following.address << _LINK_SHIFT,
                write("PC.REGISTER_AMOUNTS", PC_DATA_AMOUNT=-(-following.words // 2) - 1),
            )
            if (int(words[-4]), int(words[-3])) != link:
                words[-4:-2] = link
                owned = self._at(task.address, 8)
                assert owned is not None
                changed[owned.buffer.handle] = owned
        for owned in changed.values():
            self._sync(owned, kernel.SYNC_TO_DEVICE)

    def close(self) -> None:
        """Give everything back; see :meth:`~rocketnpu.device.kernel.KernelDevice.close`."""
        if self._threads is not None and self._process == os.getpid():
            self._threads.shutdown()
        self._threads = None
        super().close()

    def _settle(self) -> None:
        """Nothing runs: submission blocks."""

    def _forget_jobs(self) -> None:
        while self._prepared:
            self._forget(self._prepared.pop())

    def _forget(self, prepared: _Prepared) -> None:
        prepared.tasks.mapping.release()
        self._release(prepared.tasks)


def _entry(task: DeviceTask) -> kernel.Task:
    mask = kernel.INTERRUPT_DPU if task.kind & DPU_MASK else kernel.INTERRUPT_PPU
    return kernel.Task(
        enable_mask=task.kind,
        int_mask=mask,
        int_clear=mask,
        regcfg_amount=task.words - TRAILER,
        regcmd_addr=task.address,
    )
