"""Whatever a program does to the etnaviv node, node and program live on, and the next honest program is served."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter

from etnaviv_attacks import attack, honest

from rocketnpu.emulator import wire
from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi


def test_hostile_calls(make_node):
    """The long run is ``python tests/verisilicon/drivers/etnaviv_attacks.py 10000``."""
    rig = make_node(gated=False, memory=1 << 24, job_timeout=0.0)
    answers: Counter[str] = Counter()
    for seed in range(12):
        attack(seed, 40, answers)
    honest()
    assert {"0", "EINVAL", "EFAULT", "ENOENT"} <= set(answers)
    assert not [line for line in rig.lines if "internal error" in line]
    # The node learns of a close a moment after the program.
    end = time.monotonic() + 10
    while rig.node.live_buffers and time.monotonic() < end:
        time.sleep(0.01)
    assert rig.node.live_buffers == 0


def test_garbage_on_the_socket_itself(make_node):
    """A program may write to the descriptor that it takes for a device."""
    rig = make_node(gated=False, job_timeout=0.0)
    choose = random.Random(8002)
    for _ in range(150):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as raw:
            raw.connect(str(rig.node.path))
            one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with one, two:
                command = choose.choice([uapi.SUBMIT, uapi.CPU_PREP, uapi.GEM_NEW, choose.getrandbits(32)])
                header = wire.REQUEST.pack(choose.choice([0, 1, 2, 7]), command, choose.getrandbits(64), 4096)
                message = choose.choice([header, choose.randbytes(choose.randrange(1, 200))])
                fds = [one.fileno(), two.fileno(), raw.fileno()][: choose.randrange(4)]
                socket.send_fds(raw, [message], fds)
    honest()
