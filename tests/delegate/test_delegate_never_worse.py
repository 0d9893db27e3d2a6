"""What goes wrong while a delegate is applied leaves work on the CPU; it never ends the program."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from delegate_bench import chain, outputs, run, same, set_noise

from rocketnpu.delegate import Delegate, host_graph, session
from rocketnpu.device.base import Buffer
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError
from rocketnpu.graph import Graph
from rocketnpu.policy import Policy
from rocketnpu.program import store
from rocketnpu.program.cache import ProgramCache
from rocketnpu.program.program import Program

EVERYTHING = {"minimum_macs": 0}


def test_an_unforeseen_error_in_one_part_leaves_that_part_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model, compiled = chain("npu", "cpu", "npu"), []
    before = ProgramCache.program

    def program(self: ProgramCache, graph: Graph, policy: Policy) -> Program:
        compiled.append(graph.name)
        if graph.name.endswith("0"):
            raise ZeroDivisionError("nobody foresaw this")
        return before(self, graph, policy)

    monkeypatch.setattr(ProgramCache, "program", program)
    cpu = run(model, [])
    found = run(model, [Delegate(**EVERYTHING)])
    assert all(np.abs(one.astype(int) - two.astype(int)).max() <= 3 for one, two in zip(found, cpu, strict=True))
    said = "rocketnpu: part 0 stays on the CPU: internal fault, ZeroDivisionError: nobody foresaw this\n"
    assert said in capfd.readouterr().err
    assert len(compiled) >= 2


@pytest.mark.parametrize("place", ["read_graph", "plan"])
def test_an_unforeseen_error_before_that_leaves_everything_on_the_cpu(
    place: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise KeyError("nobody foresaw this")

    monkeypatch.setattr(*((host_graph, "read_graph") if place == "read_graph" else (session, "plan")), fail)
    model = chain("npu", "npu")
    assert same(run(model, [Delegate(**EVERYTHING)]), run(model, []))
    assert "everything stays on the CPU: internal fault, KeyError" in capfd.readouterr().err
    with pytest.raises(RuntimeError):
        run(model, [Delegate(require_full=True, **EVERYTHING)])


@pytest.mark.parametrize("broken", ["no home", "a file", "read only", "another's", "others may write"])
def test_without_a_usable_folder_it_goes_on_without_a_cache(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    monkeypatch.setenv("ROCKETNPU_CACHE", str(folder))
    if broken == "no home":
        monkeypatch.delenv("ROCKETNPU_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", classmethod(_no_home))
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
    elif broken == "a file":
        folder.write_text("")
    elif broken == "read only":
        folder = Path("/proc/self")  # root, too, may make no folder there
        monkeypatch.setenv("ROCKETNPU_CACHE", "/proc/self/none")
    else:
        (folder / "programs").mkdir(parents=True)
        (folder / "programs").chmod(0o777 if broken == "others may write" else 0o755)
        if broken == "another's":
            monkeypatch.setattr("os.geteuid", lambda: 12345)
            monkeypatch.setattr("os.getuid", lambda: 12345)
    model = chain("npu")
    expected = run(model, [Delegate(cache="off", **EVERYTHING)])
    assert same(run(model, [Delegate(**EVERYTHING)]), expected)
    err = capfd.readouterr().err
    if broken in {"no home", "another's", "others may write"}:
        assert err.count("rocketnpu: compiled programs are not kept: ") == 1
    if broken == "others may write":
        assert not list((folder / "programs").iterdir())


def _no_home(_kind: type[Path]) -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_cached_program_of_another_graph_is_not_run(tmp_path: Path) -> None:
    """Its bindings would read and write the host's memory by another network's shapes."""
    small, large = chain("npu", size=8), chain("npu", size=16)
    folder = tmp_path / "cache" / "programs"
    run(small, [Delegate(**EVERYTHING)])
    (of_small,) = folder.iterdir()
    expected = run(large, [Delegate(cache="off", **EVERYTHING)])
    run(large, [Delegate(**EVERYTHING)])
    (of_large,) = set(folder.iterdir()) - {of_small}
    whole = of_large.read_bytes()
    of_large.write_bytes(of_small.read_bytes())
    assert same(run(large, [Delegate(**EVERYTHING)]), expected)
    assert of_large.read_bytes() == whole, "compiled anew"
    assert store.load(of_large).inputs


def test_auto_says_that_it_falls_to_the_simulator(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ROCKETNPU_DEVICE")
    with Delegate() as made:
        if made.device_name != "simulator":
            pytest.skip("this machine has an NPU")
    assert capfd.readouterr().err == (
        "rocketnpu: there is no NPU here (`rocketnpu doctor` says why): running on the simulator\n"
    )
    with Delegate(device="simulator"):
        pass
    assert capfd.readouterr().err == ""


def test_an_interpreter_with_a_damaged_cache_runs(tmp_path: Path) -> None:
    model = chain("npu")
    expected = run(model, [Delegate(**EVERYTHING)])
    (entry,) = (tmp_path / "cache" / "programs").iterdir()
    entry.write_bytes(entry.read_bytes()[:100])
    made = Interpreter(model_content=model, experimental_delegates=[Delegate(**EVERYTHING)])
    made.allocate_tensors()
    assert same(run(model, [Delegate(**EVERYTHING)]), expected)


class Scarce(SimulatorDevice):
    """A device with room for so many buffers."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.taken = room, 0

    def allocate(self, size: int) -> Buffer:
        if self.taken == self.room:
            raise DeviceError("simulator: no room")
        self.taken += 1
        return super().allocate(size)

    def free(self, buffer: Buffer) -> None:
        super().free(buffer)
        self.taken -= 1


def _taken(model: bytes, room: int) -> tuple[int, list[Any]]:
    device = Scarce(room)
    with Delegate.on(device, **EVERYTHING) as delegate:
        made = Interpreter(model_content=model, experimental_delegates=[delegate])
        made.allocate_tensors()
        taken = device.taken
        set_noise(made)
        made.invoke()
        found = outputs(made)
        del made
        gc.collect()
        assert device.taken == 0
    return taken, found


def test_a_part_for_which_the_device_has_no_room_stays_on_the_cpu(capfd: pytest.CaptureFixture[str]) -> None:
    """It failed the host, which had given its operators up by then."""
    model = chain("npu", "cpu", "npu")
    needed, expected = _taken(model, 1000)
    for room, parts in ((0, 0), (needed - 1, 1), (needed, 2)):
        taken, found = _taken(model, room)
        assert taken == needed * parts // 2
        assert capfd.readouterr().err.count("stays on the CPU: simulator: no room") == 2 - parts
        assert all(np.abs(a.astype(int) - b.astype(int)).max() <= 3 for a, b in zip(found, expected, strict=True))
    with pytest.raises(RuntimeError), Delegate.on(Scarce(1), require_full=True, **EVERYTHING) as delegate:
        run(chain("npu"), [delegate])
    assert "require_full" in capfd.readouterr().err


def test_a_part_that_grows_beyond_the_device_goes_on_on_the_cpu(capfd: pytest.CaptureFixture[str]) -> None:
    model, device = chain("npu", size=8), Scarce(1000)
    with Delegate.on(device, **EVERYTHING) as delegate:
        made = Interpreter(model_content=model, experimental_delegates=[delegate])
        made.allocate_tensors()
        device.room = 0
        (source,) = made.get_input_details()
        made.resize_tensor_input(source["index"], (1, 16, 16, 16))
        made.allocate_tensors()
        set_noise(made)
        made.invoke()
        found = outputs(made)
        assert "runs on the CPU at these sizes: simulator: no room" in capfd.readouterr().err
        kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        assert same(found, run(chain("npu", size=16), [], experimental_op_resolver_type=kernels))
        del made
