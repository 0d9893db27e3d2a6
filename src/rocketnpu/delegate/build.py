"""Build the shared libraries by which programs load this package: thin shells of C in front of Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from rocketnpu.errors import InputError
from rocketnpu.files.writing import write_file
from rocketnpu.libpython import advice, shared_python

NAME = "librocketnpu_delegate.so"


@dataclass(frozen=True)
class Shell:
    """A shared library to be built."""

    name: str
    package: str
    """Where its source is, a file of C that includes ``python_host.h``."""
    source: str
    module: str
    """The Python module that it calls."""
    verb: str
    """The command that builds it."""
    title: str
    otherwise: str
    """What Python programs do without a compiler."""


DELEGATE = Shell(
    NAME,
    "rocketnpu.delegate",
    "adapter.c",
    "rocketnpu.delegate.library",
    "build-delegate",
    "the delegate",
    "Python programs need none: they use rocketnpu.Delegate",
)
"""For TensorFlow Lite programs."""
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-shared", "-fPIC", "-O2", "-fvisibility=hidden", "-Wall", "-Werror")
_LIBRARIES = ("-ldl", "-lpthread")
_FIND = """
import importlib.util, sys
spec = importlib.util.find_spec("rocketnpu")
if spec is None or spec.origin is None:
    added = [folder for folder in FOLDERS if folder not in sys.path]
    sys.path[:0] = added
    sys.modules.pop("rocketnpu", None)
    try:
        import MODULE
    except Exception:
        pass
    finally:
        sys.path[:] = [folder for folder in sys.path if folder not in added] + added
"""
"""Makes the package importable in a process of another environment. This environment's folders come first while it is
imported, so that packages that belong together come from one place, and last afterwards. What the host has imported
already stays. A mere folder named rocketnpu (no origin) is not the package."""


def build(output: Path, shell: Shell = DELEGATE) -> Path:
    """Compile a library to ``output`` and return its absolute path.

    The library is bound to this Python's version and environment; the package itself it only refers to, so an upgrade
    in place needs no new build.

    Raises:
        InputError: there is no C compiler, it failed, or ``output`` cannot be written.
    """
    output = output.absolute()
    compiler = _compiler(shell)
    with (
        tempfile.TemporaryDirectory() as scratch,
        as_file(files(shell.package) / shell.source) as source,
        as_file(files("rocketnpu.delegate") / "python_host.h") as host,
    ):
        header, library = Path(scratch, "environment.h"), Path(scratch, shell.name)
        header.write_text(definitions(Interpreter.current(), shell), encoding="utf-8")
        command = [*compiler, "-I", str(host.parent), *arguments(header, source, library)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
            raise InputError(
                f"{compiler[0]} cannot compile {shell.title}: {reason or f'it ended with status {done.returncode}'}"
            )
        write_file(output, library.read_bytes(), shell.title, InputError, executable=True)
    return output


def arguments(header: Path, source: Path, library: Path) -> list[str]:
    """Return the C compiler's arguments; ``header`` holds the :func:`definitions`, ``source`` is a shell's."""
    return [*_FLAGS, "-include", str(header), str(source), "-o", str(library), *_LIBRARIES]


def _compiler(shell: Shell) -> list[str]:
    """Return the command of a C compiler: ``CC`` from the environment, else the first usual one that is there."""
    chosen = os.environ.get("CC", "").split()
    for candidate in (chosen,) if chosen else ([name] for name in _COMPILERS):
        if shutil.which(candidate[0]):
            return candidate
    raise InputError(
        f"no C compiler found ({' '.join(chosen) or ', '.join(_COMPILERS)}): install one, on Debian with "
        "`apt-get install gcc libc6-dev`, or set CC; " + shell.otherwise
    )


@dataclass(frozen=True)
class Interpreter:
    """The Python that a library is bound to."""

    executable: str
    shared_library: str
    """Its path; a mere name is left to the system's loader. Empty where it has none: only Python programs can load the
    delegate then."""
    standard_library: str
    """Any file of it."""
    package: str
    """The folder ``rocketnpu``."""
    folders: tuple[str, ...]
    """Where its packages are."""
    version: tuple[int, int]

    @classmethod
    def current(cls) -> Interpreter:
        """Describe the one that runs."""
        package = Path(str(files("rocketnpu")))
        return cls(
            sys.executable,
            str(shared_python() or ""),
            str(Path(os.__file__)),
            str(package),
            tuple(_folders(package)),
            sys.version_info[:2],
        )


def definitions(interpreter: Interpreter, shell: Shell = DELEGATE) -> str:
    """Write an interpreter down as C macros, which the library's source includes."""
    find = _FIND.replace("FOLDERS", repr(list(interpreter.folders))).replace("MODULE", shell.module)
    values = {
        "PYTHON": interpreter.executable,
        "LIBPYTHON": interpreter.shared_library,
        "LIBPYTHON_ADVICE": advice(interpreter.version),
        "STDLIB": interpreter.standard_library,
        "PACKAGE": f"{interpreter.package}/__init__.py",
        "FIND": f"exec({find!r}, {{}})",
        "VERB": shell.verb,
        "TITLE": shell.title,
        "MODULE": shell.module,
    }
    lines = [f"#define ROCKETNPU_{name} {_c_string(value)}" for name, value in values.items()]
    lines += [
        f"#define ROCKETNPU_{name} {number}"
        for name, number in zip(("MAJOR", "MINOR"), interpreter.version, strict=True)
    ]
    return "\n".join(lines) + "\n"


def _folders(package: Path) -> list[str]:
    """List this environment's search path without Python's own library, which each Python has of its own."""
    own = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    own |= {folder / "lib-dynload" for folder in own}
    found = [package.parent, *(Path(entry).absolute() for entry in sys.path if entry)]
    return [str(folder) for folder in dict.fromkeys(found) if folder.suffix != ".zip" and folder not in own]


def _c_string(text: str) -> str:
    return (
        '"'
        + "".join(chr(c) if 32 <= c < 127 and chr(c) not in '"\\?' else f"\\{c:03o}" for c in os.fsencode(text))
        + '"'
    )
