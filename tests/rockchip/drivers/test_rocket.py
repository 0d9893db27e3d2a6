"""What is peculiar to the mainline driver, over the emulated node."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from device_cases import CASES
from rocketnpu.cli.device.selftest import expected
from rocketnpu.device import failure
from rocketnpu.device.base import DeviceJob, DeviceTask
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.device.failure import JobFailedError
from rocketnpu.errors import DeviceError, DeviceTimeoutError
from rocketnpu.rockchip.drivers import rocket_uapi as kernel
from rocketnpu.rockchip.drivers.rocket import RocketDevice
from rocketnpu.rockchip.registers.command import enable, write
from rocketnpu.rockchip.registers.rk3588 import DPU, TARGET_MARKER
from rocketnpu.rockchip.simulator import Memory, Npu
from rocketnpu.rockchip.streams.recording import load


@pytest.fixture
def rocket(node) -> Iterator[RocketDevice]:
    with RocketDevice(calls=node.calls) as device:
        yield device


class Spy:
    """Passes calls on and keeps the requests."""

    def __init__(self, calls) -> None:
        self._calls = calls
        self.jobs: list[tuple[list[int], list[int]]] = []
        self.deadlines: list[int] = []

    def __getattr__(self, name: str):
        return getattr(self._calls, name)

    def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
        if request == kernel.SUBMIT:
            for job in (kernel.Job * argument.job_count).from_address(argument.jobs):
                reads = list((ctypes.c_uint32 * job.in_count).from_address(job.in_handles))
                self.jobs.append((reads, list((ctypes.c_uint32 * job.out_count).from_address(job.out_handles))))
        if request == kernel.PREP_BO:
            self.deadlines.append(argument.timeout_ns)
        self._calls.ioctl(fd, request, argument)


def test_address_zero_is_guarded(rocket: RocketDevice) -> None:
    assert rocket.owns(0, 4096)
    assert rocket.allocate(16).address == 4096


def test_no_handle_is_listed_twice(node) -> None:
    spy = Spy(node.calls)
    case = CASES["pointwise"]
    with RocketDevice(calls=spy) as device, PlacedProgram(device, case.program()) as placed:
        job = placed.jobs[0]
        placed.jobs[0] = replace(job, reads=job.reads * 2 + job.writes, writes=job.writes * 2)
        np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case))
    reads, writes = spy.jobs[0]
    assert len(set(reads + writes)) == len(reads + writes)
    assert writes
    assert node.lines == []


def test_a_wait_for_ever_does_not_overflow(node) -> None:
    spy = Spy(node.calls)
    with RocketDevice(calls=spy) as device:
        device.sync_for_cpu(device.allocate(64), float("inf"))
        device.sync_for_cpu(device.allocate(64), 1e300)
    assert all(0 < deadline < 1 << 63 for deadline in spy.deadlines)


def list_of(*words: int) -> np.ndarray:
    return np.array([*words, 0, write("PC.REGISTER_AMOUNTS"), TARGET_MARKER << 48], "<u8")


BODY = (write("DPU.DST_BASE_ADDR", DST_BASE_ADDR=4096),)
DPU_ONLY = 1 << DPU.enable_bit


@pytest.mark.parametrize(
    ("units", "body", "task", "message"),
    [
        (["PPU", "PPU_RDMA"], (), {}, "waits for the DPU"),
        (["DPU"], BODY, {"kind": 0x1D}, "the task says 0x1d"),
        (["DPU"], BODY, {"address": 4104}, "not a multiple of 16"),
        (["DPU"], BODY, {"words": 4}, "marker and an enable word"),
        (["DPU"], BODY, {"words": 0}, "not inside one of the device's buffers"),
        (["DPU"], BODY, {"words": 513}, "not inside one of the device's buffers"),
        (["DPU"], BODY, {"address": 1 << 20}, "not inside one of the device's buffers"),
        (["DPU"], (write("DPU.DST_BASE_ADDR", DST_BASE_ADDR=8192),), {}, "DPU.DST_BASE_ADDR = 0x2000"),
        (["DPU"], (write("DPU.DST_BASE_ADDR", DST_BASE_ADDR=4100),), {}, "DPU.DST_BASE_ADDR = 0x1004"),
        (["DPU"], (write("DPU.DST_BASE_ADDR"),), {}, None),
    ],
)
def test_lists_are_checked_before_the_kernel_sees_them(
    rocket: RocketDevice, units: list[str], body: tuple[int, ...], task: dict[str, int], message: str | None
) -> None:
    buffer = rocket.allocate(4096)
    words = np.append(list_of(*body), np.uint64(enable(units)))
    rocket.map(buffer)[: words.nbytes] = words.tobytes()
    mask = int(words[-1]) >> 16 & 0xFF
    given = DeviceTask(**({"address": buffer.address, "words": len(words), "kind": mask} | task))
    if message is None:
        rocket.submit([DeviceJob((given,))])
        return
    with pytest.raises(DeviceError, match=message):
        rocket.submit([DeviceJob((given,))])


def spoil(placed: PlacedProgram, task: int) -> Callable[[], None]:
    """Make a task write to memory that is not there, behind the checks' back; return what undoes it."""
    words = placed.task_words(0, task)
    at = int(
        np.flatnonzero((words & np.uint64(0xFFFF) == DPU["DST_BASE_ADDR"].offset) & (words >> np.uint64(48) == 0x1001))[
            0
        ]
    )
    old = int(words[at])
    words[at] = write("DPU.DST_BASE_ADDR", DST_BASE_ADDR=0xF0000000)

    def restore() -> None:
        placed.task_words(0, task)[at] = old

    return restore


@pytest.mark.parametrize("task", range(4))
def test_a_timeout_names_the_task_and_leaves_a_bundle(node, tmp_path, task: int) -> None:
    case = CASES["chain"]
    program, picture = case.program(), case.picture()
    with RocketDevice(calls=node.calls) as device, PlacedProgram(device, program, bundle_folder=tmp_path) as placed:
        np.testing.assert_array_equal(placed.run([picture])[0], expected(case))
        restore = spoil(placed, task)
        with pytest.raises(JobFailedError) as caught:
            placed.run([picture])
        error = caught.value
        assert isinstance(error, DeviceTimeoutError)
        assert (error.job, error.task) == (0, task)
        assert error.operator == program.tasks[task].operator
        assert f"task {task} of 4 (operator {error.operator}, {error.label})" in str(error)
        assert "the core that the kernel chose" in str(error)
        assert "DPU.DST_BASE_ADDR DST_BASE_ADDR=4026531840" in error.registers
        assert any("page" in line or "leaves the mapped buffers" in line for line in node.lines)
        restore()
        np.testing.assert_array_equal(placed.run([picture])[0], expected(case))
        assert error.bundle is not None
        replay(error.bundle, program, task)


def replay(bundle, program, failing: int) -> None:
    """The bundle is a recording; on the simulator it fails at the same task, and the tasks before it run."""
    submission = load(bundle).submissions[0]
    memory = Memory()
    for buffer in submission.buffers:
        memory.map(buffer.address, buffer.content())
    npu = Npu(memory)
    (job,) = submission.jobs
    assert [task.words for task in job.tasks] == [task.words for task in program.tasks]
    for number, task in enumerate(job.tasks[: failing + 1]):
        if number < failing:
            npu.run_task(task.address, task.words)
        else:
            with pytest.raises(Exception, match="0xf0000000"):
                npu.run_task(task.address, task.words)


def test_a_job_that_the_kernel_drops_is_noticed(node, tmp_path) -> None:
    """The kernel says nothing about a job with a handle twice; the sentinel tells."""
    case = CASES["pointwise"]

    class Doubling(Spy):
        def ioctl(self, fd: int, request: int, argument: ctypes.Structure) -> None:
            if request == kernel.SUBMIT:
                job = kernel.Job.from_address(argument.jobs)
                job.in_handles, job.in_count = job.out_handles, job.out_count
            self._calls.ioctl(fd, request, argument)

    with (
        RocketDevice(calls=Doubling(node.calls)) as device,
        PlacedProgram(device, case.program(), bundle_folder=tmp_path) as placed,
        pytest.raises(JobFailedError),
    ):
        placed.run([case.picture()])
    assert "already in progress" in node.lines[0]


def test_an_unwritable_bundle_folder_does_not_hide_the_failure(node, tmp_path) -> None:
    case = CASES["pointwise"]
    with (
        RocketDevice(calls=node.calls) as device,
        PlacedProgram(device, case.program(), bundle_folder=tmp_path / "missing") as placed,
    ):
        placed.run([case.picture()])
        spoil(placed, 0)
        with pytest.raises(JobFailedError, match="task 0 of 1") as caught:
            placed.run([case.picture()])
        assert caught.value.bundle is None


@pytest.fixture
def failing(node, tmp_path, monkeypatch) -> Iterator[Callable[[], JobFailedError]]:
    """A function that fails, each time in a bundle of the process's own folder."""
    case = CASES["pointwise"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    failure._private_folder.cache_clear()
    with RocketDevice(calls=node.calls) as device, ExitStack() as opened:

        def fail() -> JobFailedError:
            placed = opened.enter_context(PlacedProgram(device, case.program()))
            placed.run([case.picture()])
            spoil(placed, 0)
            with pytest.raises(JobFailedError) as caught:
                placed.run([case.picture()])
            return caught.value

        yield fail
    failure._private_folder.cache_clear()


def test_a_bundle_is_private(failing, tmp_path) -> None:
    """It holds the user's input; nobody else can read it, foresee its name, or lead it elsewhere by a link."""
    first, second = failing().bundle, failing().bundle
    assert first is not None
    assert second is not None
    assert first != second, "two placed programs of one process do not share a name"
    assert first.parent == second.parent
    assert first.parent.parent == tmp_path
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700
    assert first.parent.name != f"rocketnpu-{os.getpid()}"


def test_a_link_in_a_bundles_place_is_not_followed(tmp_path, node) -> None:
    case, precious = CASES["pointwise"], tmp_path / "precious"
    precious.write_text("mine")
    with (
        RocketDevice(calls=node.calls) as device,
        PlacedProgram(device, case.program(), bundle_folder=tmp_path) as placed,
    ):
        placed.run([case.picture()])
        spoil(placed, 0)
        with pytest.raises(JobFailedError) as caught:
            placed.run([case.picture()])
        bundle = caught.value.bundle
        bundle.unlink()
        bundle.symlink_to(precious)
        with pytest.raises(JobFailedError) as caught:
            placed.run([case.picture()])
    assert caught.value.bundle == bundle
    assert precious.read_text() == "mine"
    assert not bundle.is_symlink()


def test_a_clock_before_1980_loses_no_failure(failing, monkeypatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(0))
    error = failing()
    assert error.task == 0
    assert load(error.bundle).failure["task"] == 0


@pytest.mark.parametrize("full_at", range(8))
def test_a_full_disk_loses_no_failure(failing, monkeypatch, full_at: int) -> None:
    """The disk is full at the first, second .. write of the zip, while it is filled or added to."""
    written, original = [0], zipfile.ZipFile.writestr

    def writestr(self, *arguments, **options) -> None:
        written[0] += 1
        if written[0] > full_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, *arguments, **options)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", writestr)
    error = failing()
    assert error.task == 0
    if error.bundle is not None:
        assert load(error.bundle).failure["job"] == 0
    leftovers = list(error.bundle.parent.glob(".rocketnpu-*")) if error.bundle else []
    assert leftovers == []
    if full_at in (0, 7):
        assert (error.bundle is None) == (full_at == 0)
