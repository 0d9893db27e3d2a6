"""The emulated etnaviv driver: identity, soft pinning, buffers, submissions, fences, errors; and recorded streams."""

from __future__ import annotations

import ctypes
import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from etnaviv_node import HIGH, EtnavivFile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vsi_recordings as recorded

from rocketnpu.device import uapi as drm
from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi
from rocketnpu.verisilicon.soc import SOCS
from rocketnpu.verisilicon.streams.machine import as_tensor
from rocketnpu.verisilicon.streams.recording import load


@pytest.mark.parametrize("chip", recorded.CHIPS)
def test_who_answers(make_node, chip):
    make_node(chip)
    file = EtnavivFile()
    name = ctypes.create_string_buffer(16)
    version = drm.Version(name_length=15, name=ctypes.addressof(name))
    assert file.do(drm.VERSION, version) == 0
    assert (name.value, version.major, version.minor) == (b"etnaviv", 1, 4)
    identity = SOCS[chip].identity
    wanted = [identity.model, identity.revision, identity.product, identity.customer, identity.eco]
    assert [file.param(number)[1] for number in (1, 2, 0x1C, 0x1D, 0x1E)] == wanted
    assert file.param(0x1B) == (0, 4 << 20)
    assert file.param(3) == (0, 0)
    assert [file.param(1, pipe)[0] for pipe in (1, 3, 4)] == [errno.ENXIO, errno.ENXIO, errno.EINVAL]
    assert file.param(0x99)[0] == errno.EINVAL
    file.close()


def test_buffers(etnaviv):
    assert [etnaviv.new(4096, flags)[0] for flags in (0, 0x30000, 1, 0x10000, 0x20000, 0x120000, 0x40000)] == [
        errno.EINVAL,
        errno.EINVAL,
        errno.EINVAL,
        0,
        0,
        0,
        0,
    ]
    assert etnaviv.new(0)[0] == errno.EINVAL
    handle = etnaviv.handle(10000)
    assert etnaviv.mmap(etnaviv.offset(handle), 12288) == 0
    assert etnaviv.mmap(etnaviv.offset(handle), 16384) == errno.EINVAL
    assert etnaviv.do(uapi.GEM_INFO, uapi.GemInfo(handle, 1, 0)) == errno.EINVAL
    assert etnaviv.do(uapi.GEM_INFO, uapi.GemInfo(99, 0, 0)) == errno.ENOENT
    assert [etnaviv.prepare(handle), etnaviv.finish(handle)] == [0, 0]
    assert [etnaviv.prepare(handle, 8), etnaviv.finish(handle, 1)] == [errno.EINVAL, errno.EINVAL]
    assert [etnaviv.prepare(99), etnaviv.finish(99)] == [errno.ENOENT, errno.ENOENT]
    assert etnaviv.gem_close(handle) == 0
    assert etnaviv.gem_close(handle) == errno.EINVAL


def test_memory_ends(make_node):
    make_node(memory=1 << 16)
    file = EtnavivFile()
    assert file.new(1 << 17)[0] == errno.ENOMEM
    assert file.new(1 << 16)[0] == 0
    assert file.new(1)[0] == errno.ENOMEM
    file.close()


def test_a_submission_runs_and_is_waited_for(etnaviv_rig, etnaviv):
    handle = etnaviv.handle()
    error, fence = etnaviv.send([(uapi.SUBMIT_BO_WRITE, handle, HIGH)], [HIGH + 8, 0])
    assert (error, fence) == (0, 1)
    nonblocking = uapi.WAIT_NONBLOCK
    assert etnaviv.wait(fence, flags=nonblocking) == errno.EBUSY
    assert etnaviv.wait(fence, seconds=0.01) == errno.ETIMEDOUT
    assert etnaviv.wait(fence, seconds=-1) == errno.ETIMEDOUT
    assert etnaviv.prepare(handle, uapi.PREP_READ | uapi.PREP_NOSYNC) == errno.EBUSY
    assert etnaviv.gem_wait(handle, flags=nonblocking) == errno.EBUSY
    etnaviv_rig.npu.gate.set()
    assert [etnaviv.prepare(handle), etnaviv.wait(fence), etnaviv.gem_wait(handle)] == [0, 0, 0]
    assert etnaviv.contents(handle, 16)[8] == 1
    assert etnaviv.wait(fence + 5) == 0  # one that was never given counts as signalled
    assert etnaviv.wait(fence, pipe=1) == errno.ENXIO
    assert etnaviv_rig.npu.ran == [[HIGH + 8, 0]]


def test_readers_do_not_wait_for_readers(etnaviv_rig, etnaviv):
    handle = etnaviv.handle()
    etnaviv.send([(uapi.SUBMIT_BO_READ, handle, HIGH)], [])
    assert etnaviv.prepare(handle, uapi.PREP_READ | uapi.PREP_NOSYNC) == 0
    assert etnaviv.prepare(handle, uapi.PREP_WRITE | uapi.PREP_NOSYNC) == errno.EBUSY
    etnaviv_rig.npu.gate.set()
    assert etnaviv.prepare(handle, uapi.PREP_WRITE) == 0


def test_soft_pinning(etnaviv_rig, etnaviv):
    one, other = etnaviv.handle(8192), etnaviv.handle()
    etnaviv_rig.npu.gate.set()
    assert etnaviv.send([(1, one, 4096)])[0] == errno.EINVAL  # below the first that user space may choose
    assert etnaviv.send([(1, one, HIGH + 1)])[0] == errno.EINVAL
    assert etnaviv.send([(1, one, (1 << 32) - 4096)])[0] == errno.EINVAL
    assert etnaviv.send([(1, one, HIGH)])[0] == 0
    assert etnaviv.gem_wait(one) == 0
    assert etnaviv.send([(1, one, HIGH + 0x10000)])[0] == 0  # it moves where nobody uses it
    assert etnaviv.gem_wait(one) == 0
    assert etnaviv.send([(1, other, HIGH + 0x11000)])[0] == 0  # and gives way
    assert etnaviv.gem_wait(other) == 0
    etnaviv_rig.npu.gate.clear()
    assert etnaviv.send([(1, one, HIGH)])[0] == 0
    assert etnaviv.send([(1, one, HIGH + 0x20000)])[0] == errno.EINVAL
    assert etnaviv.send([(1, other, HIGH + 4096)])[0] == errno.ENOSPC
    assert etnaviv.send([(1, one, HIGH), (1, one, HIGH)])[0] == errno.EALREADY
    etnaviv_rig.npu.gate.set()


def test_buffers_of_one_submission_are_all_in_use(etnaviv_rig, etnaviv):
    """None of them gives way to another: the job would run with addresses that are not there."""
    etnaviv_rig.npu.gate.set()
    one, other = etnaviv.handle(8192), etnaviv.handle()
    assert etnaviv.send([(1, one, HIGH), (2, other, HIGH + 4096)], [HIGH, 0])[0] == errno.ENOSPC
    assert etnaviv.send([(1, one, HIGH), (1, one, HIGH + 0x10000)])[0] == errno.EINVAL
    assert etnaviv.send([(1, one, HIGH), (2, other, HIGH + 8192)], [HIGH + 8192, 0])[0] == 0
    assert etnaviv.prepare(other) == 0
    assert etnaviv.contents(other, 1)[0] == 1
    assert etnaviv_rig.lines == []


def test_a_closed_buffer_that_a_job_uses_does_not_give_way(etnaviv_rig, etnaviv):
    one, other = etnaviv.handle(), etnaviv.handle()
    assert etnaviv.send([(2, one, HIGH)], [HIGH, 0])[0] == 0
    assert etnaviv.gem_close(one) == 0
    assert etnaviv.send([(2, other, HIGH)], [HIGH, 0])[0] == errno.ENOSPC
    etnaviv_rig.npu.gate.set()
    assert etnaviv.wait(1) == 0
    assert etnaviv.send([(2, other, HIGH)], [HIGH, 0])[0] == 0
    assert etnaviv.prepare(other) == 0
    assert etnaviv.contents(other, 1)[0] == 1


def test_relocations_find_room_between_and_behind(etnaviv_rig, etnaviv):
    etnaviv_rig.npu.gate.set()
    first, large, small = etnaviv.handle(), etnaviv.handle(0x10000), etnaviv.handle()
    start = uapi.SOFTPIN_START
    assert etnaviv.send([(1, first, start + 0x1000)], [start + 0x1000, 0])[0] == 0
    moved = [(0, 0, 0, 0), (4, 1, 0, 0)]
    assert etnaviv.send([(1, large, 0), (2, small, 0)], [0, 0], moved, flags=0)[0] == 0
    assert etnaviv.prepare(small) == 0
    assert etnaviv_rig.npu.ran[1] == [start + 0x2000, start + 0x12000]
    another = etnaviv.handle()
    assert etnaviv.send([(2, another, 0)], [0, 0], [(0, 0, 0, 0)], flags=0)[0] == 0
    assert etnaviv.prepare(another) == 0
    assert etnaviv_rig.npu.ran[2][0] == start, "the hole below"


def test_relocations_without_soft_pinning(etnaviv_rig, etnaviv):
    etnaviv_rig.npu.gate.set()
    one, other = etnaviv.handle(), etnaviv.handle()
    bos = [(2, one, 0), (2, other, 0)]
    error, fence = etnaviv.send(bos, [0, 0], [(0, 1, 16, 0)], flags=0)
    assert error == 0
    assert etnaviv.wait(fence) == 0
    assert etnaviv.contents(other, 32)[16] == 1
    assert etnaviv_rig.npu.ran[0][0] == uapi.SOFTPIN_START + 4096 + 16
    wrong = [(0, 0, 0, 1), (2, 0, 0, 0), (8, 0, 0, 0), (0, 2, 0, 0), (0, 0, 4093, 0)]
    assert {etnaviv.send(bos, [0, 0], [reloc], flags=0)[0] for reloc in wrong} == {errno.EINVAL}
    assert etnaviv.send([(2, one, HIGH)], [0, 0], [(0, 0, 0, 0)])[0] == errno.EINVAL


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"pipe": 1}, errno.ENXIO),
        ({"pipe": 4}, errno.EINVAL),
        ({"stream_size": 6}, errno.EINVAL),
        ({"exec_state": 3}, errno.EINVAL),
        ({"flags": 16}, errno.EINVAL),
        ({"flags": 12}, errno.EINVAL),
        ({"pmr_count": 1, "pmrs": 1}, errno.EFAULT),
        ({"bos": 0xDEAD0000}, errno.EFAULT),
        ({"stream": 0xDEAD0000}, errno.EFAULT),
        ({"bo_count": 0xFFFF_FFFF}, errno.EINVAL),
        ({"stream_size": 1 << 30}, errno.EINVAL),
        ({"bo_count": (128 << 10) + 1, "bos": 0xDEAD0000}, errno.EINVAL),
        ({"pipe": 1, "bos": 0xDEAD0000}, errno.ENXIO),
        ({"pmr_count": 129, "pmrs": 1}, errno.EINVAL),
    ],
)
def test_submissions_that_are_refused(etnaviv, changes, error):
    handle = etnaviv.handle()
    assert etnaviv.send([(2, handle, HIGH)], [0, 0], **changes)[0] == error
    assert etnaviv.gem_close(handle) == 0


def test_wrong_buffers_of_a_submission(etnaviv):
    handle = etnaviv.handle()
    assert etnaviv.send([(4, handle, HIGH)])[0] == errno.EINVAL
    assert etnaviv.send([(1, 99, HIGH)])[0] == errno.EINVAL


def test_a_job_that_fails_is_dropped_and_nobody_is_told(make_node):
    rig = make_node(gated=False)
    file = EtnavivFile()
    handle = file.handle()
    error, fence = file.send([(2, handle, HIGH)], [0x0801042E, HIGH + 0x1000])
    assert error == 0
    assert file.wait(fence) == 0
    assert file.prepare(handle) == 0
    assert len(rig.lines) == 1
    assert "submission 1 of 2 words: task 0, FE.PS_TP_INST_ADDR" in rig.lines[0]
    file.close()


@pytest.mark.parametrize("chip", recorded.CHIPS)
@pytest.mark.parametrize("name", ["c5x5_valid_u8_12x12x8_16", "logistic_i8_16x16x8"])
def test_a_recorded_program_through_the_node(make_node, chip, name):
    """Everything that stock Mesa handed over, handed over again: the bytes of the reference come out, or one beside."""
    rig = make_node(chip, gated=False)
    recording = load(recorded.PACKAGED / chip / f"{name}.zip")
    file = EtnavivFile()
    for submission in recording.submissions:
        handles = {}
        for buffer in submission.buffers:
            handles[buffer.handle] = file.handle(buffer.size)
            file.fill(handles[buffer.handle], buffer.content().tobytes())
        access = {"read": 1, "written": 2, "read and written": 3}
        bos = [(access[item.role], handles[item.handle], item.address) for item in submission.buffers]
        error, fence = file.send(bos, submission.stream)
        assert error == 0
        assert file.wait(fence) == 0
    target = next(item for item in submission.buffers if item.role == "written")
    assert file.prepare(handles[target.handle]) == 0
    wanted = recording.reference[recording.outputs[0].index]
    found = as_tensor(np.frombuffer(file.contents(handles[target.handle], target.size), np.uint8), wanted)
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
    assert rig.lines == []
    file.close()


def test_the_verb_answers_as_the_chip_that_is_named():
    code = (
        "import fcntl, os, struct\n"
        "fd = os.open('/dev/dri/renderD128', os.O_RDWR)\n"
        "argument = bytearray(struct.pack('<IIQ', 0, 2, 0))\n"
        "fcntl.ioctl(fd, 0xC0106440, argument)\n"
        "found = os.path.exists('/dev/dri/renderD128')\n"
        "print(hex(struct.unpack('<IIQ', argument)[2]), os.major(os.fstat(fd).st_rdev), found)"
    )
    command = [
        sys.executable,
        "-m",
        "rocketnpu.cli.main",
        "emulate",
        "--chip",
        "imx8mp",
        "--",
        sys.executable,
        "-c",
        code,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "0x8002 226 True\n"), done.stderr
    wrong = [*command[:4], "--chip", "rk1808", "--", "true"]
    done = subprocess.run(wrong, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "the chips are rk3588, a311d, imx8mp" in done.stderr
