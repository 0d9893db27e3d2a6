"""Supervising QEMU: how a machine that ends wrongly, or not at all, is told; with other programs in QEMU's place."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rocketnpu.board.board import Work
from rocketnpu.board.guest_memory import GuestMemory
from rocketnpu.board.kernel import MODULES, Kernel
from rocketnpu.board.machine import Machine, Settings, Slot
from rocketnpu.board.tools import Tools
from rocketnpu.board.vfio_user import Interrupt
from rocketnpu.errors import DeviceError, DeviceTimeoutError
from rocketnpu.rockchip.board.hardware import Rk3588Hardware
from rocketnpu.rockchip.board.npu_function import NpuFunction


@dataclass(frozen=True)
class Stand(Tools):
    """Programs that are not QEMU: ``script`` is a shell's."""

    script: str = "true"
    asked: list[list[str]] = field(default_factory=list)

    def command(self, name: str, *arguments: object) -> list[str]:
        words = list(map(str, arguments))
        self.asked.append([name, *words])
        if name == "qemu-system-aarch64" and not any("dumpdtb" in word for word in words):
            return ["sh", "-c", self.script]
        return ["true"]


class Broken(Rk3588Hardware):
    """An NPU that is not there."""

    def function(
        self, core: int, memory: GuestMemory, interrupt: Interrupt, *, blocking: bool, wake: Callable[[], None]
    ) -> NpuFunction:
        made = super().function(core, memory, interrupt, blocking=blocking, wake=wake)
        wake()
        made.collect = self._fail  # type: ignore[method-assign]
        return made

    def _fail(self) -> None:
        raise RuntimeError("on purpose")


def machine(folder: Path, script: str, **settings: object) -> Machine:
    (folder / "kernel" / "modules").mkdir(parents=True)
    for name in ("busybox", "Image.gz", *(f"modules/{module}.ko" for module in MODULES)):
        (folder / "kernel" / name).write_bytes(name.encode())
    for name in ("work", "out"):
        (folder / name).mkdir()
    tools = Stand(folder, script)
    return Machine(tools, Kernel(folder / "kernel"), folder / "root.sqfs", Rk3588Hardware(), Settings(**settings))


def boot(made: Machine, folder: Path) -> object:
    return made.run({"run": b"#!/bin/sh\n"}, {}, folder / "out", folder / "work")


def test_qemus_last_words_are_in_the_error(tmp_path: Path) -> None:
    made = machine(tmp_path, "echo 'no such device' >&2; exit 3")
    with pytest.raises(DeviceError, match="QEMU ended with status 3: no such device"):
        boot(made, tmp_path)


def test_a_machine_that_does_not_end_is_ended(tmp_path: Path) -> None:
    made = machine(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60", seconds=0.5)
    began = time.monotonic()
    with pytest.raises(DeviceTimeoutError, match=r"did not switch off within 0\.5 s"):
        boot(made, tmp_path)
    assert time.monotonic() - began < 30
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_an_npu_that_fails_ends_the_machine(tmp_path: Path) -> None:
    made = machine(tmp_path, "exec sleep 60")
    made = Machine(made.tools, made.kernel, made.root_image, Broken(), made.settings)
    with pytest.raises(DeviceError, match="the simulated NPU failed: on purpose"):
        boot(made, tmp_path)


def test_a_guest_that_died_has_no_status(tmp_path: Path) -> None:
    made = machine(tmp_path, f"echo '[ 1.0] board: ready' > {tmp_path}/work/serial.log")
    done = made.run({}, {}, tmp_path / "out", tmp_path / "work")
    assert done.status is None
    assert done.kernel_log == "[ 1.0] board: ready\n"
    (tmp_path / "out" / "status").write_text("7\n")
    (tmp_path / "out" / "kernel.log").write_text("<6>[ 1.0] all well\n")
    assert (done.status, done.kernel_log) == (7, "<6>[ 1.0] all well\n")


@pytest.mark.parametrize("counted", [True, False])
def test_stores_wait_only_where_instructions_are_counted(tmp_path: Path, counted: bool) -> None:
    made = machine(tmp_path, "true", counted=counted, cores=2, clock="1970-01-01T00:00:00")
    boot(made, tmp_path)
    assert isinstance(made.tools, Stand)
    last = made.tools.asked[-1]
    devices = [word for word in last if "vfio-user-pci" in word]
    assert len(devices) == 2
    assert all(f'"x-no-posted-writes": {str(counted).lower()}' in word for word in devices)
    assert ("-icount" in last) is counted
    assert "base=1970-01-01T00:00:00" in last


def test_the_device_tree_has_each_core_where_linux_puts_it() -> None:
    text = Rk3588Hardware().device_tree([Slot(0x1000_0000, 4), Slot(0x1001_0000, 5)])
    assert text.count('compatible = "rockchip,rk3588-rknn-core"') == 2
    assert '"rockchip,rk3588"' in text.partition("npu_clock")[0], "a node's own properties come first"
    assert "iommu@10009000" in text
    assert "reg = <0x0 0x10009000 0x0 0x100>, <0x0 0x1000a000 0x0 0x100>;" in text, "the first core has two units"
    assert "iommu@1001a000" in text
    assert text.count("interrupts = <0 5 4>;") == 2


def test_a_command_reaches_the_guest_word_by_word(tmp_path: Path) -> None:
    script = Work(("sh", "-c", "echo 'a  b' $HOME"), tmp_path, environment={"NAME": "two words"}).script()
    assert script.splitlines()[0] == "#!/bin/sh"
    assert script.endswith("""sh -c 'echo '"'"'a  b'"'"' $HOME'\n""")
    assert "NAME='two words'" in script
