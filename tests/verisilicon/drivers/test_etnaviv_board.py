"""What the doctor says of boards with these chips, laid out in a folder."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from etnaviv_kernels import GPU_2D, GPU_3D, Nodes

from rocketnpu.cli.device import rules as module
from rocketnpu.cli.main import run
from rocketnpu.device.calls import SystemCalls
from rocketnpu.device.discover import open_device
from rocketnpu.device.doctor import examine, usable
from rocketnpu.device.machine import Fact, Machine
from rocketnpu.emulator import shim_library
from rocketnpu.verisilicon.drivers.board import KERNEL_NEEDS
from rocketnpu.verisilicon.soc import A311D, IMX8MP

VIM3 = {
    "proc/device-tree/compatible": "khadas,vim3\0amlogic,a311d\0amlogic,g12b\0",
    "proc/device-tree/model": "Khadas VIM3\0",
    "proc/device-tree/npu@ff100000/compatible": "vivante,gc\0",
    "proc/device-tree/npu@ff100000/status": "okay\0",
    "proc/modules": "etnaviv 98304 0 - Live 0x0\n",
    "boot/config-6.17.0": "CONFIG_DRM=m\nCONFIG_DRM_ETNAVIV=m\n",
}
EVK = {
    "proc/device-tree/compatible": "fsl,imx8mp-evk\0fsl,imx8mp\0",
    "proc/device-tree/model": "NXP i.MX8MPlus EVK board\0",
    "proc/device-tree/soc@0/npu@38500000/compatible": "vivante,gc\0",
    "proc/modules": "etnaviv 98304 0 - Live 0x0\n",
}


class NoNodes(Nodes):
    """A machine without a node."""

    def __init__(self) -> None:
        super().__init__({})


def lay_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def facts(root: Path, files: dict[str, str], calls=None) -> dict[str, Fact]:
    machine = Machine(lay_out(root, files), "6.17.0", calls or NoNodes())
    return {fact.name: fact for fact in examine(machine)}


@pytest.mark.parametrize(
    ("files", "title", "place", "cores"),
    [
        (VIM3, "Amlogic A311D, Khadas VIM3", "/npu@ff100000", [A311D.identity]),
        (EVK, "NXP i.MX 8M Plus, NXP i.MX8MPlus EVK board", "/soc@0/npu@38500000", [GPU_3D, GPU_2D, IMX8MP.identity]),
    ],
    ids=["vim3", "imx8mp-evk"],
)
def test_a_board_that_is_ready(tmp_path, files, title, place, cores):
    calls = Nodes({"/dev/dri/renderD128": ("panfrost", []), "/dev/dri/renderD129": ("etnaviv", cores)})
    found = facts(tmp_path, files, calls)
    assert found["SoC"] == Fact("SoC", "good", title)
    assert found["node"] == Fact("node", "good", "/dev/dri/renderD129, driver etnaviv")
    assert found["module"].state == found["device tree"].state == "good"
    assert found["device tree"].found == f"the NPU's node {place} is on"
    assert "experimental" in found["kernel"].found
    assert usable(list(found.values()))
    assert not calls.opened


def test_an_npu_that_the_device_tree_switches_off(tmp_path):
    found = facts(tmp_path, VIM3 | {"proc/device-tree/npu@ff100000/status": "disabled\0"})
    assert found["device tree"].state == "note"
    assert found["device tree"].found == "the NPU's node is switched off: /npu@ff100000 (disabled)"
    assert 'status = "okay"' in found["device tree"].advice
    assert found["node"].state == "bad"
    assert "modprobe etnaviv" in found["node"].advice


def test_a_tree_without_an_npu(tmp_path):
    files = {name: text for name, text in VIM3.items() if "npu@" not in name}
    found = facts(tmp_path, files | {"proc/device-tree/soc/npu@0/compatible": "someone,else\0"})
    assert found["device tree"].found == "no node of an NPU"


def test_a_kernel_without_the_driver(tmp_path):
    found = facts(tmp_path, VIM3 | {"boot/config-6.17.0": "# CONFIG_DRM_ETNAVIV is not set\n", "proc/modules": ""})
    assert found["kernel"].found == "6.17.0 (built without the etnaviv driver)"
    assert found["kernel"].advice == KERNEL_NEEDS
    assert found["module"].found == "no etnaviv"
    assert KERNEL_NEEDS in found["module"].advice


def test_the_vendors_driver_is_named(tmp_path):
    found = facts(tmp_path, VIM3 | {"proc/modules": "galcore 400000 0 - Live 0x0\n"})
    assert found["module"].found.startswith("galcore, the vendor's driver")
    assert "mainline" in found["module"].advice


def test_a_node_that_may_not_be_opened(tmp_path):
    class Refused(NoNodes):
        def open(self, path: str) -> int:
            raise OSError(errno.EACCES if path.endswith("129") else errno.ENOENT, os.strerror(errno.EACCES), path)

    found = facts(tmp_path, VIM3, Refused())
    assert found["node"].state == "bad"
    assert "no permission to open /dev/dri/renderD129" in found["node"].found


def test_no_rules_are_asked_of_these_chips_yet(make_node, monkeypatch, tmp_path, capsys):
    make_node("imx8mp", gated=False)
    monkeypatch.setenv("ROCKETNPU_CONFIG", str(tmp_path))
    monkeypatch.setattr(module, "open_device", lambda name: open_device(name, calls=SystemCalls(str(shim_library()))))
    assert run(["selftest", "--device", "etnaviv", "--rules"]) == 2
    assert "no programs ask the NXP i.MX 8M Plus for its rules yet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
