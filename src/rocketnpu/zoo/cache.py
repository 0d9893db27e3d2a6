"""The user's cache: files that were fetched once. What does not have its checksum is never handed out."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from rocketnpu.errors import FetchError, InputError
from rocketnpu.files.reading import read_file
from rocketnpu.files.writing import write_atomically
from rocketnpu.folders import cache_folder, make_private
from rocketnpu.zoo.catalogue import CatalogueModel, ModelFile

_MODE = 0o644


class State(Enum):
    """What the cache holds under a file's name."""

    PRESENT = "present"
    DAMAGED = "damaged"
    ABSENT = "absent"


def default_folder() -> Path:
    """Return the user's cache.

    Raises:
        FetchError: there is no place for one.
    """
    try:
        return cache_folder()
    except InputError as error:
        raise FetchError(str(error)) from None


class Cache:
    """Files under ``folder/models/<model>/``. Safe with several processes at once."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use ``folder``, or :func:`default_folder`."""
        self.folder = default_folder() if folder is None else folder

    def path(self, model: CatalogueModel, file: ModelFile) -> Path:
        """Return where the file is, or would be."""
        return self.folder / "models" / model.name / file.name

    def state(self, model: CatalogueModel, file: ModelFile) -> State:
        """Read the file and say whether it is what it should be."""
        path = self.path(model, file)
        if not path.exists():
            return State.ABSENT
        try:
            data = read_file(path, file.max_bytes, "model", FetchError)
        except FetchError:
            return State.DAMAGED
        return State.PRESENT if file.accepts(data) else State.DAMAGED

    def find(self, model: CatalogueModel, file: ModelFile | None) -> Path | None:
        """Return the file's path if there is such a file, it is in the cache, and it has its checksum."""
        if file is None or self.state(model, file) is not State.PRESENT:
            return None
        return self.path(model, file)

    def store(self, model: CatalogueModel, file: ModelFile, data: bytes) -> Path:
        """Write the file so that another process sees either all of it or none of it.

        Raises:
            FetchError: ``data`` is not the file, or the cache cannot be written.
        """
        if not file.accepts(data):
            raise FetchError(f"{file.name}: these {len(data)} bytes have another SHA-256 than is known")
        path = self.path(model, file)
        try:
            make_private(path.parent)
            write_atomically(path, data, _MODE)
        except InputError as error:
            raise FetchError(str(error)) from None
        except OSError as error:
            raise FetchError(_unwritable(path, error)) from None
        return path

    @contextmanager
    def lock(self, model: CatalogueModel) -> Iterator[None]:
        """Hold the model's place in the cache; another process that asks for it waits.

        Raises:
            FetchError: the cache cannot be written.
        """
        path = self.folder / "models" / model.name / ".lock"
        try:
            make_private(path.parent)
            writer = path.open("ab")
        except InputError as error:
            raise FetchError(str(error)) from None
        except OSError as error:
            raise FetchError(_unwritable(path, error)) from None
        with writer:
            with suppress(OSError):  # a file system without locks: files stay whole, at worst are fetched twice
                fcntl.flock(writer, fcntl.LOCK_EX)
            yield


def _unwritable(path: Path, error: OSError) -> str:
    return f"cannot write the cache {path.parent}: {error.strerror or error}; set ROCKETNPU_CACHE to another folder"
