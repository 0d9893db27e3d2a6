"""jobs.py CASE [COUNT] - jobs that hang, fault, run beside each other, or are killed; runs in the guest.

Prints what it sees; exit status 0 if every inference that should be right was right.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from rocketnpu.cli.device.selftest import cases
from rocketnpu.device.discover import open_device
from rocketnpu.device.executor import PlacedProgram, run
from rocketnpu.device.failure import JobFailedError
from rocketnpu.device.group import run_many
from rocketnpu.device.simulator import SimulatorDevice

CHAIN = next(case for case in cases() if case.name == "chain")
PICTURE = CHAIN.picture()
PROGRAM = CHAIN.program()
TASKS = len(PROGRAM.jobs[-1].tasks)
ENABLE, FEATURE_ADDRESS, DESTINATION = 0x0008, 0x1070, 0x4020
"""Register offsets in command words (OPERATION_ENABLE, CNA FEATURE_DATA_ADDR, DPU DST_BASE_ADDR)."""


def wanted() -> np.ndarray:
    with SimulatorDevice() as device:
        return run(device, PROGRAM, [PICTURE])[0]


def corrupted(register: int, value: int) -> int:
    """Break one word of a task, see the failure reported, mend it, and see the next inference right."""
    right, task = wanted(), TASKS // 2
    with open_device("rocket") as device, PlacedProgram(device, PROGRAM, bundle_folder=Path("/out")) as placed:
        before = np.array_equal(placed.run([PICTURE])[0], right)
        words = placed.task_words(len(PROGRAM.jobs) - 1, task)
        kept = words.copy()
        for number in [number for number, word in enumerate(words.tolist()) if word & 0xFFFF == register]:
            words[number] = kept[number] & ~np.uint64(0xFFFFFFFF << 16) | np.uint64(value << 16)
        assert not np.array_equal(words, kept)
        device.sync_for_device(placed.buffers[PROGRAM.commands])
        try:
            placed.run([PICTURE])
            found = False
            print("no error was reported")
        except JobFailedError as error:
            found = error.task == task and error.bundle is not None and error.bundle.exists()
            print(f"JobFailedError: task {error.task} of {TASKS}, corrupted {task}; bundle {error.bundle}\n{error}")
        words[:] = kept
        device.sync_for_device(placed.buffers[PROGRAM.commands])
        after = np.array_equal(placed.run([PICTURE])[0], right)
        print(f"before: {before}, found: {found}, after: {after}")
        return int(not (before and found and after))


def loop(count: int) -> int:
    right = wanted()
    with open_device("rocket") as device, PlacedProgram(device, PROGRAM) as placed:
        print("ready", flush=True)
        wrong = sum(not np.array_equal(placed.run([PICTURE])[0], right) for _ in range(count))
        time.sleep(0.1)
    print(f"{count} inferences, {wrong} wrong")
    return int(wrong > 0)


def cores() -> int:
    right, status = wanted(), 0
    for number in (1, 2, 3):
        with open_device("rocket", cores=number) as group:
            members = group.members if number > 1 else [group]
            outputs = run_many(members, PROGRAM, [[PICTURE]] * 9)
            time.sleep(0.1)
        equal = sum(np.array_equal(output[0], right) for output in outputs)
        print(f"{number} descriptors: {equal} of 9 equal", flush=True)
        status |= equal != 9
    return status


def closes(count: int) -> int:
    """Close right after the last job, which a driver may or may not survive: printed, not required."""
    right, wrong, before = wanted(), 0, unclean()
    for _ in range(count):
        with open_device("rocket") as device, PlacedProgram(device, PROGRAM) as placed:
            wrong += not np.array_equal(placed.run([PICTURE])[0], right)
    time.sleep(0.5)
    print(f"{count} closes right after the last job: {wrong} wrong, not clean {unclean() - before}")
    return int(wrong > 0)


def kills(count: int) -> int:
    """Kill a process in mid-job until the kernel complains, at most ``count`` times."""
    for number in range(1, count + 1):
        if kill(number, guard="off"):
            return 0
    print("not seen")
    return 0


def guarded(count: int) -> int:
    """Kill processes in mid-job whose node another one keeps open: the kernel must not complain."""
    return int(sum(kill(number, guard="on") for number in range(1, count + 1)) > 0)


def kill(number: int, guard: str) -> int:
    """Kill one process in mid-job; return how often the kernel complained."""
    before = unclean()
    command = [sys.executable, __file__, "loop", "1000"]
    environment = os.environ | {"ROCKETNPU_GUARD": guard}
    victim = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert victim.stdout is not None
    victim.stdout.readline()
    time.sleep(0.15 + 0.037 * number)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    time.sleep(2.0)
    found = unclean() - before
    print(f"kill {number}, guard {guard}: not clean {found}", flush=True)
    return found


def unclean() -> int:
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    return log.count("Memory manager not clean")


case, *numbers = sys.argv[1:]
count = int(numbers[0]) if numbers else 1
actions = {
    "hang": lambda: corrupted(ENABLE, 0x5),
    "readfault": lambda: corrupted(FEATURE_ADDRESS, 0xD000_0000),
    "writefault": lambda: corrupted(DESTINATION, 0xE000_0000),
    "loop": lambda: loop(count),
    "cores": cores,
    "closes": lambda: closes(count),
    "kills": lambda: kills(count),
    "guarded": lambda: guarded(count),
}
sys.exit(actions[case]())
