"""Attack the whole stack with seeded damage, outside CI, and count what comes out.

    python tests/attack/attack.py models|networks|onnx|programs|recordings|videos|commands --count N [--seed FIRST]

Each case runs under watch: an exception that is not ours, a signal, more than 20 seconds, more than 1 GB is a failure
and is printed with its seed, which makes the same case again. Exit status 1 if there was any.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "program"), str(TESTS / "attack")]

SECONDS, WAITED = 20, 200
"""Of a processor, and of the clock where a machine is busy with other things."""
KIBIBYTES = 1 << 20
"""1 GB of resident memory."""
SHOWN = 40


def models() -> Callable[[int], str]:
    """Damaged models: read, planned, and where the NPU takes something, compiled, run, and held against LiteRT."""
    import hostile_models

    return lambda seed: hostile_models.outcome(hostile_models.mutated(seed), seed)


def networks() -> Callable[[int], str]:
    """Damaged TFLite networks in which passes join operators."""
    import hostile_networks

    return lambda seed: hostile_networks.outcome(hostile_networks.mutated(seed), seed)


def onnx() -> Callable[[int], str]:
    """Damaged ONNX networks."""
    import hostile_networks

    return lambda seed: hostile_networks.outcome_onnx(hostile_networks.mutated_onnx(seed), seed)


def programs() -> Callable[[int], str]:
    """Program files with sound checksums around damaged headers and contents: loaded and run."""
    import hostile_programs

    from rocketnpu.compiler import compile_graph
    from rocketnpu.partition.plan import plan
    from rocketnpu.program import store
    from strategies import FAMILIES, case

    files = [
        store.to_bytes(compile_graph(part))
        for family in FAMILIES
        for seed in range(4)
        for part in plan(case(family, seed).graph).parts
    ]
    return lambda seed: hostile_programs.outcome(hostile_programs.mutated(files[seed % len(files)], seed))


def recordings() -> Callable[[int], str]:
    """Recordings with damaged descriptions and buffers: printed and replayed."""
    import hostile_recordings

    path = Path(tempfile.mkdtemp(prefix="rocketnpu-attack-"), "recording.zip")

    def case(seed: int) -> str:
        path.write_bytes(hostile_recordings.mutated(seed))
        return hostile_recordings.outcome(path)

    return case


def videos() -> Callable[[int], str]:
    """Damaged videos: read to their end."""
    import hostile_videos

    folder = Path(tempfile.mkdtemp(prefix="rocketnpu-attack-"))
    sound = [hostile_videos.write(folder / f"sound.{ending}") for ending in hostile_videos.ENDINGS]

    def case(seed: int) -> str:
        (folder / "video").write_bytes(hostile_videos.mutated(seed, sound[seed % len(sound)]))
        return hostile_videos.outcome(folder / "video")

    return case


def _worker(kind: str, first: int, last: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    case = KINDS[kind]()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)  # LiteRT says there why it refuses a model
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(first, last):
        pipe.send(("begin", seed, ""))
        try:
            found = case(seed)
        except BaseException as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            found = f"FAILED {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error!s:.90}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if peak > KIBIBYTES and peak > before:
            found, before = f"FAILED with {peak >> 10} MB (then: {found})", peak
        pipe.send(("end", seed, found))


def in_process(kind: str, first: int, count: int) -> collections.Counter[str]:
    """Run cases in a child, which is started again behind a case that ends or stops it."""
    found: collections.Counter[str] = collections.Counter()
    context, last, shown = multiprocessing.get_context("fork"), first + count, 0
    while first < last:
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_worker, args=(kind, first, last, there))
        child.start()
        there.close()
        text, seed = "", first - 1
        while first < last:
            try:
                if not here.poll(120 if seed < first else SECONDS):
                    text = f"FAILED: more than {SECONDS} s"
                    break
                what, seed, text = here.recv()
            except EOFError:
                child.join()
                text = f"FAILED: signal or exit {child.exitcode}"
                break
            if what == "begin":
                continue
            found[text.split(" at ")[0].split(" with ")[0] if text.startswith("FAILED") else text] += 1
            first = seed + 1
            if text.startswith("FAILED") and (shown := shown + 1) <= SHOWN:
                print(f"seed {seed}: {text}", flush=True)
        if first < last:
            found[text] += 1
            print(f"seed {first}: {text}", flush=True)
            first += 1
        child.kill()
        child.join()
    return found


def commands(first: int, count: int) -> collections.Counter[str]:
    """Run whole commands on damaged files."""
    import hostile_models
    import hostile_programs
    import hostile_recordings

    import hostile_videos
    import square_models
    from rocketnpu.compiler import compile_graph
    from rocketnpu.partition.plan import plan
    from rocketnpu.program import store
    from strategies import case

    folder = Path(tempfile.mkdtemp(prefix="rocketnpu-attack-"))
    program = store.to_bytes(compile_graph(plan(case("conv", 3).graph).parts[0]))
    hens = TESTS.parent / "examples" / "hens.jpg"
    detector, sound = folder / "detector.tflite", hostile_videos.write(folder / "sound.mp4")
    detector.write_bytes(square_models.tflite_yolo(8))
    boxes = {
        "images": [{"id": 1, "file_name": "hens.jpg"}],
        "categories": [{"id": 3, "name": "class 1"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 40], "area": 1200.0, "iscrowd": 0}],
    }
    found: collections.Counter[str] = collections.Counter()
    for seed in range(first, first + count):
        model, recording, binary = folder / "m.tflite", folder / "r.zip", folder / "p.rktprog"
        video, truth = folder / "v.mp4", folder / "boxes.json"
        verbs = (
            ["inspect", "-m", model],
            ["compare", "-m", model],
            ["compile", "-m", model, "-o", folder / "out.rktprog"],
            ["classify", "-m", model, "-i", hens, "-d", "simulator"],
            ["estimate", "-m", model],
            ["replay", recording],
            ["disassemble", recording],
            ["disassemble", binary],
            ["disassemble", "--assemble", model, "-o", folder / "words"],
            ["inspect", "--json", "-m", model],
            ["detect", "-m", detector, "-i", video, "-d", "simulator", "-o", folder / "drawn.mp4"],
            ["evaluate", "-m", detector, "-d", truth, "--pictures", hens.parent, "--device", "simulator", "-w", "1"],
            ["segment", "-m", model, "-i", hens, "-d", "simulator", "-o", folder / "drawn.png"],
            ["pose", "-m", model, "-i", hens, "-d", "simulator"],
        )
        verb = verbs[seed % len(verbs)]
        if recording in verb:
            recording.write_bytes(hostile_recordings.mutated(seed))
        elif binary in verb:
            binary.write_bytes(hostile_programs.mutated(program, seed))
        elif video in verb:
            video.write_bytes(hostile_videos.mutated(seed, sound))
        elif truth in verb:
            truth.write_bytes(hostile_recordings.described(json.dumps(boxes).encode(), np.random.default_rng(seed)))
        else:
            model.write_bytes(hostile_models.mutated(seed))
        text = _command([str(word) for word in verb])
        found[text] += 1
        if text.startswith("FAILED"):
            print(f"seed {seed}: {' '.join(map(str, verb))}: {text}", flush=True)
    return found


def _command(arguments: list[str]) -> str:
    began = time.monotonic()
    with tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            [sys.executable, "-m", "rocketnpu", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=err,
            stdin=subprocess.DEVNULL,
        )
        while True:
            number, status, used = os.wait4(child.pid, os.WNOHANG)
            if number:
                break
            if time.monotonic() - began > SECONDS and (_used(child.pid) > SECONDS or time.monotonic() - began > WAITED):
                child.kill()
                os.wait4(child.pid, 0)
                child.returncode = -9
                return f"FAILED: more than {SECONDS} s"
            time.sleep(0.01)
        child.returncode = os.waitstatus_to_exitcode(status)
        err.seek(0)
        said = err.read().decode(errors="replace")
    if child.returncode < 0 or child.returncode > 2:
        return f"FAILED: exit status {child.returncode}"
    if "Traceback" in said or "internal fault" in said:
        return f"FAILED: {said.strip().splitlines()[-1]:.200}"
    return f"FAILED: {used.ru_maxrss >> 10} MB" if used.ru_maxrss > KIBIBYTES else f"exit status {child.returncode}"


def _used(process: int) -> float:
    """Return the seconds of a processor that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


KINDS: dict[str, Callable[[], Callable[[int], str]]] = {
    "models": models,
    "networks": networks,
    "onnx": onnx,
    "programs": programs,
    "recordings": recordings,
    "videos": videos,
}


def main() -> int:
    """Run one kind of attack and print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=[*KINDS, "commands"])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    if given.kind == "commands":
        found = commands(given.seed, given.count)
    else:
        found = in_process(given.kind, given.seed, given.count)
    print(f"{given.count} {given.kind} from seed {given.seed} in {time.monotonic() - began:.0f} s")
    for text, number in sorted(found.items()):
        print(f"  {number:7} {text}")
    return int(any(text.startswith("FAILED") for text in found))


if __name__ == "__main__":
    sys.exit(main())
