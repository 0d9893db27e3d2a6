"""Our device over the emulated etnaviv node: recorded streams in its own buffers, and a kernel that fails or lies."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from etnaviv_kernels import Behind, Lying, Mad, gone
from etnaviv_recorded import Moved, program_of

from bracketed import Bracketed
from rocketnpu.address_space import PAGE
from rocketnpu.device import uapi as drm
from rocketnpu.device.base import DeviceJob
from rocketnpu.device.executor import PlacedProgram
from rocketnpu.errors import DeviceError, DeviceTimeoutError
from rocketnpu.verisilicon.drivers import etnaviv as module
from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi
from rocketnpu.verisilicon.drivers.etnaviv import EtnavivDevice
from rocketnpu.verisilicon.drivers.etnaviv_stream import MODES, stream_of
from rocketnpu.verisilicon.registers.jobs import UNITS, started
from rocketnpu.verisilicon.soc import A311D, SOCS

NAMES = ["c5x5_valid_u8_12x12x8_16", "logistic_i8_16x16x8"]
SMALL = NAMES[1]


@pytest.mark.parametrize("chip", ["a311d", "imx8mp"])
@pytest.mark.parametrize("name", NAMES)
def test_recorded_streams_at_our_own_addresses(make_node, chip, name):
    rig, calls = make_node(chip, gated=False), Bracketed()
    with EtnavivDevice(SOCS[chip], calls=calls) as device:
        moved = Moved(device, chip, name)
        for _ in range(2):
            moved.clear()
            assert moved.off_by() > 1
            moved.run()
            assert moved.off_by() <= 1
    assert (calls.unbalanced, rig.lines) == ([], [])
    assert rig.node.live_buffers == 0


@pytest.mark.parametrize("chip", ["a311d", "imx8mp"])
def test_the_npu_is_asked_at_its_own_pipe(make_node, chip):
    rig = make_node(chip, gated=False)
    with EtnavivDevice(SOCS[chip], calls=Behind()) as device:
        assert device.pipe == 2
        moved = Moved(device, chip, SMALL)
        moved.run()
        assert moved.off_by() <= 1
    assert rig.lines == []


def test_one_submission_a_part_and_one_for_the_modes_after_a_rest(make_node, monkeypatch):
    make_node(gated=False)
    calls, now = Bracketed(), [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with EtnavivDevice(A311D, calls=calls) as device:
        moved = Moved(device, "a311d", SMALL)
        size = stream_of([np.frombuffer(device.map(moved.commands), "<u4")]).nbytes
        moved.run()
        moved.run()
        assert calls.submissions == [MODES.nbytes, size, size]
        now[0] += 0.2
        moved.run()
        assert calls.submissions[3:] == [MODES.nbytes, size]
        device.submit([moved.job, moved.job])
        device.sync_for_cpu(moved.output, 60)
        assert len(calls.submissions) == 6
        assert calls.submissions[5] > size
        assert moved.off_by() <= 1


def test_commands_beyond_what_the_kernel_takes_go_in_several_submissions(make_node, monkeypatch):
    rig, calls = make_node(gated=False), Bracketed()
    with EtnavivDevice(A311D, calls=calls) as device:
        moved = Moved(device, "a311d", SMALL)
        task = stream_of([np.frombuffer(device.map(moved.commands), "<u4")]).nbytes
        monkeypatch.setattr(uapi, "MAX_STREAM", task + 8)
        device.submit([moved.job, moved.job])
        device.sync_for_cpu(moved.output, 60)
        assert calls.submissions == [MODES.nbytes, task, task]
        assert moved.off_by() <= 1
    assert rig.lines == []


def test_a_changed_stream_is_copied_anew(make_node):
    rig = make_node(gated=False)
    with EtnavivDevice(A311D, calls=Bracketed()) as device:
        moved = Moved(device, "a311d", SMALL)
        moved.run()
        commands = device.map(moved.commands)
        good = bytes(commands)
        device.sync_for_cpu(moved.commands, 1)
        commands[:] = bytes(len(good))
        device.sync_for_device(moved.commands)
        with pytest.raises(DeviceError, match="it starts no job"):
            moved.run()
        commands[:] = good
        device.sync_for_device(moved.commands)
        moved.clear()
        moved.run()
        assert moved.off_by() <= 1
    assert rig.lines == []


def test_streams_that_lead_elsewhere_never_reach_the_kernel(make_node):
    make_node(gated=False)
    calls = Bracketed()
    with EtnavivDevice(A311D, calls=calls) as device:
        moved = Moved(device, "a311d", SMALL)
        read_only = DeviceJob(moved.job.tasks, (*moved.job.reads, *moved.job.writes), ())
        unlisted = DeviceJob(moved.job.tasks, moved.job.reads[:1], moved.job.writes)
        for job, reason in (
            (read_only, "OUT_ADDRESS = 0x.* in no buffer that its job writes"),
            (unlisted, "the TP instruction at 0x.* lies in no buffer of its job"),
        ):
            with pytest.raises(DeviceError, match=reason):
                device.submit([job])
        words = np.frombuffer(device.map(moved.commands), "<u4")
        for place, value, reason in (
            (0, 0x08010FFF, "writes state 0x3ffc, which is not known"),
            (0, 0x40000000, "is no LOAD_STATE"),
        ):
            good = int(words[place])
            words[place] = value
            device.sync_for_device(moved.commands)
            with pytest.raises(DeviceError, match=reason):
                device.submit([moved.job])
            words[place] = good
        assert calls.submissions == []
        moved.run()
        assert moved.off_by() <= 1


FIELDS = [
    *((SMALL, "TP", field) for field in ("IN_ADDRESS", "OUT_ADDRESS", "LOOKUP_ADDRESS")),
    *((NAMES[0], "NN", field) for field in ("IN_ADDRESS", "OUT_ADDRESS", "COEFFICIENTS_64")),
]


@pytest.mark.parametrize("chip", ["a311d", "imx8mp"])
@pytest.mark.parametrize(("name", "unit", "field"), FIELDS)
def test_every_address_of_an_instruction_is_held_against_the_jobs_buffers(make_node, chip, name, unit, field):
    rig, calls = make_node(chip, gated=False), Bracketed()
    with EtnavivDevice(SOCS[chip], calls=calls) as device:
        moved = Moved(device, chip, name)
        jobs = [one for task in moved.job.tasks for one in started(device.words(task).view("<u4"))]
        words = moved.words_at(next(one.address for one in jobs if one.unit == unit))
        place = UNITS[unit].pieces[field][0].register.offset // 4
        good, words[place] = int(words[place]), 0x3FF_FFFF
        with pytest.raises(DeviceError, match=f"{field} = 0x[0-9a-f]+ of the {unit} instruction .* lies in no buffer"):
            device.submit([moved.job])
        assert calls.submissions == []
        words[place] = good
        moved.run()
        assert moved.off_by() <= 1
    assert rig.lines == []


def test_addresses_are_ours_and_come_back(make_node):
    make_node(gated=False)
    with EtnavivDevice(A311D, calls=Bracketed()) as device:
        first, second = device.allocate(1), device.allocate(PAGE + 1)
        assert (first.address, second.address) == (uapi.SOFTPIN_START, uapi.SOFTPIN_START + PAGE)
        device.free(first)
        assert device.allocate(PAGE).address == uapi.SOFTPIN_START
        assert device.allocate(PAGE).address == uapi.SOFTPIN_START + 3 * PAGE


def test_addresses_run_out(make_node):
    make_node(gated=False)
    calls = Lying()
    calls.fail(uapi.GET_PARAM)
    with EtnavivDevice(A311D, calls=calls) as device:
        device._space = type(device._space)(start=(1 << 32) - 2 * PAGE)
        held = [device.allocate(PAGE), device.allocate(PAGE)]
        with pytest.raises(DeviceError, match="of the 4 GiB of addresses of one open file are free"):
            device.allocate(1)
        device.free(held[0])
        assert device.allocate(1).address == held[0].address


def test_a_wait_ends_in_time_and_the_next_succeeds(make_node):
    rig = make_node()
    with EtnavivDevice(A311D, calls=Bracketed()) as device:
        moved = Moved(device, "a311d", SMALL)
        device.submit([moved.job])
        with pytest.raises(DeviceTimeoutError, match=r"wait 0\.02 s for a submission: jobs did not finish in time"):
            device.sync_for_cpu(moved.output, 0.02)
        rig.npu.gate.set()
        device.sync_for_cpu(moved.output, 10)
    assert len(rig.npu.ran) == 2


CALLS = {
    "allocate": uapi.GEM_NEW,
    "place": uapi.GEM_INFO,
    "take": uapi.CPU_PREP,
    "hand over": uapi.CPU_FINI,
    "submit": uapi.SUBMIT,
    "wait": uapi.WAIT_FENCE,
}


@pytest.mark.parametrize("error", [errno.ENOMEM, errno.EIO, errno.ENODEV, errno.ETIMEDOUT, errno.EINVAL, errno.ENOSPC])
@pytest.mark.parametrize("call", CALLS)
def test_a_kernel_that_fails_at_one_call(make_node, call, error):
    """An error of ours, nothing leaked, and once the kernel works again, the right bytes."""
    rig, calls = make_node(gated=False), Lying()
    with EtnavivDevice(A311D, calls=calls) as device:
        moved = Moved(device, "a311d", SMALL)
        before = rig.node.live_buffers
        calls.fail(CALLS[call], error)
        with pytest.raises(DeviceError, match=r"etnaviv \(/dev/dri/renderD128\): cannot "):
            use(device, moved)
        calls.fail(-1)
        if call in ("allocate", "place", "take"):
            assert rig.node.live_buffers == before
        device.sync_for_cpu(moved.output, 60)
        moved.clear()
        moved.run()
        assert moved.off_by() <= 1
    assert rig.node.live_buffers == 0


def test_a_mad_kernel_gets_nothing_but_errors_of_ours(make_node, tmp_path):
    """Whatever it answers; and once it is sane, another file of it computes right."""
    rig, done, finished = make_node(gated=False), 0, 0
    program, picture, wanted = program_of("a311d", SMALL)
    for seed in range(80):
        calls = Mad(seed)
        try:
            with (
                EtnavivDevice(A311D, calls=calls) as device,
                PlacedProgram(device, program, bundle_folder=tmp_path) as placed,
            ):
                for _ in range(3):
                    found = placed.run([picture])[0]
                    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
                    finished += 1
        except DeviceError:
            pass
        done += calls.done
    gone(rig)
    assert done > 50
    assert finished > 30
    with EtnavivDevice(A311D, calls=Bracketed()) as device:
        moved = Moved(device, "a311d", SMALL)
        moved.run()
        assert moved.off_by() <= 1


@pytest.mark.parametrize("handle", [0, 1])
def test_a_kernel_that_gives_a_buffer_twice(make_node, handle):
    rig, calls = make_node(gated=False), Lying()
    with EtnavivDevice(A311D, calls=calls) as device:
        device.allocate(PAGE)
        calls.fail(uapi.GEM_NEW, handle=handle)
        with pytest.raises(DeviceError, match=f"gave buffer {handle}, which is none or in use"):
            device.allocate(PAGE)
        calls.fail(-1)
        assert device.allocate(PAGE).address == uapi.SOFTPIN_START + PAGE
    gone(rig)  # the buffer that was lied about goes with the file


def test_a_kernel_that_gives_a_place_that_cannot_be_mapped(make_node):
    rig, calls = make_node(gated=False), Lying()
    with EtnavivDevice(A311D, calls=calls) as device:
        calls.fail(uapi.GEM_INFO, offset=12345 << 12)
        with pytest.raises(DeviceError, match="cannot map 4096 bytes"):
            device.allocate(PAGE)
        assert rig.node.live_buffers == 0
        calls.fail(-1)
        assert device.allocate(PAGE).address == uapi.SOFTPIN_START


def test_a_kernel_that_gives_a_fence_of_nobodys(make_node):
    """Such a fence counts as signalled; the buffer's own is waited for then."""
    make_node(gated=False)
    calls = Lying()
    with EtnavivDevice(A311D, calls=calls) as device:
        moved = Moved(device, "a311d", SMALL)
        calls.fail(uapi.SUBMIT, fence=0xFFFFFFFF)
        moved.run()
        assert moved.off_by() <= 1


def test_a_closed_device_releases_though_the_kernel_refuses(make_node):
    rig, calls = make_node(gated=False), Lying()
    device = EtnavivDevice(A311D, calls=calls)
    device.allocate(PAGE)
    calls.fail(drm.GEM_CLOSE, errno.EIO)
    device.close()
    device.close()
    with pytest.raises(DeviceError, match="the device is closed"):
        device.allocate(PAGE)
    gone(rig)


def use(device: EtnavivDevice, moved: Moved) -> None:
    """Make every kind of call."""
    device.allocate(PAGE)
    moved.clear()
    moved.run()
