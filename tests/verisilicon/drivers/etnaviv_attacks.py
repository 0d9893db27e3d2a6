"""Hostile calls to the emulated etnaviv node: the kernel's answers, and the next honest program is served.

    python tests/verisilicon/drivers/etnaviv_attacks.py COUNT [FIRST_SEED]

makes COUNT calls in files of some dozens each and prints what was answered.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from etnaviv_node import HIGH, EtnavivFile

from rocketnpu.device import uapi as drm
from rocketnpu.emulator import EmulatedNode, Limits, driver_of
from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi

ANSWERS = {
    0,
    *(errno.EINVAL, errno.EFAULT, errno.ENOENT, errno.ENOMEM, errno.ENOSPC, errno.ENOTTY, errno.EOPNOTSUPP),
    *(errno.EBUSY, errno.ETIMEDOUT, errno.ENXIO, errno.EALREADY),
}
"""What the kernel's driver and the DRM core can say to such calls."""
CALLS = (uapi.GET_PARAM, uapi.GEM_NEW, uapi.GEM_INFO, uapi.CPU_PREP, uapi.CPU_FINI, uapi.SUBMIT)
CALLS += (uapi.WAIT_FENCE, uapi.GEM_WAIT, drm.GEM_CLOSE, drm.VERSION)
EDGES = (0, 1, 2, 3, 4, 7, 8, 16, 0x1B, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
ADDRESSES = (0, 4096, uapi.SOFTPIN_START, HIGH, HIGH + 1, HIGH + 4096, (1 << 32) - 4096, 1 << 32, 2**64 - 1)
POINTERS = (0, 1, 0xDEAD0000, 2**63, 2**64 - 1)
STREAMS = (
    [],
    [0, 0],
    [0x0801042E, HIGH],
    [0x08010428, HIGH],
    [0x08010428, HIGH | 5, 0x0801042E, 0],
    [0x40000000, 0],
    [0x0BFF0000, 1],
)
ARENA = 1 << 12


class Attacker:
    """Makes calls out of random numbers; each returns the error number."""

    def __init__(self, choose: random.Random) -> None:
        self.choose, self.file = choose, EtnavivFile()
        self.arena = (ctypes.c_uint8 * ARENA)()
        self.base = ctypes.addressof(self.arena)

    def step(self) -> int:
        kinds = (self.ioctl, self.new, self.submit, self.submit, self.wait, self.mmap, self.close, self.buffer)
        return self.choose.choice(kinds)()

    def number(self) -> int:
        return self.choose.choice(EDGES) if self.choose.random() < 0.7 else self.choose.getrandbits(32)

    def ioctl(self) -> int:
        """Any number, any argument; what the kernel writes must fit the arena, so big ones only point elsewhere."""
        call = self.choose.choice(CALLS)
        if self.choose.random() < 0.4:
            call = drm.number(self.choose.randrange(4), self.choose.randrange(256), self.choose.randrange(0x4000))
        content = self.choose.randbytes(64)
        ctypes.memmove(self.base, content, len(content))
        big = call >> 16 & 0x3FFF > ARENA or self.choose.random() < 0.3
        if call & 0xFF in (0x00, 0x07):  # DRM core calls with pointers inside: those of VERSION would hit this process
            return self.file.raw(call, self.choose.choice(POINTERS))
        return self.file.raw(call, self.choose.choice(POINTERS) if big else self.base)

    def new(self) -> int:
        size = self.choose.choice((0, 1, 4096, 4097, 1 << 16, 1 << 40, 2**64 - 1))
        return self.file.new(size, self.choose.choice((0, 0x10000, 0x20000, 0x30000, 0x40000, 0x120000, 1)))[0]

    def handle(self) -> int:
        return self.choose.choice((1, 2, 3, 4, 0, 99, 2**32 - 1))

    def submit(self) -> int:
        buffers = [
            (self.choose.choice((0, 1, 2, 3, 4)), self.handle(), self.choose.choice(ADDRESSES))
            for _ in range(self.choose.randrange(4))
        ]
        relocs = [
            (self.choose.choice((0, 4, 5, 400)), self.choose.randrange(3), self.choose.choice((0, 4092, 2**63)), 0)
            for _ in range(self.choose.randrange(2))
        ]
        words = self.choose.choice(STREAMS)
        changes = {"flags": self.choose.choice((0, 8, 8, 8, 9, 12, 16))}
        if self.choose.random() < 0.3:
            field = self.choose.choice(("bo_count", "reloc_count", "stream_size", "pmr_count", "pipe", "exec_state"))
            changes[field] = self.number()
        if self.choose.random() < 0.2:
            changes[self.choose.choice(("bos", "relocs", "stream", "pmrs"))] = self.choose.choice(POINTERS)
        return self.file.send(buffers, words, relocs, **changes)[0]

    def wait(self) -> int:
        seconds = self.choose.choice((-1.0, 0.0, 0.01, -1e6))
        kind = self.choose.randrange(3)
        if kind == 0:
            return self.file.wait(
                self.number(), seconds, self.choose.choice((0, 1, 2)), self.choose.choice((0, 0, 1, 9))
            )
        if kind == 1:
            return self.file.gem_wait(self.handle(), seconds, self.choose.choice((0, 1, 2)))
        return self.file.prepare(self.handle(), self.choose.choice((1, 2, 3, 5, 7, 8)), seconds)

    def mmap(self) -> int:
        offset = self.choose.choice((0, 4096, 1 << 32, (1 << 32) + 4096, -(2**63), 2**62))
        return self.file.mmap(offset, self.choose.choice((0, 1, 4096, 1 << 20, 1 << 40)))

    def close(self) -> int:
        return self.file.gem_close(self.handle())

    def buffer(self) -> int:
        """Fill a buffer with what a stream may take for an instruction."""
        error, handle = self.file.new(4096)
        if error == 0:
            with contextlib.suppress(AssertionError):
                self.file.fill(handle, self.choose.randbytes(512))
        return error


def attack(seed: int, calls: int, answers: Counter[str]) -> None:
    """Open the node, make some calls, close it."""
    attacker = Attacker(random.Random(seed))
    try:
        for number in range(calls):
            code = attacker.step()
            answers[errno.errorcode.get(code, "0")] += 1
            assert code in ANSWERS, (seed, number, code)
    finally:
        attacker.file.close()


def honest() -> None:
    """A well-behaved program is served: a transposition of 4x4 pixels of four channels."""
    from rocketnpu.verisilicon.registers.tp import TP

    file = EtnavivFile()
    code, image, target = file.handle(), file.handle(), file.handle()
    fields = dict.fromkeys(("IMAGE_GLOBAL", "INT_TO_FLOAT", "FLOAT_TO_INT", "OUT_GLOBAL", "LAST"), 1)
    fields |= dict.fromkeys(("FLOAT_ROUNDING", "INT_ROUNDING", "TILE_X", "TILE_X_STEP"), 1)
    fields |= dict.fromkeys(("IN_X", "IN_Y", "IN_Z", "IN_STRIDE", "TILE_Y", "TILE_Y_STEP"), 4)
    fields |= {"IN_SLICE": 16, "WINDOW_X1": 3, "WINDOW_Y1": 3, "IN_ADDRESS": HIGH, "OUT_ADDRESS": HIGH + 0x1000}
    fields |= {f"COUNT_{number}": 4 if number < 3 else 1 for number in range(6)}
    fields |= {"INCREMENT_0": 1, "INCREMENT_1": 16, "INCREMENT_2": 4}
    file.fill(code, TP.encode(fields).tobytes())
    file.fill(image, bytes(range(64)))
    buffers = [(1, code, HIGH + 0x2000), (1, image, HIGH), (2, target, HIGH + 0x1000)]
    error, fence = file.send(buffers, [0x0801042E, HIGH + 0x2000])
    assert error == 0
    assert file.wait(fence) == 0
    wanted = bytes(16 * row + 4 * column + channel for channel in range(4) for row in range(4) for column in range(4))
    assert bytes(file.contents(target, 64)) == wanted
    file.close()


def main() -> None:
    """Make many calls."""
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    answers: Counter[str] = Counter()
    lines: list[str] = []
    start = time.perf_counter()
    limits = Limits(memory=1 << 24, job_timeout=0.0)
    with EmulatedNode(limits=limits, report=lines.append, driver=driver_of("a311d")) as node:
        os.environ |= node.variables()
        for seed in range(first, first + -(-count // 50)):
            attack(seed, 50, answers)
            if seed % 20 == 0:
                honest()
        honest()
        internal = [line for line in lines if "internal error" in line]
        assert not internal, internal[:3]
    print(f"{sum(answers.values())} calls in {time.perf_counter() - start:.0f} s, {len(lines)} jobs dropped")
    for what, number in sorted(answers.items()):
        print(f"{number:6} {what}")


if __name__ == "__main__":
    main()
