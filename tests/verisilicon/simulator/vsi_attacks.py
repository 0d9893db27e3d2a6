"""Damaged streams, instructions and coefficients: our errors or a result, and soon.

    python tests/verisilicon/simulator/vsi_attacks.py COUNT [FIRST_SEED]

runs COUNT of them and prints what came of it. Each seed damages one packaged recording.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import vsi_recordings as recorded

from rocketnpu.errors import RocketError
from rocketnpu.verisilicon.registers.instruction import WORD
from rocketnpu.verisilicon.streams.disassembly import assemble, sections, to_text
from rocketnpu.verisilicon.streams.jobs import jobs_of
from rocketnpu.verisilicon.streams.machine import Machine
from rocketnpu.verisilicon.streams.recording import Recording, Submission, load

INTERESTING = np.array([0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], "<u4")


@cache
def originals() -> tuple[Recording, ...]:
    """The packaged recordings of both chips."""
    return tuple(load(path) for chip in recorded.CHIPS for path in sorted((recorded.PACKAGED / chip).glob("*.zip")))


def attack(recordings: tuple[Recording, ...], seed: int) -> str:
    """Damage a recording, run it, take it apart; return what happened.

    Raises:
        Exception: whatever is not one of ours.
    """
    random = np.random.default_rng(seed)
    recording = recordings[int(random.integers(len(recordings)))]
    submission = recording.submissions[-1]
    stream = submission.stream.copy()
    where = random.choice(["stream", "instruction", "coefficients", "fields"], p=[0.2, 0.3, 0.2, 0.3])
    if where == "stream":
        damage(random, stream)
    machine = Machine(Submission(submission.buffers, stream), recording.soc)
    jobs, _ = jobs_of(submission, recording.soc)
    if where != "stream":
        job = jobs[int(random.integers(len(jobs)))]
        array, offset = machine.memory.find(job.address, job.address + 1)
        words = array[offset : offset + job.layout.size * WORD].view("<u4")
        if where == "fields":
            change_fields(random, job.layout, words)
        elif where == "instruction" or job.kernels is None:
            damage(random, words)
        else:
            array, offset = machine.memory.find(job.nn.coefficients, job.nn.coefficients + 1)
            damage(random, array[offset : offset + job.kernels.size // 4 * 4].view("<u4"))
    result = f"{where}: {run(machine)}"
    broken = Submission(submission.buffers, stream)
    changed = Recording(
        *(getattr(recording, name) for name in ("producer", "model", "model_sha256", "soc", "identity", "plan")),
        (broken,),
        *(getattr(recording, name) for name in ("inputs", "outputs", "input_data", "reference")),
    )
    assert assemble(to_text(changed, "broken", full=False)) == sections(changed, full=False)
    return result


def run(machine: Machine) -> str:
    """Run a stream; return what came of it."""
    try:
        machine.run()
    except RocketError as error:
        return type(error).__name__
    return "a result"


def damage(random: np.random.Generator, words: np.ndarray) -> None:
    """Change a few words: bits, values at the edge, or anything."""
    for place in random.integers(0, len(words), random.integers(1, 4)):
        kind = random.integers(3)
        if kind == 0:
            words[place] ^= np.uint32(1 << int(random.integers(32)))
        elif kind == 1:
            words[place] = random.choice(INTERESTING)
        else:
            words[place] = random.integers(0, 2**32)


def change_fields(random: np.random.Generator, layout, words: np.ndarray) -> None:
    """Give some fields values near what they have, or at their edges."""
    fields = layout.decode(words)
    names = sorted(fields)
    for name in random.choice(names, random.integers(1, 4)):
        pieces = layout.pieces[name]
        spec = pieces[0].register.fields[pieces[0].part]
        width = pieces[-1].high + 1
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if spec.signed else (0, (1 << width) - 1)
        near = fields[name] + int(random.integers(-3, 4))
        value = choose(
            random, [low, high, min(max(near, low), high), low + int(random.integers(0, 2**62)) % (high - low + 1)]
        )
        fields[name] = value
    words[:] = layout.encode(fields)


def choose(random: np.random.Generator, values: list[int]) -> int:
    """Return one of some numbers of any size."""
    return values[int(random.integers(len(values)))]


def main() -> None:
    """Run many."""
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    found: Counter[str] = Counter()
    slowest, start = 0.0, time.perf_counter()
    for seed in range(first, first + count):
        begun = time.perf_counter()
        try:
            found[attack(originals(), seed)] += 1
        except Exception:
            print(f"seed {seed}", file=sys.stderr)
            raise
        slowest = max(slowest, time.perf_counter() - begun)
    print(f"{count} attacks in {time.perf_counter() - start:.0f} s, the slowest {slowest:.2f} s")
    for what, number in sorted(found.items()):
        print(f"{number:6} {what}")


if __name__ == "__main__":
    main()
