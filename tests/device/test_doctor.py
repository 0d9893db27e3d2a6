"""What the doctor finds on machines that are laid out in a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from test_discover import Nothing

from rocketnpu.cli.main import run
from rocketnpu.device import doctor
from rocketnpu.device.doctor import UDEV_RULE, examine, usable
from rocketnpu.device.machine import Fact, Machine, State


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


BOARD = {
    "proc/device-tree/compatible": "radxa,rock-5b\0rockchip,rk3588\0",
    "proc/device-tree/model": "Radxa ROCK 5B\0",
    "proc/modules": "rocket 40960 0 - Live 0x0\ndrm 1 1 rocket Live 0x0\n",
    "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n",
    "sys/kernel/debug/clk/scmi_clk_npu/clk_rate": "200000000\n",
    "sys/kernel/iommu_groups/3/devices/fdab0000.npu": "",
    "dev/accel/accel0": "",
}


def facts(machine: Machine) -> dict[str, Fact]:
    return {fact.name: fact for fact in examine(machine)}


def test_a_mainline_board(node, tmp_path: Path) -> None:
    found = facts(Machine(lay_out(tmp_path, BOARD), "6.18.2-1-arm64", node.calls))
    assert found["SoC"] == Fact("SoC", "good", "Rockchip RK3588, Radxa ROCK 5B")
    assert found["kernel"].state == found["module"].state == found["IOMMU"].state == found["memory"].state == "good"
    assert found["node"] == Fact("node", "good", "/dev/accel/accel0, driver rocket")
    assert found["permissions"].found == "1 nodes can be opened"
    assert found["clock"].found == "200 MHz of at most 1000"
    assert "--overlay" in found["clock"].advice
    assert usable(list(found.values()))


def test_a_vendor_board(fake_rknpu, tmp_path: Path) -> None:
    changes = {
        "proc/modules": "",
        "sys/module/rknpu/version": "0.9.8",
        "sys/class/devfreq/fdab0000.npu/cur_freq": "1000000000",
    }
    found = facts(Machine(lay_out(tmp_path, BOARD | changes), "6.1.75-vendor", fake_rknpu))
    assert found["node"].found == "/dev/dri/renderD129, driver rknpu"
    assert found["module"] == Fact("module", "good", "rknpu is built into the kernel")
    assert found["clock"] == Fact("clock", "good", "1000 MHz of at most 1000")
    assert found["kernel"].state == "good"


def test_a_machine_with_nothing(tmp_path: Path) -> None:
    found = facts(Machine(tmp_path, "6.8.0", Nothing()))
    assert {name for name, fact in found.items() if fact.state == "bad"} == {"node"}
    assert found["node"].found == "no NPU with the driver rocket or rknpu or etnaviv: there is no such device node"
    assert {name for name in ("kernel", "module", "node") if found[name].advice} == set()
    assert not usable(list(found.values()))


@pytest.mark.parametrize("name", ["proc/device-tree/model", "proc/modules", "boot/config-6.1", "proc/meminfo"])
def test_what_is_looked_at_may_be_a_pipe_or_endless(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert Machine(tmp_path, "6.1").text(name) == ""
    assert facts(Machine(tmp_path, "6.1"))
    path.unlink()
    path.symlink_to("/dev/zero")
    assert Machine(tmp_path, "6.1").text(name) == ""


def test_a_board_without_its_driver(tmp_path: Path) -> None:
    files = {name: BOARD[name] for name in ("proc/device-tree/compatible", "proc/device-tree/model")}
    found = facts(Machine(lay_out(tmp_path, files), "6.8.0", Nothing()))
    assert "6.18" in found["kernel"].advice
    assert "CONFIG_DRM_ACCEL_ROCKET" in found["module"].advice
    assert "rknn_core" in found["node"].advice


def test_another_machine_with_an_emulated_node(node, tmp_path: Path) -> None:
    found = facts(Machine(tmp_path, "6.18.0", node.calls))
    assert usable(list(found.values()))
    assert found["node"].found == "/dev/accel/accel0, driver rocket (an emulated node)"
    assert found["permissions"].state == "good"
    assert "rocket" not in found["kernel"].found
    assert not found["SoC"].advice


def test_a_node_without_permission(tmp_path: Path) -> None:
    found = facts(Machine(lay_out(tmp_path, BOARD), "6.18.0", Nothing("/dev/accel/accel0")))
    assert "no permission to open /dev/accel/accel0" in found["node"].found
    assert found["node"].state == "bad"


def test_a_kernel_without_the_driver_is_told_from_its_configuration(tmp_path: Path) -> None:
    debian = {"boot/config-7.2.13-arm64": "CONFIG_DRM=m\n# CONFIG_DRM_ACCEL is not set\n"}
    other = {"boot/config-6.18.43-rockchip64": "CONFIG_DRM_ACCEL=y\nCONFIG_DRM_ACCEL_ROCKET=m\n"}
    lay_out(tmp_path, BOARD | debian | other)
    lacking = facts(Machine(tmp_path, "7.2.13-arm64", Nothing()))["kernel"]
    assert (lacking.state, lacking.found) == ("note", "7.2.13-arm64 (built without the rocket driver)")
    assert "Debian's own have neither" in lacking.advice
    assert facts(Machine(tmp_path, "6.18.43-rockchip64", Nothing()))["kernel"].state == "good"


@pytest.mark.parametrize(
    ("group", "advice"),
    [
        ("render", "sudo usermod -aG render $USER, then log in again"),
        ("video", "sudo usermod -aG video $USER, then log in again"),
        (
            "root",
            f"put the line {UDEV_RULE} into /etc/udev/rules.d/60-rocketnpu.rules; sudo udevadm trigger; sudo",
        ),
    ],
)
def test_a_closed_node_is_told_with_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, advice: str
) -> None:
    honest = Path.open

    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "accel0":
            raise PermissionError(13, "Permission denied", str(self))
        return honest(self, *arguments, **options)

    board = Machine(lay_out(tmp_path, BOARD), "6.18.0", Nothing())
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "group", lambda _: group)
    found = facts(board)["permissions"]
    assert (found.state, found.found) == ("bad", f"no access to /dev/accel/accel0 (group {group})")
    assert found.advice.startswith(advice)


def test_the_debian_packages_rule_is_the_one_that_is_advised() -> None:
    rules = Path(__file__).parents[2] / "debian" / "60-rocketnpu.rules"
    if not rules.exists():
        pytest.skip("the source distribution has no Debian packaging")
    assert UDEV_RULE in rules.read_text().splitlines()


def test_the_commands_exit_status_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == (0 if told["usable"] else 1)
    assert [fact["name"] for fact in told["facts"]][:4] == ["SoC", "kernel", "module", "node"]
    assert run(["doctor"]) == status
    assert len(capsys.readouterr().out.splitlines()) <= 40


def test_selftest_compares_and_writes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    assert run(["selftest", "--device", "simulator", "--report", str(report)]) == 0
    assert "6 of 6 networks" in capsys.readouterr().out
    told = json.loads(report.read_text())
    assert told["device"] == "simulator"
    assert told["equal"]
    assert {case["name"] for case in told["cases"]} == {"pointwise", "stem", "depthwise", "odd", "tiled", "chain"}
    assert {fact["name"] for fact in told["machine"]} >= {"SoC", "kernel", "node"}


def test_selftest_tells_differences(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from rocketnpu.cli.device import selftest

    honest = selftest.run

    def wrong(device, program, inputs, allow_unproven=False):
        outputs = honest(device, program, inputs)
        if wrong.calls % 2:
            outputs[0][0, 1, 2, 3] ^= 1
        wrong.calls += 1
        return outputs

    wrong.calls = 0
    monkeypatch.setattr(selftest, "run", wrong)
    assert run(["selftest", "--device", "simulator"]) == 1
    assert "DIFFERENT: 1 of 2048 bytes, the first at (0, 1, 2, 3)" in capsys.readouterr().out


def test_selftest_reports_a_device_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rocketnpu.device.simulator import SimulatorDevice
    from rocketnpu.errors import DeviceError

    class Broken(SimulatorDevice):
        def submit(self, jobs) -> None:
            raise DeviceError("broken on purpose")

    monkeypatch.setattr("rocketnpu.device.discover.SimulatorDevice", Broken)
    assert run(["selftest", "--device", "simulator", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert {case["error"] for case in told["cases"]} == {"broken on purpose"}


def test_a_real_driver_without_a_known_device_tree_is_not_called_emulated(
    node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the unmodified driver in a virtual machine, or on a board whose name is not known here."""
    monkeypatch.delenv("ROCKETNPU_NODE_SOCKET")
    monkeypatch.setattr(doctor, "find_node", lambda *_: ("/dev/accel/accel0", os.open(os.devnull, os.O_RDONLY)))
    found = {fact.name: fact for fact in examine(Machine(tmp_path, "6.18.0", node.calls))}
    assert "emulated" not in found["node"].found
    assert "a virtual board, or a new one" in found["node"].found
    assert "emulated" not in found["permissions"].found


@pytest.mark.parametrize(("name", "state"), [("libpython3.so", "good"), ("missing.so", "note"), (None, "note")])
def test_the_shared_python_is_there_or_only_named(
    name: str | None, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libpython3.so").write_bytes(b"")
    path = None if name is None else tmp_path / name
    monkeypatch.setattr(doctor, "shared_python", lambda: path)
    found = facts(Machine(tmp_path, "6.18.0", Nothing()))["libpython"]
    assert found.state == state
    assert found.found == (str(path) if state == "good" else "none; only Python programs can load a delegate")
    assert bool(found.advice) == (state == "note")


@pytest.mark.parametrize(
    ("megabytes", "state"), [(256, "good"), (255, "note"), (0, "note"), (None, "note"), (8192, "good")]
)
def test_memory_that_is_comfortable(megabytes: int | None, state: str, tmp_path: Path) -> None:
    text = "MemTotal:       9999 kB\n" if megabytes is None else f"MemAvailable:   {megabytes * 1024} kB\n"
    found = facts(Machine(lay_out(tmp_path, BOARD | {"proc/meminfo": text}), "6.18.0", Nothing()))["memory"]
    assert (found.state, found.found) == (state, f"{megabytes or 0} MiB available")
    assert bool(found.advice) == (state == "note")


@pytest.mark.parametrize("state", ["good", "note", "bad"])
def test_a_program_can_use_an_npu_whose_node_is_good(state: State) -> None:
    other = [Fact("SoC", "good", ""), Fact("permissions", "good", "")]
    assert usable([*other, Fact("node", state, "")]) == (state == "good")
    assert not usable(other)
