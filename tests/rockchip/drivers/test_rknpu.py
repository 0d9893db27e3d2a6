"""What is peculiar to the vendor's driver, over a fake of it."""

from __future__ import annotations

import numpy as np
import pytest

from device_cases import CASES
from fake_rknpu import FakeRknpu
from rocketnpu.cli.device.selftest import expected
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.device.failure import JobFailedError
from rocketnpu.errors import DeviceError
from rocketnpu.rockchip.drivers import rknpu_uapi as kernel
from rocketnpu.rockchip.drivers.rknpu import RknpuDevice


@pytest.mark.parametrize("core", [0, 1, 2])
def test_a_submission_as_the_vendors_kernel_wants_it(fake_rknpu: FakeRknpu, core: int) -> None:
    case = CASES["chain"]
    with RknpuDevice(core=core, calls=fake_rknpu) as device:
        np.testing.assert_array_equal(run(device, case.program(), [case.picture()])[0], expected(case))
    (submit,) = fake_rknpu.submits
    assert submit.flags == 5
    assert submit.timeout >= 1000
    assert (submit.task_start, submit.task_number, submit.core_mask) == (0, 4, 1 << core)
    ranges = [(part.start, part.number) for part in submit.subcore_task]
    assert ranges == [(0, 4) if number == core else (0, 0) for number in range(5)]
    assert submit.task_base_address == submit.hardware_time == 0


def test_lists_are_linked_where_they_are_not(fake_rknpu: FakeRknpu) -> None:
    """Only the first list's place goes to the registers; the others are found through the trailers."""
    case = CASES["chain"]
    with RknpuDevice(calls=fake_rknpu) as device, PlacedProgram(device, case.program()) as placed:
        for task in range(4):
            placed.task_words(0, task)[-4:-2] = 0
        device.sync_for_device(placed.buffers[placed.program.commands])
        np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case))


def test_a_timeout_resets_the_npu_and_the_next_inference_works(fake_rknpu: FakeRknpu, tmp_path) -> None:
    case = CASES["chain"]
    with (
        RknpuDevice(core=1, calls=fake_rknpu) as device,
        PlacedProgram(device, case.program(), bundle_folder=tmp_path) as placed,
    ):
        fake_rknpu.fail_next = 2
        with pytest.raises(JobFailedError, match="core 1: task 0 of 4") as caught:
            placed.run([case.picture()])
        assert caught.value.bundle is not None
        assert fake_rknpu.resets == 2
        np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case))


def test_memory_runs_out(fake_rknpu: FakeRknpu) -> None:
    fake_rknpu.left = 100_000
    case, small = CASES["tiled"], CASES["pointwise"]
    with RknpuDevice(calls=fake_rknpu) as device:
        with pytest.raises(DeviceError, match="no memory left"):
            run(device, case.program(), [case.picture()])
        assert not fake_rknpu.objects
        np.testing.assert_array_equal(run(device, small.program(), [small.picture()])[0], expected(small))


def test_memory_that_no_command_word_can_name(fake_rknpu: FakeRknpu) -> None:
    fake_rknpu._next = (1 << 32) + (1 << 20)
    with RknpuDevice(calls=fake_rknpu) as device, pytest.raises(DeviceError, match="0x1000fe000"):
        device.allocate(4096)
    assert not fake_rknpu.objects


def test_there_are_three_cores(fake_rknpu: FakeRknpu) -> None:
    with pytest.raises(DeviceError, match="no core 3"):
        RknpuDevice(core=3, calls=fake_rknpu)


def test_another_driver_is_not_taken() -> None:
    fake = FakeRknpu(driver="panthor")
    with pytest.raises(DeviceError, match="belongs to the driver 'panthor'"):
        RknpuDevice(calls=fake)
    fake.end()


def test_tasks_are_described_to_the_kernel(fake_rknpu: FakeRknpu) -> None:
    case = CASES["tiled"]
    with RknpuDevice(calls=fake_rknpu) as device, PlacedProgram(device, case.program()) as placed:
        placed.run([case.picture()])
        store = next(item for item in fake_rknpu.objects.values() if item.flags & kernel.MEMORY_KERNEL_MAPPING)
        tasks = (kernel.Task * 2).from_buffer_copy(store.npu)
        for task, given in zip(tasks, placed.jobs[0].tasks, strict=True):
            assert (task.regcmd_addr, task.regcfg_amount) == (given.address, given.words - 4)
            assert (task.enable_mask, task.int_mask, task.int_clear) == (given.kind, 0x300, 0x300)
