"""The guest's userland: arm64 Python of Debian, the wheels that this project needs, and stock Mesa's delegate."""

from __future__ import annotations

import re
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from rocketnpu.board.packages import DebianPackages, call, unpack
from rocketnpu.board.stages import Stages, digest
from rocketnpu.board.tools import Tools
from rocketnpu.errors import BoardUnavailableError

PYTHON = "usr/bin/python3.13"
WHEELS = "opt/py"
"""Folder of the wheels in the guest."""
MESA_DELEGATE = "usr/lib/teflon/libteflon.so"
_PACKAGES = (
    *("mesa-teflon-delegate", "libc6", "libgcc-s1", "libstdc++6", "libdrm2", "libexpat1", "libzstd1", "zlib1g"),
    *("python3.13", "python3.13-minimal", "libpython3.13", "libpython3.13-minimal", "libpython3.13-stdlib"),
    *("libssl3t64", "libffi8", "liblzma5", "libbz2-1.0", "libsqlite3-0", "libuuid1", "libreadline8t64"),
    *("libtinfo6", "libncursesw6"),
)
_APPLETS = ("sh", "env", "ls", "cat", "dmesg", "chmod", "date", "id", "grep", "cut", "sleep", "mkdir", "head", "tail")
"""Programs of busybox for scripts in the guest; its shell knows all others without a file."""
_PLATFORMS = ("manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64")
_UNUSED = ("ai_edge_litert/libLiteRtWebGpuAccelerator.so",)


def unpack_userland(packages: DebianPackages, root: Path) -> None:
    """Make ``root`` an arm64 root folder: Debian's packages, and this project's requirements in :data:`WHEELS`.

    Raises:
        BoardUnavailableError: packages or wheels cannot be had.
    """
    for name in ("usr/bin", "usr/sbin", "usr/lib", "tmp", "proc", "dev", "sys", "root", WHEELS):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for name in ("bin", "sbin", "lib"):
        (root / name).symlink_to(f"usr/{name}")
    unpack(packages.download(f"{name}:arm64" for name in _PACKAGES), root)
    wheels = root.parent / "wheels"
    platforms = [f"--platform={name}" for name in _PLATFORMS]
    target = ["--only-binary=:all:", "--python-version=3.13", "--implementation=cp", *platforms]
    call([sys.executable, "-m", "pip", "download", "--quiet", f"--dest={wheels}", *target, *requirements()])
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(root / WHEELS)
    for name in _UNUSED:
        (root / WHEELS / name).unlink(missing_ok=True)


def requirements() -> list[str]:
    """Return what this project requires, without its extras.

    Raises:
        BoardUnavailableError: the project is not installed, so that nobody knows.
    """
    try:
        found = metadata.requires("rocketnpu") or []
    except metadata.PackageNotFoundError:
        raise BoardUnavailableError("rocketnpu is not installed here, only on the path; run pip install -e .") from None
    return [line for line in found if not re.search(r"\bextra\s*==", line)]


def root_image(stages: Stages, tools: Tools, busybox: Path) -> Path:
    """Return the userland as a squashfs image, made where it is not in the cache."""
    key = digest([Path(__file__), "\n".join(requirements()).encode()])

    def make(folder: Path) -> None:
        root = folder.parent / "root"
        unpack_userland(stages.packages, root)
        (root / "usr/bin/busybox").write_bytes(busybox.read_bytes())
        (root / "usr/bin/busybox").chmod(0o755)
        for name in _APPLETS:
            (root / "usr/bin" / name).symlink_to("busybox")
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n", "utf-8")
        (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n", "utf-8")
        compile_python(tools, root / WHEELS, root / "usr/lib/python3.13")
        options = ("-quiet", "-no-progress", "-noappend", "-all-root", "-comp", "zstd", "-Xcompression-level", "6")
        tools.run("mksquashfs", root, folder / "root.sqfs", *options)

    return stages.get("userland", key, make) / "root.sqfs"


def compile_python(tools: Tools, *folders: Path) -> None:
    """Compile modules for the guest's Python, which would need seconds for each process."""
    home = {"PYTHONHOME": str(tools.root / "usr")}
    tools.run(
        "python3.13", "-m", "compileall", "-q", "-j1", "--invalidation-mode=unchecked-hash", *folders, environment=home
    )
