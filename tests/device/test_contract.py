"""What every device must do, whatever is behind it."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_cases import CASES, program_for
from rocketnpu.cli.device.selftest import Case, expected
from rocketnpu.device.base import Buffer, Device, DeviceJob, DeviceTask
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.errors import DeviceError, InputError, RocketError
from rocketnpu.program.program import Role

Opener = Callable[[], Device]


def test_it_is_a_device(device: Device) -> None:
    assert isinstance(device, Device)
    assert device.name


def test_memory_is_zero_aligned_and_its_own(device: Device) -> None:
    first, second = device.allocate(100), device.allocate(5000)
    assert first.address % 16 == second.address % 16 == 0
    assert first.address + first.size <= second.address or second.address + second.size <= first.address
    assert len(device.map(first)) == 100
    assert bytes(device.map(second)) == bytes(5000)
    device.map(first)[:] = b"x" * 100
    assert bytes(device.map(second)) == bytes(5000)
    assert bytes(device.map(first)) == b"x" * 100


def test_reused_memory_is_zero_again(device: Device) -> None:
    buffer = device.allocate(4096)
    device.map(buffer)[:] = b"\xff" * 4096
    device.sync_for_device(buffer)
    device.free(buffer)
    again = device.allocate(4096)
    device.sync_for_cpu(again, 1)
    assert bytes(device.map(again)) == bytes(4096)


def test_synchronising_keeps_what_the_cpu_wrote(device: Device) -> None:
    buffer = device.allocate(64)
    device.map(buffer)[:] = bytes(range(64))
    device.sync_for_device(buffer)
    device.sync_for_cpu(buffer, 1)
    assert bytes(device.map(buffer)) == bytes(range(64))


@pytest.mark.parametrize("size", [0, -1, 1 << 32, 1 << 40])
def test_sizes_that_cannot_be(device: Device, size: int) -> None:
    with pytest.raises(DeviceError):
        device.allocate(size)
    assert device.allocate(16).size == 16


@pytest.mark.parametrize("action", ["map", "free", "sync_for_device", "sync_for_cpu", "submit"])
def test_a_freed_buffer_is_refused(device: Device, action: str) -> None:
    buffer = device.allocate(64)
    device.free(buffer)
    use = {
        "sync_for_cpu": lambda: device.sync_for_cpu(buffer, 1),
        "submit": lambda: device.submit([DeviceJob((DeviceTask(buffer.address, 4, 0xD),), (), (buffer,))]),
    }.get(action, lambda: getattr(device, action)(buffer))
    with pytest.raises(RocketError):
        use()


def test_a_foreign_buffer_is_refused(device: Device, open_one: Opener) -> None:
    with open_one() as other:
        for _ in range(4):
            stranger = other.allocate(64)
        with pytest.raises(DeviceError):
            device.map(stranger)
        with pytest.raises(DeviceError):
            device.map(Buffer(999, 0, 64))


def test_a_closed_device_is_refused(open_one: Opener) -> None:
    device = open_one()
    buffer = device.allocate(64)
    device.close()
    device.close()
    with pytest.raises(DeviceError):
        device.allocate(64)
    with pytest.raises(DeviceError):
        device.map(buffer)


def test_an_array_outlives_its_buffer(device: Device) -> None:
    buffer = device.allocate(4096)
    array = np.frombuffer(device.map(buffer), np.uint8)
    array[:] = 7
    device.free(buffer)
    assert int(array.sum()) == 7 * 4096


def test_a_job_without_tasks_is_refused(device: Device) -> None:
    with pytest.raises(DeviceError, match="task"):
        device.submit([DeviceJob(())])


def test_no_jobs_are_no_work(device: Device) -> None:
    device.submit([])


def test_every_case_gives_the_simulators_bytes(device: Device, case: Case) -> None:
    np.testing.assert_array_equal(
        run(device, program_for(case, device), [case.picture()])[0], expected(case, device.chip)
    )


def test_inferences_repeat_and_differ(device: Device) -> None:
    case = CASES["chain"]
    picture, wanted = case.picture(), expected(case, device.chip)
    with PlacedProgram(device, program_for(case, device)) as placed:
        np.testing.assert_array_equal(placed.run([picture])[0], wanted)
        other = placed.run([255 - picture])[0]
        assert (other != wanted).any()
        np.testing.assert_array_equal(placed.run([picture])[0], wanted)


def test_programs_share_a_device(device: Device) -> None:
    chosen = [CASES["chain"], CASES["depthwise"], CASES["odd"]]
    with contextlib.ExitStack() as stack:
        placed = [stack.enter_context(PlacedProgram(device, program_for(case, device))) for case in chosen]
        for _ in range(2):
            for case, program in zip(chosen, placed, strict=True):
                np.testing.assert_array_equal(program.run([case.picture()])[0], expected(case, device.chip))


def test_two_devices_do_not_disturb_each_other(open_one: Opener) -> None:
    case, other = CASES["chain"], CASES["stem"]
    with (
        open_one() as first,
        open_one() as second,
        PlacedProgram(first, program_for(case, first)) as a,
        PlacedProgram(second, program_for(other, second)) as b,
    ):
        np.testing.assert_array_equal(a.run([case.picture()])[0], expected(case, first.chip))
        np.testing.assert_array_equal(b.run([other.picture()])[0], expected(other, second.chip))


def test_a_bad_list_is_refused_or_fails_and_the_next_inference_works(device: Device) -> None:
    case = CASES["pointwise"]
    program = program_for(case, device)
    with PlacedProgram(device, program) as placed:
        commands = placed.memories[program.commands]
        good = bytes(commands)
        commands[-64:] = bytes(64)
        device.sync_for_device(placed.buffers[program.commands])
        with pytest.raises(RocketError):
            placed.run([case.picture()])
        commands[:] = good
        device.sync_for_device(placed.buffers[program.commands])
        np.testing.assert_array_equal(placed.run([case.picture()])[0], expected(case, device.chip))


def test_a_wrong_input_names_the_tensor(device: Device) -> None:
    program = program_for(CASES["pointwise"], device)
    with PlacedProgram(device, program) as placed, pytest.raises(InputError, match=program.inputs[0].name):
        placed.run([np.zeros((1, 2, 3), np.uint8)])


def test_nothing_leaks(open_one: Opener) -> None:
    case = CASES["chain"]
    with open_one() as device:
        program, picture = program_for(case, device), case.picture()

    def use() -> None:
        with open_one() as device:
            run(device, program, [picture])
            device.allocate(1 << 20)

    use()
    eventually(lambda: not mapped_buffers())
    before = descriptors()
    for _ in range(3):
        use()
    eventually(lambda: not mapped_buffers() and descriptors() == before)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def mapped_buffers() -> list[str]:
    """Mappings of emulated buffers in this process, the emulator's own among them."""
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if "rocketnpu-bo" in line]


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for the emulated node, which closes its ends in threads of this process."""
    end = time.monotonic() + 5
    while True:
        gc.collect()
        if condition():
            return
        assert time.monotonic() < end, (descriptors(), mapped_buffers())
        time.sleep(0.01)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.integers(1, 200_000), st.none()), max_size=20))
def test_any_order_of_allocations(device: Device, steps: list[int | None]) -> None:
    """An integer allocates, None frees the oldest; no two live buffers overlap, and each keeps its bytes."""
    live: list[tuple[Buffer, int]] = []
    try:
        for number, step in enumerate(steps):
            if step is not None:
                buffer = device.allocate(step)
                assert not any(device.map(buffer))
                device.map(buffer)[:] = bytes([number]) * step
                live.append((buffer, number))
            elif live:
                device.free(live.pop(0)[0])
            ordered = sorted((buffer.address, buffer.address + buffer.size) for buffer, _ in live)
            assert all(a[1] <= b[0] for a, b in pairwise(ordered))
            for buffer, mark in live:
                memory = device.map(buffer)
                assert memory[0] == memory[-1] == mark
    finally:
        for buffer, _ in live:
            device.free(buffer)


def test_buffers_of_a_program_have_roles(device: Device) -> None:
    program = program_for(CASES["chain"], device)
    with PlacedProgram(device, program) as placed:
        assert [spec.size for spec in program.buffers] == [buffer.size for buffer in placed.buffers]
        assert {Role.INPUT, Role.OUTPUT, Role.COMMANDS} <= {spec.role for spec in program.buffers}
