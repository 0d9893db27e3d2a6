"""``rocketnpu selftest``: does this device compute what the simulator computes?

Small networks run on both and are compared byte for byte. Each covers one way in which an NPU is used; all their
numbers come from a fixed seed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from rocketnpu.cli.output import chip_option, echo, json_option, print_json
from rocketnpu.compiler import compile_graph
from rocketnpu.device.base import Device
from rocketnpu.device.discover import open_device
from rocketnpu.device.doctor import examine
from rocketnpu.device.executor import Array, run
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.device.standing import policy_of
from rocketnpu.errors import DeviceError
from rocketnpu.files.writing import write_file
from rocketnpu.graph import Activation, DType, Padding
from rocketnpu.graph import operators as ops
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.model.tflite import parse
from rocketnpu.policy import DEFAULT_CHIP, Policy, Target
from rocketnpu.program.program import Program
from rocketnpu.proofs.child import LIMIT

_SEED = 3588
_SCALE, _ZERO_POINT = 0.05, 128
_WEIGHT_SCALE, _WEIGHT_ZERO_POINT = 0.006, 128


@dataclass(frozen=True)
class Case:
    """A network with one input and one output, and what it is meant to show."""

    name: str
    about: str
    model: bytes

    def program(self, policy: Policy | None = None) -> Program:
        """Compile it, by proven rules only where no policy says otherwise."""
        return compile_graph(parse(self.model), policy or proven_policy())

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return an input of its shape."""
        shape = parse(self.model).tensors[parse(self.model).inputs[0]].shape
        return np.random.default_rng(_SEED).integers(0, 256, shape, np.uint8)


@dataclass(frozen=True)
class Outcome:
    """What became of a case. ``error`` is empty where the device ran to its end."""

    name: str
    about: str
    equal: bool
    differing: int
    total: int
    first: tuple[int, ...]
    """Coordinate of the first wrong element; empty if there is none."""
    seconds: float
    error: str


class _Network:
    """A chain of convolutions under construction."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        self.builder = ModelBuilder()
        self.random = np.random.default_rng(_SEED)
        self.first = self.last = self._feature((1, height, width, channels))
        self.shape = (1, height, width, channels)

    def _feature(self, shape: tuple[int, ...]) -> int:
        return self.builder.tensor(shape, DType.UINT8, scale=_SCALE, zero_point=_ZERO_POINT)

    def convolve(self, outputs: int, kernel: int, stride: int = 1, *, depthwise: bool = False) -> _Network:
        _, height, width, channels = self.shape
        shape = (1, kernel, kernel, channels) if depthwise else (outputs, kernel, kernel, channels)
        values = self.random.integers(0, 256, shape)
        scale, zero = _WEIGHT_SCALE / (kernel * (1 if depthwise else channels**0.5)), _WEIGHT_ZERO_POINT
        weights = self.builder.tensor(shape, DType.UINT8, scale=scale, zero_point=zero, data=values)
        bias = self.builder.tensor(
            (outputs,), DType.INT32, scale=scale * _SCALE, data=self.random.integers(-999, 999, outputs)
        )
        attributes = (
            ops.DepthwiseConv2D(stride=(stride, stride), padding=Padding.SAME, activation=Activation.RELU)
            if depthwise
            else ops.Conv2D(stride=(stride, stride), padding=Padding.SAME)
        )
        self.shape = (1, -(-height // stride), -(-width // stride), outputs)
        made = self._feature(self.shape)
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.builder.operator(kind, [self.last, weights, bias], [made], attributes)
        self.last = made
        return self

    def done(self) -> bytes:
        return self.builder.build([self.first], [self.last])


def cases() -> list[Case]:
    """Return the cases, simplest first."""
    return [
        Case("pointwise", "1x1 convolution, one task", _Network(8, 8, 32).convolve(32, 1).done()),
        Case(
            "stem",
            "3x3 convolution of a three-channel picture, stride 2",
            _Network(32, 32, 3).convolve(16, 3, 2).done(),
        ),
        Case("depthwise", "3x3 depthwise convolution", _Network(16, 16, 64).convolve(64, 3, depthwise=True).done()),
        Case("odd", "sizes that divide by nothing", _Network(7, 11, 19).convolve(37, 3).done()),
        Case("tiled", "more rows than the buffer holds: several tasks", _Network(112, 112, 32).convolve(16, 3).done()),
        Case(
            "chain",
            "tasks that read what earlier ones wrote",
            _Network(28, 28, 16)
            .convolve(32, 3)
            .convolve(32, 3, 2, depthwise=True)
            .convolve(48, 1)
            .convolve(16, 3)
            .done(),
        ),
    ]


def compare(
    device: Device,
    chosen: Sequence[Case],
    tell: Callable[[Outcome], None] = lambda _outcome: None,
    target: Target | None = None,
) -> list[Outcome]:
    """Run cases on the device and on a fresh simulator; ``tell`` hears of each as soon as it is known.

    A board runs programs for its own rules, the simulator those of a board with the driver ``target``.

    A case whose device fails is an outcome with an error, and the next case runs.
    """
    outcomes = []
    for case in chosen:
        outcomes.append(_compare(device, case, target))
        tell(outcomes[-1])
    return outcomes


def _compare(device: Device, case: Case, target: Target | None) -> Outcome:
    # A board's own policy has what was proven on it; the simulator runs what any board would.
    policy = policy_of(device, target=target or "mainline")
    program, picture = case.program(policy), case.picture()
    with SimulatorDevice(chip=device.chip) as simulator:
        wanted = run(simulator, program, [picture])[0]
    start = time.perf_counter()
    try:
        found = run(device, program, [picture])[0]
    except DeviceError as error:
        return Outcome(case.name, case.about, False, 0, wanted.size, (), time.perf_counter() - start, str(error))
    seconds = time.perf_counter() - start
    wrong = np.argwhere(found != wanted)
    first = tuple(int(index) for index in wrong[0]) if len(wrong) else ()
    return Outcome(case.name, case.about, not len(wrong), len(wrong), wanted.size, first, seconds, "")


def proven_policy(chip: str = DEFAULT_CHIP) -> Policy:
    """Return the rules of a board with a chip, as far as they are proven."""
    return Policy("mainline", allow_unproven=False, chip=chip)


def expected(case: Case, chip: str = DEFAULT_CHIP) -> Array:
    """Return what a chip's simulator computes for a case."""
    with SimulatorDevice(chip=chip) as simulator:
        return run(simulator, case.program(proven_policy(chip)), [case.picture()])[0]


@click.command()
@click.option(
    "-d", "--device", "name", default="auto", show_default=True, help="auto, simulator, rocket, rknpu or etnaviv."
)
@click.option("-o", "--report", type=click.Path(path_type=Path), help="Write a report file that can be sent to others.")
@click.option("--rules", is_flag=True, help="Ask the board for hardware rules that nobody has proven.")
@click.option("--risky", is_flag=True, help="With --rules: also run what may hang the board until its power is cut.")
@click.option(
    "--limit",
    type=click.FloatRange(min=1),
    default=LIMIT,
    show_default=True,
    help="With --rules: seconds that one program may take.",
)
@click.option(
    "--target",
    type=click.Choice(["mainline", "vendor"]),
    default="mainline",
    show_default=True,
    help="Whose programs the simulator runs; a board runs its own.",
)
@chip_option
@json_option
def selftest(
    name: str, report: Path | None, rules: bool, risky: bool, limit: float, target: Target, chip: str, as_json: bool
) -> int:
    """Run small networks on the device and on the simulator and compare every byte.

    With --rules: run a small program for each hardware rule that is not proven, whose output differs between the rule
    and what else it might be. What the board answers is kept in the user's configuration folder for this chip, driver,
    driver version and kernel; from then on programs for this board use what it proved, and nothing that it refuted.
    Each program runs in a process of its own; those that may hang a board need --risky.

    Exit status 0 if all are equal, or no rule was refuted or hangs; else 1.
    """
    if risky and not rules:
        raise click.UsageError("--risky belongs to --rules")
    if rules:
        return _ask_board(name, risky, limit, report, as_json)

    def tell(outcome: Outcome) -> None:
        if not as_json:
            echo(_line(outcome))

    with open_device(name, chip=chip) as device:
        outcomes = compare(device, cases(), tell, target)
        found = {"device": device.name, "equal": all(outcome.equal for outcome in outcomes)}
    found |= {"cases": [asdict(outcome) for outcome in outcomes], "machine": [asdict(fact) for fact in examine()]}
    if as_json:
        print_json(found)
    else:
        good = sum(outcome.equal for outcome in outcomes)
        echo(f"{good} of {len(outcomes)} networks give the simulator's bytes on the device {found['device']}")
    if report:
        _write(report, found)
    return 0 if found["equal"] else 1


def _ask_board(name: str, risky: bool, limit: float, report: Path | None, as_json: bool) -> int:
    from rocketnpu.cli.device.rules import ask_board

    document, good = ask_board(name, risky=risky, limit=limit, as_json=as_json)
    if report:
        _write(report, document)
    return 0 if good else 1


def _line(outcome: Outcome) -> str:
    if outcome.equal:
        verdict = f"equal, {outcome.total} bytes, {outcome.seconds * 1e3:.1f} ms"
    elif outcome.error:
        verdict = f"FAILED: {outcome.error}"
    else:
        verdict = f"DIFFERENT: {outcome.differing} of {outcome.total} bytes, the first at {outcome.first}"
    return f"{outcome.name:10} {verdict}  ({outcome.about})"


def _write(path: Path, found: dict[str, object]) -> None:
    write_file(path, (json.dumps(found, indent=1) + "\n").encode(), "the report", DeviceError)
    echo(f"report: {path}", err=True)
