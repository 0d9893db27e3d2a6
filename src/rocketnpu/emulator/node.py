"""The emulated node: a socket that stands for a device node, and behind it a kernel driver and the simulator."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rocketnpu.emulator import wire
from rocketnpu.emulator.driver import KernelDriver, driver_of
from rocketnpu.emulator.drm_file import DrmFile, Limits
from rocketnpu.emulator.exhaustion import PASSING, PAUSE_SECONDS, raise_own_limit, wait_for_room
from rocketnpu.emulator.jobs import AnyCore, CorePool, QueuedJob
from rocketnpu.errors import DeviceError
from rocketnpu.policy import DEFAULT_CHIP

Observer = Callable[[DrmFile, QueuedJob], None]
_BACKLOG = 64
"""Programs that may be opening the node at one moment."""
_DESCRIPTORS = 12
"""What a request brings and its answer takes, with some to spare: descriptors that find no room are lost."""
_SLEEPERS = 256
"""Threads of one open file that wait for jobs; whoever comes then makes others wait."""
_SEPARATORS = frozenset(" :\t\n")
"""What ends a path in LD_PRELOAD."""


class EmulatedNode:
    """A running node. A context manager; :meth:`environment` makes a program use it.

    Args:
        cores: the NPU's cores; the simulator's where not given.
        driver: the kernel driver that answers; ``rocket`` where not given.
        limits: memory, address space and timeout of the emulated machine.
        report: told a line whenever a job is dropped, which the kernel tells nobody.
        observe: told of each finished job, before its buffers may change again.
    """

    def __init__(
        self,
        cores: Sequence[AnyCore] | None = None,
        limits: Limits | None = None,
        report: Callable[[str], None] = lambda _line: None,
        observe: Observer = lambda _file, _job: None,
        driver: KernelDriver | None = None,
    ) -> None:
        """Listen on a new socket in a private folder.

        Raises:
            DeviceError: the system's folder for temporary files has too long a path for a socket.
        """
        self.driver = driver or driver_of(DEFAULT_CHIP)
        self._pool = CorePool(cores or self.driver.cores(report))
        self._limits, self._report, self._observer = limits or Limits(), report, observe
        self._folder = Path(tempfile.mkdtemp(prefix="rocketnpu-node-"))
        self.path = self._folder / "node"
        self._listener = _listen(self.path)
        self._connections: set[_Connection] = set()
        self._lock = threading.Lock()
        self._stopped = False
        raise_own_limit()
        self._thread = threading.Thread(target=self._accept, name="rocketnpu-node", daemon=True)
        self._thread.start()

    def environment(self, library: Path, base: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment in which a program meets this node through the preloaded ``library``."""
        result = dict(os.environ if base is None else base)
        result["LD_PRELOAD"] = " ".join(filter(None, [self.preloadable(library), result.get("LD_PRELOAD", "")]))
        return result | self.variables()

    def preloadable(self, library: Path) -> str:
        """Return a path of the library that LD_PRELOAD can hold, which has neither blanks nor colons.

        Raises:
            DeviceError: the system's folder for temporary files has such a path too.
        """
        if not _SEPARATORS.intersection(str(library)):
            return str(library)
        link = self._folder / "shim.so"
        if _SEPARATORS.intersection(str(link)):
            raise DeviceError(f"LD_PRELOAD cannot hold {library} or {link}: set TMPDIR to a path without blanks")
        with contextlib.suppress(FileExistsError):
            link.symlink_to(library.absolute())
        return str(link)

    def variables(self) -> dict[str, str]:
        """Return what the preloaded library must find in its environment."""
        return {
            "ROCKETNPU_NODE_SOCKET": str(self.path),
            "ROCKETNPU_NODE_DRIVER": self.driver.name,
            "ROCKETNPU_NODE_PATH": self.driver.node,
        }

    @property
    def open_files(self) -> int:
        """Connections that are open."""
        with self._lock:
            return len(self._connections)

    @property
    def live_buffers(self) -> int:
        """Handles that programs hold in all open files."""
        with self._lock:
            return sum(len(connection.file.handles) for connection in self._connections)

    def stop(self) -> None:
        """Go away as an unplugged device does: open files fail with ENODEV from now on. Twice is allowed."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            connections = list(self._connections)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in connections:
            connection.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while not self._stopped:
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if error.errno not in PASSING:
                    return
                time.sleep(PAUSE_SECONDS)
                continue
            connection = _Connection(client, self.driver.open(self._pool, self._limits, self._observed), self)
            with self._lock:
                self._connections.add(connection)
            try:
                connection.start()
            except RuntimeError:  # no more threads: the program's open file is an unplugged device
                client.close()
                self.forget(connection)

    def _observed(self, file: DrmFile, job: QueuedJob) -> None:
        if job.error:
            self._report(f"job dropped after the timeout: {job.error}")
        self._observer(file, job)

    def forget(self, connection: _Connection) -> None:
        """Take a closed connection off the list."""
        with self._lock:
            self._connections.discard(connection)

    def note(self, line: str) -> None:
        """Report a line."""
        self._report(line)

    def __enter__(self) -> Self:
        """Return the node."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        shutil.rmtree(path.parent, ignore_errors=True)
        raise DeviceError(
            f"cannot make the emulated node's socket {path}: {error}; set TMPDIR to a short path"
        ) from None
    return listener


class _Connection(threading.Thread):
    """One open file: reads requests until the last descriptor of it is closed."""

    def __init__(self, client: socket.socket, file: DrmFile, node: EmulatedNode) -> None:
        super().__init__(name="rocketnpu-file", daemon=True)
        self.file = file
        self._client, self._node = client, node
        self._sleepers = threading.BoundedSemaphore(_SLEEPERS)

    def run(self) -> None:
        with self._client:
            while True:
                try:
                    wait_for_room(self._client, _DESCRIPTORS)
                    message, descriptors, _, _ = socket.recv_fds(self._client, 4096, 8)
                except OSError:
                    break
                if not message and not descriptors:
                    break
                self._answer(message, descriptors)
            self.file.close()
        self._node.forget(self)

    def stop(self) -> None:
        """End the connection from this side, unless the program has ended it already."""
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
        self.join()

    def _answer(self, message: bytes, descriptors: list[int]) -> None:
        """Answer one request; one that no shim would send is dropped, and its descriptors closed."""
        needed = {wire.OP_IOCTL: 2, wire.OP_MMAP: 1}
        if len(message) != wire.REQUEST.size or needed.get(wire.REQUEST.unpack(message)[0]) != len(descriptors):
            for descriptor in descriptors:
                os.close(descriptor)
            return
        operation, command, offset, length = wire.REQUEST.unpack(message)
        if operation == wire.OP_MMAP:
            _reply(descriptors[0], lambda: self.file.find_mapping(offset, length), self._node)
            return
        request = _Request(self.file, self._node, command, *descriptors)
        if request.may_sleep() and self._sleepers.acquire(blocking=False):
            try:
                threading.Thread(target=self._sleep, args=(request,), name="rocketnpu-wait", daemon=True).start()
            except RuntimeError:  # no more threads: others wait meanwhile
                self._sleepers.release()
            else:
                return
        request.answer()

    def _sleep(self, request: _Request) -> None:
        try:
            request.answer()
        finally:
            self._sleepers.release()


class _Request:
    """One ioctl on its way."""

    def __init__(self, file: DrmFile, node: EmulatedNode, command: int, reply: int, store: int) -> None:
        self._file, self._node, self._socket, self._descriptor = file, node, reply, store
        self._nr, self._size, self._store = command & 0xFF, command >> 16 & 0x3FFF, wire.Store(store)

    def may_sleep(self) -> bool:
        return self._file.may_sleep(self._nr, self._store)

    def answer(self) -> None:
        def execute() -> int | None:
            return self._file.ioctl(self._nr, self._size, self._store, self._node.note)

        try:
            _reply(self._socket, execute, self._node)
        finally:
            os.close(self._descriptor)


def _reply(descriptor: int, action: Callable[[], int | None], node: EmulatedNode) -> None:
    """Do ``action`` and send its outcome; a program that has gone away is no error."""
    error, passed = 0, []
    try:
        given = action()
        passed = [] if given is None else [given]
    except OSError as problem:
        error = problem.errno or errno.EIO
    except Exception as problem:
        error = errno.EIO
        node.note(f"internal error: {type(problem).__name__}: {problem}")
    try:
        with socket.socket(fileno=os.dup(descriptor)) as answer:
            # A socket that is full, or takes no more, is the program's own doing: nobody waits for it.
            # (socket.send_fds forgets its flags before Python 3.12.)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", passed))] if passed else []
            answer.sendmsg([wire.REPLY.pack(error, 0)], rights, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
    except OSError as problem:
        node.note(f"a program did not wait for its answer: {problem.strerror}")
    finally:
        for used in (descriptor, *passed):
            os.close(used)
