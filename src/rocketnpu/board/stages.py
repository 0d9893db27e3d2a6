"""Stages of the board in the user's cache: each is a folder that is made once and named after what it was made by."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from rocketnpu.board.build_tree import BuildTree
from rocketnpu.board.packages import DebianPackages
from rocketnpu.errors import BoardUnavailableError, InputError
from rocketnpu.folders import make_private
from rocketnpu.zoo.progress import note

_DONE = ".done"
_KEY_DIGITS = 12
_KEPT_SECONDS = 7 * 86400.0


def digest(parts: Iterable[bytes | Path]) -> str:
    """Return a short hash over bytes and over files' contents."""
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.read_bytes()
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:_KEY_DIGITS]


class Stages:
    """The folder of the stages. A context manager: one process at a time makes or looks up stages."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which is made."""
        self.folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Stages:
        """Take the folder's lock.

        Raises:
            BoardUnavailableError: the folder cannot be made.
        """
        try:
            make_private(self.folder)
            lock = self._stack.enter_context((self.folder / ".lock").open("ab"))
        except InputError as error:
            raise BoardUnavailableError(f"the board has no cache: {error}") from None
        except OSError as error:
            raise BoardUnavailableError(
                f"the board has no cache: {error.filename}: {error.strerror}; set ROCKETNPU_CACHE to another folder"
            ) from None
        fcntl.flock(lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was downloaded, and let the next process in."""
        for name in ("packages", "build_tree"):
            self.__dict__.pop(name, None)
        self._stack.close()

    @cached_property
    def packages(self) -> DebianPackages:
        """Debian's packages; the archive is asked on first use."""
        return DebianPackages(self._stack.enter_context(self.scratch()))

    @cached_property
    def build_tree(self) -> BuildTree:
        """A compiler for the guest; fetched on first use, and not kept."""
        return BuildTree.unpacked(self.packages, self._stack.enter_context(self.scratch()) / "tree")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder on the cache's disk that is removed afterwards."""
        with tempfile.TemporaryDirectory(prefix=".scratch-", dir=self.folder, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def get(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """Return the stage's folder; ``make`` fills it where there is none.

        Stages of that name with other keys that nobody asked for within a week are removed.

        Raises:
            BoardUnavailableError: it cannot be made here.
        """
        target = self.folder / f"{name}-{key}"
        if (target / _DONE).exists():
            (target / _DONE).touch()
            return target
        note(f"board: making {name} ({target})")
        try:
            with self.scratch() as folder:
                made = folder / name
                made.mkdir()
                make(made)
                (made / _DONE).touch()
                shutil.rmtree(target, ignore_errors=True)
                made.rename(target)
        except OSError as error:
            raise BoardUnavailableError(f"the board's {name} cannot be made: {error}") from None
        for used in self.folder.glob(f"{name}-*/{_DONE}"):
            if used.stat().st_mtime < time.time() - _KEPT_SECONDS:
                shutil.rmtree(used.parent, ignore_errors=True)
        return target
