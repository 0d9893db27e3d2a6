"""Whatever a program does to the node, node and program live on, and the next honest program is served."""

from __future__ import annotations

import ctypes
import errno
import random
import socket
import struct
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_node import BAD_POINTER, File, Rig, name

from rocketnpu.device import uapi as drm
from rocketnpu.emulator import wire
from rocketnpu.rockchip.drivers import rocket_uapi as uapi

ARENA = 1 << 16
"""Bytes of honest memory that hostile pointers may hit."""
ANSWERS = {
    0,
    *(
        errno.EINVAL,
        errno.EFAULT,
        errno.ENOENT,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ENOTTY,
        errno.EOPNOTSUPP,
        errno.EBUSY,
    ),
}
"""What the kernel's driver and the DRM core can say to such calls."""
COUNTS = st.sampled_from([0, 1, 2, 3, 50, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x1000_0000])
STRIDES = st.sampled_from([0, 7, 8, 9, 39, 40, 41, 64, 4096, 0xFFFF_FFFF])
POINTERS = st.sampled_from([0, 1, BAD_POINTER, 2**64 - 1, 2**63, "start", "middle", "end"])
NUMBERS = st.one_of(
    st.sampled_from([uapi.CREATE_BO, uapi.SUBMIT, uapi.PREP_BO, uapi.FINI_BO, drm.GEM_CLOSE, drm.VERSION]),
    st.builds(drm.number, st.integers(0, 3), st.integers(0, 255), st.integers(0, 0x3FFF)),
    st.integers(0, 2**32 - 1),
)
STEPS = st.one_of(
    st.tuples(st.just("ioctl"), NUMBERS, POINTERS, st.binary(max_size=64)),
    st.tuples(st.just("submit"), COUNTS, STRIDES, POINTERS, st.lists(st.tuples(*[COUNTS] * 4, POINTERS), max_size=3)),
    st.tuples(st.just("mmap"), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**40)),
    st.tuples(st.just("create"), st.integers(0, 1 << 20)),
    st.tuples(st.just("close"), st.integers(0, 9)),
)


@pytest.fixture
def open_rig(make_rig: Callable[..., Rig]) -> Rig:
    rig = make_rig(memory=1 << 24, job_timeout=0.0)
    rig.release()
    return rig


class Attacker:
    """Turns drawn steps into calls; each returns the error number."""

    def __init__(self) -> None:
        self.file = File()
        self.arena = (ctypes.c_uint8 * ARENA)()
        self.base = ctypes.addressof(self.arena)

    def pointer(self, drawn: int | str) -> int:
        return {"start": self.base, "middle": self.base + ARENA // 2, "end": self.base + ARENA - 8}.get(drawn, drawn)

    def ioctl(self, number: int, place: int | str, content: bytes) -> int:
        ctypes.memmove(self.base, content, len(content))
        # The arena's end is followed by memory that is this process's own; what the kernel writes there is harmless
        # only as long as it fits.
        target = self.base if place in ("middle", "end") else self.pointer(place)
        return self.file.raw(number, target)

    def submit(self, count: int, stride: int, place: int | str, jobs: list[tuple]) -> int:
        array = (uapi.Job * max(1, len(jobs)))()
        for number, (tasks, task_stride, reads, writes, where) in enumerate(jobs):
            pointer = self.pointer(where)
            array[number] = uapi.Job(pointer, pointer, pointer, tasks, task_stride, reads, writes)
        ctypes.memmove(self.base, bytes(array), ctypes.sizeof(array))
        request = uapi.Submit(self.pointer(place), count, stride, 0)
        return self.file.do(uapi.SUBMIT, request)

    def mmap(self, offset: int, length: int) -> int:
        return self.file.mmap(offset, length)

    def create(self, size: int) -> int:
        return self.file.do(uapi.CREATE_BO, uapi.CreateBo(size=size))

    def close(self, handle: int) -> int:
        return self.file.gem_close(handle)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=25))
def test_generated_attacks(open_rig: Rig, steps: list[tuple]) -> None:
    attacker = Attacker()
    try:
        for kind, *arguments in steps:
            code = getattr(attacker, kind)(*arguments)
            assert code in ANSWERS, name(code)
    finally:
        attacker.file.close()
    honest(open_rig)


def honest(rig: Rig) -> None:
    """A well-behaved program is served."""
    file = File()
    bo = file.create(4096)
    assert bo.dma_address == 0
    assert name(file.submit(([(0, 4)], [], [bo.handle]))) == name(file.prep(bo.handle)) == "0"
    assert file.byte(bo) == 1
    file.close()


def test_garbage_on_the_socket_itself(open_rig: Rig) -> None:
    """A program may write to the descriptor that it takes for a device."""
    choose = random.Random(3588)
    for _ in range(200):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as raw:
            raw.connect(str(open_rig.node.path))
            one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with one, two:
                operation = choose.choice([0, wire.OP_IOCTL, wire.OP_MMAP, 7])
                command = choose.choice([uapi.SUBMIT, uapi.PREP_BO, uapi.CREATE_BO, choose.getrandbits(32)])
                honest_header = wire.REQUEST.pack(operation, command, choose.getrandbits(64), choose.getrandbits(64))
                message = choose.choice([honest_header, choose.randbytes(choose.randrange(1, 200))])
                fds = [one.fileno(), two.fileno(), raw.fileno()][: choose.randrange(4)]
                socket.send_fds(raw, [message], fds)
    honest(open_rig)


def test_jobs_that_lie_about_their_length() -> None:
    for count in (1, 3, 2**20):
        for data in (b"", b"\0" * 15, struct.pack("<iIII", 0, 2**31, 0, 0), struct.pack("<iIII", 0, 1, 2**31, 2**31)):
            with pytest.raises(ValueError, match=r"short|buffer"):
                list(wire.parse_jobs(data, count))


def test_many_files_and_buffers(open_rig: Rig) -> None:
    files = [File() for _ in range(40)]
    for file in files:
        for size in range(1, 20):
            file.create(size)
    assert open_rig.node.live_buffers == 40 * 19
    for file in files:
        file.close()
    honest(open_rig)


def test_a_submission_of_millions_takes_no_more_than_its_bytes(make_rig: Callable[..., Rig]) -> None:
    """Lists of tasks and handles stay the bytes that came: as Python's numbers they take twenty times as much."""
    rig = make_rig(queued=1 << 20)
    file = File()
    bo = file.create(4096)
    count = 1 << 17
    tasks = (ctypes.c_uint64 * count)(*([4 << 32] * count))
    handles = (ctypes.c_uint32 * count)(*([bo.handle] * count))
    few = (ctypes.c_uint32 * 1)(bo.handle)
    jobs = (uapi.Job * 4)(
        uapi.Job(ctypes.addressof(tasks), 0, ctypes.addressof(few), count, 8, 0, 1),
        uapi.Job(ctypes.addressof(tasks), ctypes.addressof(handles), 0, 1, 8, count, 0),
        uapi.Job(ctypes.addressof(tasks), 0, ctypes.addressof(few), 1, 8, 0, 1),
        uapi.Job(ctypes.addressof(tasks), ctypes.addressof(tasks), 0, 1, 8, 2 * count, 0),
    )
    tracemalloc.start()
    try:
        assert file.do(uapi.SUBMIT, uapi.Submit(ctypes.addressof(jobs), 4, ctypes.sizeof(uapi.Job), 0)) == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    sent = count * (8 + 4 + 8) + 4 * ctypes.sizeof(uapi.Job)
    assert peak < 6 * sent
    never = "of a SUBMIT never runs"
    assert rig.lines == [
        f"job 0 {never}: Cannot allocate memory",
        f"job 1 {never}: Operation already in progress",
        f"job 3 {never}: No such file or directory",
    ]
    rig.release()
    assert file.prep(bo.handle) == 0
    assert file.byte(bo) == 1
    file.close()


def test_of_many_bad_jobs_a_few_are_told(open_rig: Rig) -> None:
    file = File()
    assert file.submit(*[([], [], [])] * 1000) == 0
    assert len(open_rig.lines) == 9
    assert open_rig.lines[-1] == "and 992 more jobs of it"
    file.close()
