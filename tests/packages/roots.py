"""Fresh Debian systems in folders, made by mmdebstrap with an apt of their own: nothing is installed on this system.

A system of this machine's architecture is complete (its packages' scripts have run) and is entered with chroot, with a
/proc of its own; whoever is not root makes and enters it in a user namespace, with the numbers that /etc/subuid gives.
One of another architecture is only unpacked; its Python runs under qemu's user emulation.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from fresh import call

from rocketnpu.folders import cache_folder
from rocketnpu.zoo.apt_sources import debian_archives

RUNTIME = (
    *("python3", "python3-numpy", "python3-cffi", "python3-pil", "python3-flatbuffers", "python3-platformdirs"),
    *("python3-click", "python3-rich"),
)
"""What the Debian package depends on."""
TESTING = ("python3-pytest", "python3-pytest-xdist", "python3-hypothesis")
_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"

_IMPLEMENTATION = "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0b\n"


@dataclass(frozen=True)
class System:
    """A Debian system in a folder."""

    root: Path

    def run(self, *command: object, timeout: float = 600, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command inside, which must end with ``status``."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "TMPDIR": "/tmp"}
        apart = ("--mount", "--pid", "--fork", f"--mount-proc={self.root}/proc")
        inside = ("unshare", *_as_root(), *apart, "chroot", self.root)
        return call([*inside, *command], None, environment, timeout, status)

    def call(self, *command: object, timeout: float = 600, status: int = 0) -> str:
        """Run a command inside and return what it prints."""
        return self.run(*command, timeout=timeout, status=status).stdout

    def bring(self, source: Path, place: str) -> None:
        """Copy a file or a folder of this machine to a place inside; what stood there goes, and its root owns it."""
        passing = self.root / "tmp" / f"passing-{os.getpid()}"
        if source.is_dir():
            shutil.copytree(source, passing)
            passing.chmod(0o755)  # a test's own folder is private
        else:
            shutil.copy(source, passing)
        try:
            copy = 'rm -rf "$2" && mkdir -p "$(dirname "$2")" && cp -r "$1" "$2"'
            self.call("sh", "-c", copy, "sh", f"/tmp/{passing.name}", place)
        finally:
            shutil.rmtree(passing) if source.is_dir() else passing.unlink()

    def python_version(self) -> str:
        """Return its Python's version, such as 3.13."""
        [found] = (path.name for path in (self.root / "usr/lib").glob("python3.*"))
        return found.removeprefix("python")


def system(suite: str, packages: Sequence[str]) -> System:
    """Make a complete system; the test is skipped where that cannot be done."""
    mode = f"--mode={'unshare' if _as_root() else 'root'}"
    return System(_made(suite, packages, mode, "--variant=essential", "--skip=chroot/mount,cleanup/apt"))


def unpacked(suite: str, architecture: str, packages: Sequence[str]) -> Path:
    """Unpack packages and what they depend on, without running anything."""
    return _made(suite, packages, "--mode=chrootless", "--variant=extract", f"--architectures={architecture}")


def _as_root() -> tuple[str, ...]:
    """Return the options with which ``unshare`` makes this user root of a namespace; none for root."""
    if os.geteuid() == 0:
        return ()
    numbers = [
        line.split(":")[1:]
        for line in Path("/etc/subuid").read_text().splitlines()
        if line.split(":")[0] in (getpass.getuser(), str(os.geteuid()))
    ]
    if not numbers or not shutil.which("newuidmap"):
        pytest.skip("making a system needs root, or numbers in /etc/subuid and newuidmap (apt-get install uidmap)")
    first, count = numbers[0]
    users = (f"--map-users={first},0,{count}", f"--map-groups={first},0,{count}")
    return (*users, "--setuid", "0", "--setgid", "0")


def _folder() -> Path:
    """Return where systems are kept: whoever makes them in a namespace must let its users pass, as a cache does not."""
    if os.geteuid() == 0:
        folder = cache_folder() / "packages"
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    folder = Path(f"/var/tmp/rocketnpu-packages-{os.geteuid()}")
    folder.mkdir(mode=0o755, exist_ok=True)
    if folder.stat(follow_symlinks=False).st_uid != os.geteuid():
        pytest.skip(f"{folder} is another user's")
    return folder


def _made(suite: str, packages: Sequence[str], *options: str) -> Path:
    archives = debian_archives()
    if not archives or not shutil.which("apt-get"):
        pytest.skip("this machine's apt names no Debian archive")
    wanted = f"--include={','.join(packages)}"
    key = hashlib.sha256("\n".join((suite, wanted, *options)).encode()).hexdigest()[:12]
    folder = _folder()
    root, partial = folder / f"{suite}-{key}", folder / f"{suite}-{key}.{os.getpid()}"
    if root.is_dir():
        return root
    # A mirror may be older than its own promise to be renewed; its signature is checked all the same.
    command = [*_mmdebstrap(folder), '--aptopt=Acquire::Check-Valid-Until "false"', *options, wanted]
    done = subprocess.run([*command, suite, partial, archives[0].uri], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        pytest.skip(f"no system of {suite} can be made: {done.stderr.strip().splitlines()[-1]}")
    for name in ("bin", "lib", "sbin"):  # the links of a merged /usr, which unpacking alone does not make
        if not (partial / name).exists():
            (partial / name).symlink_to(f"usr/{name}")
    partial.rename(root)
    return root


def _mmdebstrap(folder: Path) -> list[str]:
    """Return the command, from the system or from its package."""
    return [shutil.which("mmdebstrap") or str(_program(folder, "mmdebstrap", "mmdebstrap"))]


def _program(folder: Path, package: str, name: str) -> Path:
    """Return a program of a Debian package that is not installed."""
    place = folder / package
    if not (place / "usr/bin" / name).exists():
        place.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["apt-get", "download", "-q", package], cwd=place, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"the package {package} cannot be had: {done.stderr.decode().strip().splitlines()[-1]}")
        for archive in place.glob(f"{package}_*.deb"):
            call(["dpkg", "-x", archive, place])
            archive.unlink()
    return place / "usr/bin" / name


def emulated_python(root: Path) -> Path:
    """Write a command that runs an unpacked arm64 system's Python here, and return its path."""
    python = next((root / "usr/bin").glob("python3.[0-9]*"))
    qemu = shutil.which("qemu-aarch64-static") or _program(root.parent, "qemu-user-static", "qemu-aarch64-static")
    libraries = root / "usr/lib/aarch64-linux-gnu"
    # TensorFlow Lite's kernels read /proc/cpuinfo and fail on another architecture's.
    (root / "proc").mkdir(exist_ok=True)
    core = f"BogoMIPS\t: 48.00\nFeatures\t: {_FEATURES}\n{_IMPLEMENTATION}\n"
    (root / "proc/cpuinfo").write_text("".join(f"processor\t: {number}\n{core}" for number in range(2)))
    command = root.with_name(f"{root.name}-python")
    # The fastest modern core: "max" is five times slower because of pointer authentication.
    command.write_text(
        f"#!/bin/sh\nexec {qemu} -0 {command} -cpu cortex-a76 -L {root} -E PYTHONHOME={root}/usr "
        f'-E LD_LIBRARY_PATH={libraries}/blas:{libraries}/lapack {python} "$@"\n'
    )
    command.chmod(0o755)
    return command


def cross_compiler() -> Path:
    """Return the command of a C compiler for arm64: the system's, or one unpacked beside the systems.

    It is of this system's own release: with another's libraries this system's loader starts nothing.
    """
    name = "aarch64-linux-gnu-gcc"
    if found := shutil.which(name):
        return Path(found)
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    root = unpacked(release, "amd64", ("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"))
    command = root.with_name(f"{root.name}-{name}")
    tools = root / "usr/aarch64-linux-gnu"
    command.write_text(
        f"#!/bin/sh\nLD_LIBRARY_PATH={root}/usr/lib/x86_64-linux-gnu exec {root}/usr/bin/{name} --sysroot={root} "
        f'-B{tools}/bin -B{tools}/lib -isystem {tools}/include -L{tools}/lib "$@"\n'
    )
    command.chmod(0o755)
    return command


def wheels(place: Path, version: str, architecture: str, *requirements: str) -> Path:
    """Fetch wheels for a Python of another system, with what they need, and return the folder."""
    platforms = [f"--platform={name}_{architecture}" for name in ("manylinux_2_27", "manylinux_2_28", "manylinux2014")]
    target = ["--only-binary=:all:", f"--python-version={version}", "--implementation=cp", *platforms]
    quiet = ["--quiet", "--disable-pip-version-check", f"--dest={place}"]
    call([sys.executable, "-m", "pip", "download", *quiet, *target, *requirements], timeout=1200)
    return place
