"""The guest's kernel: Debian's own, with the two modules that Debian does not build made from its unmodified source.

Debian's configuration has no DRM_ACCEL. That is an option of drm.ko, so drm.ko and rocket.ko are built out of tree
against Debian's headers; all other modules and the kernel itself are Debian's files. One option is switched off in that
drm.ko, the picture of a crash (DRM_PANIC_SCREEN_QR_CODE), which is written in Rust.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from rocketnpu.board import build_tree
from rocketnpu.board.build_tree import CROSS, BuildTree
from rocketnpu.board.packages import call, unpack
from rocketnpu.board.stages import Stages, digest

_BUILT = ("gpu/drm/drm", "accel/rocket/rocket")
"""Modules below drivers/ that are built here."""
MODULES = (
    *("drm", "drm_kms_helper", "drm_shmem_helper", "gpu-sched", "rocket"),
    *("virtio_blk", "squashfs", "overlay", "netfs", "9pnet", "9pnet_virtio", "9p"),
)
"""In the order in which the guest loads them."""
_SOURCES = ("drivers/gpu/drm/*.[ch]", "drivers/gpu/drm/Makefile", "drivers/accel/drm_accel.c", "drivers/accel/rocket")
_OPTIONS = ("CONFIG_DRM_ACCEL=y", "CONFIG_DRM_ACCEL_ROCKET=m", "CONFIG_DRM_PANIC_SCREEN_QR_CODE=")
_NO_TYPE_INFORMATION = "CONFIG_DEBUG_INFO_BTF_MODULES="
"""It would need the kernel's own, which the headers lack."""
_TAKE = """
package=$0 archive=$1 target=$2
shift 2
dpkg-deb --fsys-tarfile "$package" | tar -xO "$archive" | tar -xJ -C "$target" --strip-components=1 --wildcards "$@"
"""
_BUILD_FILES = {
    "options.h": "#define CONFIG_DRM_ACCEL 1\n#undef CONFIG_DRM_PANIC_SCREEN_QR_CODE\n"
    '#undef CONFIG_DRM_PANIC_SCREEN\n#define CONFIG_DRM_PANIC_SCREEN "user"\n',
    "Kbuild": "subdir-ccflags-y += -include $(src)/options.h -I$(src)/include/trace\n"
    "obj-m += drivers/gpu/drm/ drivers/accel/rocket/\n",
    "drivers/gpu/drm/Kbuild": "include $(src)/Makefile\nobj-y :=\nobj-m := drm.o\n",
    "include/trace/.keep": "",  # define_trace.h includes ../../drivers/gpu/drm/drm_trace.h from a folder of that depth
}


@dataclass(frozen=True)
class Kernel:
    """A kernel image and its modules."""

    folder: Path

    @property
    def image(self) -> Path:
        """The compressed image."""
        return self.folder / "Image.gz"

    @property
    def busybox(self) -> Path:
        """A static shell and its tools for the guest."""
        return self.folder / "busybox"

    @property
    def release(self) -> str:
        """What ``uname -r`` prints in the guest."""
        return (self.folder / "release").read_text("utf-8").strip()

    @property
    def version(self) -> str:
        """Version of the Debian package."""
        return (self.folder / "version").read_text("utf-8").strip()

    def module(self, name: str) -> Path:
        """Return the file of a module of :data:`MODULES`."""
        return self.folder / "modules" / f"{name}.ko"


def kernel(stages: Stages) -> Kernel:
    """Return the kernel, fetched and its two modules built where it is not in the cache."""
    return Kernel(
        stages.get("kernel", digest([Path(__file__), Path(build_tree.__file__)]), lambda folder: _make(folder, stages))
    )


def _make(folder: Path, stages: Stages) -> None:
    packages = stages.packages
    image = packages.dependency("linux-image-arm64:arm64", "linux-image-")
    release = image.removeprefix("linux-image-").partition(":")[0]
    common = release.removesuffix("-arm64")
    source = packages.dependency("linux-source", "linux-source-")
    headers = (f"linux-headers-{release}:arm64", f"linux-headers-{common}-common", f"linux-kbuild-{common}:amd64")
    tree = stages.build_tree
    unpack(packages.download(headers), tree.root)
    files = packages.download((f"linux-binary-unsigned-{release}:arm64", f"linux-modules-{release}:arm64"))
    debian = folder.parent / "debian"
    unpack([*files, *packages.download(["busybox-static:arm64"])], debian)
    (source_package,) = packages.download([source])
    _prepare_sources(source_package, source, tree.root / "board")
    _build(tree, release)
    _keep(folder, tree.root, debian, release)
    (folder / "release").write_text(release + "\n", "utf-8")
    (folder / "version").write_text(source_package.name.split("_")[1] + "\n", "utf-8")


def _prepare_sources(package: Path, name: str, target: Path) -> None:
    """Take the folders of the two modules out of the kernel's source."""
    target.mkdir()
    patterns = [f"{name}/{pattern}" for pattern in _SOURCES]
    call(["sh", "-c", _TAKE, str(package), f"./usr/src/{name}.tar.xz", str(target), *patterns])
    for path, text in _BUILD_FILES.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, "utf-8")


def _build(tree: BuildTree, release: str) -> None:
    make = ["make", f"-j{os.cpu_count() or 1}", "-C", f"/usr/src/linux-headers-{release}", "M=/board", "ARCH=arm64"]
    tree.run([*make, f"CROSS_COMPILE={CROSS}", *_OPTIONS, _NO_TYPE_INFORMATION, "modules"])
    for module in _BUILT:
        tree.run([f"{CROSS}strip", "--strip-debug", f"/board/drivers/{module}.ko"])


def _keep(folder: Path, build: Path, debian: Path, release: str) -> None:
    """Copy what the guest needs."""
    (folder / "modules").mkdir()
    for name in _BUILT:
        shutil.copy(build / "board/drivers" / f"{name}.ko", folder / "modules")
    found = {re.sub(r"\.ko(\.xz)?$", "", path.name): path for path in debian.rglob("*.ko*")}
    for name in MODULES:
        target = folder / "modules" / f"{name}.ko"
        if not target.exists():
            target.write_bytes(lzma.decompress(found[name].read_bytes()))
    image = debian / "usr/lib/modules" / release / "vmlinuz.unsigned"
    with gzip.open(folder / "Image.gz", "wb", compresslevel=6) as compressed:
        compressed.write(image.read_bytes())
    shutil.copy(debian / "usr/bin/busybox", folder / "busybox")
