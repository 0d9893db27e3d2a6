"""The unmodified rocket driver drives the simulated NPU: Debian's kernel and userland in QEMU.

Heavy: it fetches packages, builds two kernel modules and boots a virtual board, so it runs with ROCKETNPU_TEST_HEAVY=1
only. A machine that cannot make the board skips it and says why. What is made lies in the user's cache (about 220 MB).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from rocketnpu.board.board import Board, Work
from rocketnpu.board.kernel_log import complaints
from rocketnpu.board.machine import Outcome, Settings, Verdict
from rocketnpu.errors import BoardUnavailableError
from rocketnpu.rockchip.board.hardware import Rk3588Hardware

HEAVY = "ROCKETNPU_TEST_HEAVY"
GUEST = Path(__file__).parent / "guest"
INTEROP = Path(__file__).parents[1] / "interop"
HENS = Path(__file__).parents[2] / "examples" / "hens.jpg"
sys.path.insert(0, str(INTEROP))

import test_mesa  # noqa: E402
from test_mesa import Userland, infer, picture  # noqa: E402

arm64 = test_mesa.userland
"""The userland for qemu's user emulation: a fixture."""

MODELS = (
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v1_1.0_224_quant",
    "mobilenet_v2_1.0_224_quant",
    "resnet8_cifar10_int8",
    "tf2_mobilenet_v2_1.0_224_ptq",
)
CPU_STEPS = {"tf2_mobilenet_v2_1.0_224_ptq": 1}
"""How far outputs may lie apart where the last operator is LiteRT's int8 SOFTMAX, whose tables are made in floating
point: on two kinds of processor one of 1,001 bytes differs by a step, though all that the NPU gives is equal."""
MESA_MODEL, MESA_SIZE = "mobilenet_v1_0.25_128_quant", 128
BUGS = ("WARNING: ", "BUG: ", "Oops", "Internal error", "use-after-free", "Unable to handle", "not clean", "Call trace")
"""What a sound kernel never says, whatever a job does."""

pytestmark = [
    pytest.mark.skipif(not os.environ.get(HEAVY), reason=f"heavy: set {HEAVY}=1"),
    pytest.mark.xdist_group("board"),
]


@dataclass(frozen=True)
class Run:
    """A boot with its cases."""

    outcome: Outcome
    names: tuple[str, ...]
    verdicts: list[Verdict]

    def output(self, name: str) -> str:
        path = self.outcome.folder / f"{name}.txt"
        return path.read_text() if path.exists() else f"never ran; the board said: {self.outcome.serial[-2000:]}"

    def status(self, name: str) -> int | None:
        path = self.outcome.folder / f"{name}.status"
        return int(path.read_text()) if path.exists() else None

    def complaints(self, name: str) -> list[str]:
        following = [*self.names[self.names.index(name) + 1 :], "none"][0]
        return complaints(self.outcome.kernel_log, f"case {name}", f"case {following}")

    def check(self, name: str) -> str:
        """Assert that a case ended well and upset nobody; return its output."""
        assert self.status(name) == 0, self.output(name)
        assert self.complaints(name) == []
        return self.output(name)


@pytest.fixture(scope="session")
def ready() -> Board:
    try:
        return Board.prepare()
    except BoardUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def models(shared: Path) -> dict[str, Path]:
    return {name: shared / "models" / f"{name}.tflite" for name in MODELS}


def start(
    ready: Board,
    models: dict[str, Path],
    labels: Path,
    out: Path,
    names: tuple[str, ...],
    *,
    counted: bool,
    delay: float = 0.0,
) -> Run:
    files: dict[str, bytes | Path] = {path.name: path for path in GUEST.iterdir() if path.is_file()}
    files |= {f"models/{name}.tflite": path for name, path in models.items()}
    files |= {"hens.jpg": HENS, "labels.txt": labels, "mesa.py": INTEROP / "guest_run.py"}
    files[f"{MESA_MODEL}.input"] = picture(MESA_SIZE).tobytes()
    verdicts: list[Verdict] = []
    environment = {"COLUMNS": "150", "NO_COLOR": "1", "MESA_MODELS": MESA_MODEL}
    work = Work(("sh", "/payload/cases.sh", *names), out, files, environment)
    outcome = ready.run(Rk3588Hardware(verdicts.append, delay), Settings(counted=counted), work)
    print(f"\n{outcome.seconds:.1f} s of the host, {len(verdicts)} tasks\n{outcome.terminal}")
    return Run(outcome, names, verdicts)


NETWORKS = ("classify", "inprocess", "library", "mesa")
JOBS = ("doctor", "selftest", "two", "three", "permission", "hang", "readfault", "writefault", "clock")
"""What is broken on purpose comes last."""


@pytest.fixture(scope="session")
def counted(
    ready: Board, models: dict[str, Path], mobilenet_labels: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run]:
    """All cases in which time is the guest's own, by name; two boards at once, one a core of this machine."""

    def boot(names: tuple[str, ...]) -> Run:
        return start(ready, models, mobilenet_labels, tmp_path_factory.mktemp("counted"), names, counted=True)

    with ThreadPoolExecutor() as boards:
        runs = list(boards.map(boot, (NETWORKS, JOBS)))
    return {name: run for run in runs for name in run.names}


@pytest.fixture(scope="session")
def posted(
    ready: Board, models: dict[str, Path], mobilenet_labels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Cases in which tasks run beside the guest and take their time. The last may cost the machine its life."""
    out = tmp_path_factory.mktemp("posted")
    return start(ready, models, mobilenet_labels, out, ("three", "closes", "kills"), counted=False, delay=0.03)


@pytest.fixture(scope="session")
def reference(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models' outputs on this machine, through the emulated node, which has the board's policy."""
    folder = tmp_path_factory.mktemp("reference")
    for mode in ("whole", "layers"):
        (folder / mode).mkdir()
        infer = [sys.executable, str(GUEST / "infer.py"), "inprocess", mode, str(HENS), str(folder / mode)]
        command = [sys.executable, "-m", "rocketnpu", "emulate", "--", *infer, *map(str, models.values())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_the_doctor_finds_the_drivers_node(counted: dict[str, Run]) -> None:
    output = counted["doctor"].check("doctor")
    assert re.search(r"good +module +rocket is loaded", output)
    assert re.search(r"good +node +/dev/accel/accel0, driver rocket", output)
    assert re.search(r"good +IOMMU +3 NPU devices behind it", output)
    assert "An NPU can be used." in output


def test_every_network_of_the_selftest_is_equal(counted: dict[str, Run]) -> None:
    assert "6 of 6 networks give the simulator's bytes on the device rocket" in counted["selftest"].check("selftest")


def test_a_hen_is_seen(counted: dict[str, Run]) -> None:
    output = counted["classify"].check("classify")
    assert re.match(r"0\.\d+: hen\n", output)
    assert "device: rocket" in output


def parts(output: str, model: str) -> int:
    found = re.search(rf"^{re.escape(model)}: (\d+) parts", output, re.MULTILINE)
    assert found is not None, output
    return int(found[1])


@pytest.mark.parametrize("model", MODELS)
def test_a_models_output_in_process_is_that_of_this_machine(
    counted: dict[str, Run], reference: Path, model: str
) -> None:
    assert parts(counted["inprocess"].check("inprocess"), model) > 0
    places = (counted["inprocess"].outcome.folder / "inprocess", reference / "whole")
    got, wanted = (np.fromfile(place / f"{model}.bin", np.uint8).astype(int) for place in places)
    assert got.size == wanted.size > 0
    assert np.abs(got - wanted).max() <= CPU_STEPS.get(model, 0)


@pytest.mark.parametrize("model", MODELS)
def test_every_layers_bytes_by_the_library_are_those_of_this_machine(
    counted: dict[str, Run], reference: Path, model: str
) -> None:
    assert parts(counted["library"].check("library"), model) > 10
    places = (counted["library"].outcome.folder / "library", reference / "layers")
    got, wanted = ((place / f"{model}.npu").read_bytes() for place in places)
    assert len(got) == len(wanted) > 100_000
    assert got == wanted


def test_stock_mesas_bytes_are_those_on_the_emulated_node(
    counted: dict[str, Run], models: dict[str, Path], arm64: Userland, tmp_path: Path
) -> None:
    output = counted["mesa"].check("mesa")
    assert re.search(r"delegated partitions: [1-9]", output), output
    got = np.fromfile(counted["mesa"].outcome.folder / "mesa" / f"{MESA_MODEL}.bin", np.uint8)
    wanted, recorder = infer(arm64, models[MESA_MODEL], picture(MESA_SIZE), tmp_path)
    assert len(recorder.jobs) > 0
    assert np.array_equal(got, wanted)


def test_two_processes_do_not_disturb_each_other(counted: dict[str, Run]) -> None:
    assert counted["two"].check("two").count("10 inferences, 0 wrong") == 2


def test_three_descriptors_are_right(counted: dict[str, Run]) -> None:
    assert counted["three"].check("three").count("9 of 9 equal") == 3


def test_without_permission_it_says_so_and_touches_nothing(counted: dict[str, Run]) -> None:
    output = counted["permission"].check("permission")
    assert "doctor: 1" in output
    assert "selftest: 2" in output
    assert "ermission" in output
    assert "6 of 6 networks" in output, "with permission, an ordinary user needs nothing more"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hang", ["NPU job timed out"]),
        ("readfault", ["Page fault at 0x00000000d0000000 of type read", "NPU job timed out"]),
        ("writefault", ["Page fault at 0x00000000e0000000 of type write", "NPU job timed out"]),
        ("clock", ["NPU job timed out"]),
    ],
)
def test_a_broken_job_is_found_and_the_next_is_right(counted: dict[str, Run], name: str, said: list[str]) -> None:
    run = counted[name]
    assert run.status(name) == 0, run.output(name)
    assert "JobFailedError: task 2 of 4, corrupted 2" in run.output(name)
    found = run.complaints(name)
    for line in said:
        assert any(line in other for other in found), found
    assert not [line for line in found if any(bug in line for bug in BUGS)]


def test_no_task_would_be_wrong_on_silicon(counted: dict[str, Run]) -> None:
    for run in counted.values():
        assert run.outcome.status == 0
        assert not [verdict for verdict in run.verdicts if verdict.defects]
    assert {verdict.outcome for verdict in counted["classify"].verdicts} == {"done"}
    # The job fails, then its tasks one by one until the one that fails: twice for each of two cases of either kind.
    outcomes = Counter(verdict.outcome for verdict in counted["hang"].verdicts)
    assert (outcomes["hang"], outcomes["fault"]) == (4, 4)


def test_three_descriptors_use_three_cores_at_once(posted: Run) -> None:
    assert posted.check("three").count("9 of 9 equal") == 3
    spans = sorted((verdict.began, verdict.began + verdict.seconds, verdict.core) for verdict in posted.verdicts)
    most = max(len({core for began, ended, core in spans if began <= moment < ended}) for moment, _, _ in spans)
    assert most == 3


def test_a_killed_process_meets_the_kernels_use_after_free(posted: Run, ready: Board) -> None:
    """The kernel frees what a dead process's last job still needs, which shows as "Memory manager not clean"."""
    print(posted.output("closes"))
    assert posted.status("closes") == 0, posted.output("closes")
    output = posted.output("kills")
    print(output)
    seen = any("Memory manager not clean" in line for line in posted.complaints("kills"))
    if not seen:
        pytest.skip(f"not seen in 12 kills: Linux {ready.kernel.version}")
    assert re.search(r"not clean [1-9]", output) or posted.outcome.status is None
