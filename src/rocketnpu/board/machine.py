"""The virtual machine: QEMU with the NPU's functions on its bus, and what the guest finds and leaves behind."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from rocketnpu.board.cpio import archive
from rocketnpu.board.guest_memory import GuestMemory
from rocketnpu.board.kernel import MODULES, Kernel
from rocketnpu.board.server import Server
from rocketnpu.board.tools import Tools
from rocketnpu.board.vfio_user import Connection, Function, Interrupt
from rocketnpu.errors import DeviceError, DeviceTimeoutError

_FIRST_ADDRESS = 0x1000_0000
"""Where Linux puts the largest 32-bit BARs of the machine ``virt``, one behind the other."""
_PCI_INTERRUPT, _PCI_LINES = 3, 4
"""First shared interrupt of the machine's PCI lines; INTA of slot s is line s % 4."""
_OTHER_DEVICES = 0x10
"""First slot of the disk, the console and the shared folder, behind all NPU cores."""
MOST_CORES = _PCI_LINES - 1
"""Beyond, cores would share interrupt lines with the first."""
_CPU = "cortex-a76"
"""A model without pointer authentication, which takes QEMU most of its time."""
_TERMINAL = "terminal.log"
_POLL_SECONDS = 0.02
_ENDING_SECONDS = 3.0


@dataclass(frozen=True)
class Slot:
    """Where the guest finds an NPU core."""

    address: int
    interrupt: int
    """Number of the shared peripheral interrupt."""


class ServedFunction(Function, Protocol):
    """A function whose work may end in a thread of its own."""

    def collect(self) -> None:
        """Take over work that has ended."""

    def close(self) -> None:
        """Wait for running work, and give everything back."""


class Verdict(Protocol):
    """What came of a task that the guest started; as text it is one line."""

    @property
    def words(self) -> tuple[int, ...]:
        """The command list, empty where it could not be read."""

    @property
    def outcome(self) -> str:
        """One of "done", "fault" and "hang"."""

    @property
    def defects(self) -> tuple[str, ...]:
        """Why silicon would compute something else."""


class Hardware(Protocol):
    """What a chip's NPU is to the machine."""

    def device_tree(self, slots: Sequence[Slot]) -> str:
        """Return a part of a device tree's source, with a core in each slot."""

    def function(
        self, core: int, memory: GuestMemory, interrupt: Interrupt, *, blocking: bool, wake: Callable[[], None]
    ) -> ServedFunction:
        """Return the registers of a core; see :class:`~rocketnpu.board.vfio_user.Function`."""


@dataclass(frozen=True)
class Settings:
    """What kind of machine."""

    cores: int = 3
    counted: bool = True
    """Guest time advances by instructions, and stands still while a task is simulated; else it is the host's time, and
    tasks run beside the guest."""
    memory_mib: int = 2048
    seconds: float = 600.0
    """Of the host, after which the machine is ended."""
    clock: str = ""
    """What the clock says at the start, as 1970-01-01T00:00:00; the host's time where empty."""
    module: Path | None = None
    """Kernel module to load in place of the ``rocket.ko`` that was built."""


@dataclass
class Outcome:
    """What a run left behind."""

    folder: Path
    """The shared folder."""
    seconds: float
    serial: str = field(default="", repr=False)
    """Warnings and worse of the kernel, as they appeared on its serial line."""
    terminal: str = field(default="", repr=False)
    """What the command wrote, where no terminal was given."""

    @property
    def status(self) -> int | None:
        """Exit status of the command; None where the guest died before."""
        path = self.folder / "status"
        return int(path.read_text("utf-8")) if path.exists() else None

    @property
    def kernel_log(self) -> str:
        """The kernel's messages; those of its serial line where the guest died."""
        path = self.folder / "kernel.log"
        return path.read_text("utf-8", errors="replace") if path.exists() else self.serial


@dataclass(frozen=True)
class Machine:
    """A board that can be started."""

    tools: Tools
    kernel: Kernel
    root_image: Path
    hardware: Hardware
    settings: Settings = field(default_factory=Settings)

    def run(
        self,
        payload: Mapping[str, bytes | Path],
        folders: Mapping[str, Path],
        out: Path,
        work: Path,
        *,
        terminal: Sequence[str] = (),
    ) -> Outcome:
        """Boot, run ``/payload/run``, and switch off.

        Args:
            payload: files that the guest finds below ``/payload``, all executable.
            folders: folders, the same.
            out: folder that the guest writes to as ``/out``.
            work: empty folder for sockets and files of this run; its path must be short.
            terminal: QEMU's options for the guest's terminal; the file ``terminal.log`` of ``work`` where not given.

        Raises:
            DeviceTimeoutError: the machine did not end in time.
            DeviceError: QEMU or the simulated NPU failed.
        """
        began = time.monotonic()
        slots = tuple(
            Slot(_FIRST_ADDRESS + 0x10000 * core, _PCI_INTERRUPT + (core + 1) % _PCI_LINES)
            for core in range(self.settings.cores)
        )
        self._write_initrd(payload, folders, work / "initrd")
        tree = self._device_tree(slots, work)
        functions: list[ServedFunction] = []
        server = self._server(work, functions)
        server.start()
        command = self._command(work, tree, out, terminal)
        with (work / "qemu.log").open("wb") as log:
            qemu = subprocess.Popen(command, stdin=None if terminal else subprocess.DEVNULL, stderr=log)
            try:
                self._wait(qemu, server, began)
            finally:
                _end(qemu)
                server.end()
                for function in functions:
                    function.close()
                server.release()
        if qemu.returncode:
            said = (work / "qemu.log").read_text("utf-8", errors="replace").strip()
            raise DeviceError(f"QEMU ended with status {qemu.returncode}: {said[-400:]}")
        serial, terminal_log = (_read(work / name) for name in ("serial.log", _TERMINAL))
        return Outcome(out, time.monotonic() - began, serial, terminal_log)

    def _wait(self, qemu: subprocess.Popen[bytes], server: Server, began: float) -> None:
        while qemu.poll() is None:
            if server.failure is not None:
                raise DeviceError(f"the simulated NPU failed: {server.failure}") from server.failure
            if time.monotonic() - began > self.settings.seconds:
                raise DeviceTimeoutError(f"the board did not switch off within {self.settings.seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def _write_initrd(self, payload: Mapping[str, bytes | Path], folders: Mapping[str, Path], target: Path) -> None:
        kernel = self.kernel
        contents: dict[str, bytes | Path] = {
            "init": (files("rocketnpu.board") / "guest/init").read_bytes(),
            "bin/busybox": kernel.busybox,
            "modules/order": "".join(f"{name}\n" for name in MODULES).encode(),
        }
        contents |= {f"modules/{name}.ko": kernel.module(name) for name in MODULES}
        if self.settings.module is not None:
            contents["modules/rocket.ko"] = self.settings.module
        contents |= {f"payload/{name}": content for name, content in payload.items()}
        target.write_bytes(archive(contents, {f"payload/{name}": folder for name, folder in folders.items()}))

    def _device_tree(self, slots: Sequence[Slot], work: Path) -> Path:
        """Let QEMU write down its own tree, and add the NPU's nodes to it."""
        own, source, tree = (work / f"board.{name}" for name in ("own", "dts", "dtb"))
        machine = ("-M", f"virt,gic-version=3,dumpdtb={own}", *self._processor(), "-nodefaults", "-nographic")
        self.tools.run("qemu-system-aarch64", *machine)
        text = self.tools.run("dtc", "-q", "-I", "dtb", "-O", "dts", own)
        source.write_text(text + self.hardware.device_tree(slots), "utf-8")
        self.tools.run("dtc", "-q", "-I", "dts", "-O", "dtb", "-o", tree, source)
        return tree

    def _processor(self) -> tuple[str, ...]:
        return ("-cpu", _CPU, "-smp", "1", "-m", str(self.settings.memory_mib))

    def _server(self, work: Path, functions: list[ServedFunction]) -> Server:
        """Make the NPU's functions, and what serves them."""

        def collect() -> None:
            for function in functions:
                function.collect()

        connections: list[Connection] = []
        server = Server(connections, collect)
        for core in range(self.settings.cores):
            memory, interrupt = GuestMemory(), Interrupt()
            function = self.hardware.function(core, memory, interrupt, blocking=self.settings.counted, wake=server.wake)
            functions.append(function)
            connections.append(Connection(work / f"npu{core}", function, memory, interrupt))
        return server

    def _command(self, work: Path, tree: Path, out: Path, terminal: Sequence[str]) -> list[str]:
        settings = self.settings
        ram = f"memory-backend-memfd,id=ram,size={settings.memory_mib}M,share=on"
        options: list[object] = [
            *("-M", "virt,gic-version=3,memory-backend=ram", *self._processor(), "-object", ram),
            *("-nodefaults", "-display", "none", "-no-reboot", "-dtb", tree),
            *("-kernel", self.kernel.image, "-initrd", work / "initrd"),
            *("-append", "console=ttyAMA0 loglevel=5 oops=panic panic=-1"),
            *("-serial", f"file:{work / 'serial.log'}"),
        ]
        for core in range(settings.cores):
            socket = {"type": "unix", "path": str(work / f"npu{core}")}
            device = {"driver": "vfio-user-pci", "addr": f"{core + 1}", "socket": socket, "x-msg-timeout": 600_000}
            options += ["-device", json.dumps(device | {"x-no-posted-writes": settings.counted})]
        slot = (f"addr=0x{_OTHER_DEVICES + number:x}" for number in range(8))
        options += ["-drive", f"if=none,id=root,format=raw,readonly=on,file={self.root_image}"]
        options += ["-device", f"virtio-blk-pci,drive=root,{next(slot)}"]
        options += ["-fsdev", f"local,id=out,path={out},security_model=none"]
        options += ["-device", f"virtio-9p-pci,fsdev=out,mount_tag=out,{next(slot)}"]
        options += ["-device", f"virtio-serial-pci,{next(slot)}", "-device", "virtconsole,chardev=terminal"]
        options += terminal or ["-chardev", f"file,id=terminal,path={work / _TERMINAL}"]
        if settings.counted:
            options += ["-icount", "shift=1,sleep=on"]
        if settings.clock:
            options += ["-rtc", f"base={settings.clock}"]
        return self.tools.command("qemu-system-aarch64", *options)


def _end(qemu: subprocess.Popen[bytes]) -> None:
    """End QEMU if it runs. One that waits for a device's answer heeds no signal but the last."""
    for end in (qemu.terminate, qemu.kill):
        if qemu.poll() is None:
            end()
            try:
                qemu.wait(_ENDING_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def _read(path: Path) -> str:
    return path.read_text("utf-8", errors="replace") if path.exists() else ""
