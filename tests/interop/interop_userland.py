"""An arm64 userland in a folder, for qemu's user emulation: the virtual board's, with the emulated node's library."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rocketnpu.board.build_tree import CROSS
from rocketnpu.board.packages import unpack
from rocketnpu.board.stages import Stages, digest
from rocketnpu.board.tools import tools
from rocketnpu.board.userland import WHEELS, compile_python, requirements, unpack_userland
from rocketnpu.emulator.library import SOURCE
from rocketnpu.files.compiled import FLAGS
from rocketnpu.folders import cache_folder

SHIM = "librocketshim.so"
FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


def userland() -> Path:
    """Return a folder that holds ``root`` and ``qemu-aarch64``, made on first use.

    It lies in ROCKETNPU_INTEROP_ROOT, by default where the board's stages are (200 MB).

    Raises:
        BoardUnavailableError: packages cannot be had.
    """
    folder = os.environ.get("ROCKETNPU_INTEROP_ROOT")
    sources = sorted(SOURCE.parent.iterdir())
    key = digest([Path(__file__), *sources, "\n".join(requirements()).encode()])
    with Stages(Path(folder) if folder else cache_folder() / "board") as stages:
        return stages.get("interop", key, lambda made: _make(made, stages))


def _make(folder: Path, stages: Stages) -> None:
    root = folder / "root"
    unpack_userland(stages.packages, root)
    compile_python(tools(stages), root / WHEELS, root / "usr/lib/python3.13")
    emulation = folder.parent / "emulation"
    unpack(stages.packages.download(["qemu-user"]), emulation)
    shutil.copy(emulation / "usr/bin/qemu-aarch64", folder)
    tree = stages.build_tree
    shutil.copytree(SOURCE.parent, tree.root / "shim")
    inside = [f"/shim/{path.name}" for path in SOURCE.parent.glob("*.c")]
    tree.run([f"{CROSS}gcc", *FLAGS, "-o", f"/shim/{SHIM}", *inside, "-ldl", "-lpthread"])
    shutil.copy(tree.root / "shim" / SHIM, root)
    # TensorFlow Lite's CPU kernels read /proc/cpuinfo and fail on an x86 one; qemu -L redirects the open to this file.
    core = f"BogoMIPS\t: 48.00\nFeatures\t: {FEATURES}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    core += "CPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 0\n\n"
    (root / "proc" / "cpuinfo").write_text("".join(f"processor\t: {number}\n{core}" for number in range(2)))
