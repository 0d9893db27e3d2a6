"""The overlay that raises the NPU's clock: compiled, applied to a device tree like the board's, and read back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rocketnpu.cli import main
from rocketnpu.rockchip.drivers.overlay import CORES, overlay

BASE = """/dts-v1/;
/ {
    compatible = "radxa,rock-5b", "rockchip,rk3588";
    #address-cells = <2>;
    #size-cells = <2>;
    scmi_clk: protocol@14 { reg = <0 0x14 0 0>; #clock-cells = <1>; };
    %s
};
"""
CORE = """npu@%x {
        compatible = "rockchip,rk3588-rknn-core";
        reg = <0x0 0x%x 0x0 0x1000>;
        assigned-clocks = <&scmi_clk 6>;
        assigned-clock-rates = <200000000>;
        status = "okay";
    };
"""


def tool(*arguments: str | Path) -> str:
    if shutil.which(str(arguments[0])) is None:
        pytest.skip(f"no {arguments[0]}: Debian's package device-tree-compiler has it")
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout


def applied(source: str, folder: Path) -> str:
    """Compile the overlay, apply it to a tree without symbols, and return the result's source."""
    base, extra = folder / "base.dts", folder / "npu.dts"
    base.write_text(BASE % "".join(CORE % (address, address) for address in CORES))
    extra.write_text(source)
    tool("dtc", "-q", "-I", "dts", "-O", "dtb", "-o", folder / "base.dtb", base)
    tool("dtc", "-@", "-I", "dts", "-O", "dtb", "-o", folder / "npu.dtbo", extra)
    tool("fdtoverlay", "-i", folder / "base.dtb", "-o", folder / "done.dtb", folder / "npu.dtbo")
    return tool("dtc", "-q", "-I", "dtb", "-O", "dts", folder / "done.dtb")


@pytest.mark.parametrize("mhz", [600, 800, 1000])
def test_every_core_gets_the_rate_and_keeps_its_clock(mhz: int, tmp_path: Path) -> None:
    text = applied(overlay(mhz), tmp_path)
    assert text.count(f"assigned-clock-rates = <0x{mhz * 1_000_000:x}>;") == len(CORES)
    assert text.count("assigned-clocks = <") == len(CORES)
    assert "0xbebc200" not in text, "200 MHz are gone"


def test_rates_beyond_what_is_safe_say_so() -> None:
    assert "voltage" in overlay(1000)
    assert "hang" in overlay(1000)
    assert "hang" not in overlay(800)


def test_the_doctor_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "npu-clock.dts"
    assert main.run(["doctor", "--overlay", str(path)]) == 0
    assert path.read_text() == overlay(800)
    assert "docs/devices.md" in capsys.readouterr().out
    assert main.run(["doctor", "--overlay", str(path), "--clock", "600"]) == 0
    assert path.read_text() == overlay(600)


@pytest.mark.parametrize("arguments", [["--overlay", "x.dts", "--clock", "1200"], ["--clock", "800"]])
def test_senseless_rates_are_refused(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.run(["doctor", *arguments]) == 2
    assert list(tmp_path.iterdir()) == []
