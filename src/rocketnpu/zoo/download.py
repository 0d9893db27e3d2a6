"""Get files out of an archive at a fixed address."""

from __future__ import annotations

import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rocketnpu._version import __version__
from rocketnpu.errors import FetchError
from rocketnpu.files.limits import DOWNLOAD_SECONDS
from rocketnpu.zoo.archive import extract
from rocketnpu.zoo.catalogue import Download, ModelFile
from rocketnpu.zoo.progress import bar
from rocketnpu.zoo.temporary import temporary_folder

ANSWER_SECONDS = 5.0
"""From the question to the answer's first line, name look-up included: a machine without a network moves on."""
READ_SECONDS = 30.0
"""The longest silence once data flows."""
MAX_ARCHIVE_BYTES = 256 << 20
_BLOCK_BYTES = 1 << 16


class HostUnreachableError(FetchError):
    """The host did not answer at all, so that its other addresses need not be tried."""


def fetch(source: Download, wanted: Sequence[ModelFile]) -> dict[str, bytes]:
    """Return the wanted files that the source has, by name, all checked.

    Raises:
        HostUnreachableError: no connection, or no answer in time.
        FetchError: the host refused, the transfer broke, or the archive does not hold what it should.
    """
    with temporary_folder() as folder:
        archive = folder / "archive"
        try:
            _download(source.url, archive)
        except (OSError, http.client.HTTPException) as error:
            raise FetchError(f"the transfer broke: {error or type(error).__name__}") from None
        return extract(archive, source.members, wanted)


def _download(url: str, target: Path) -> None:
    with _open(url) as response, target.open("wb") as writer:
        total = response.length
        if total is not None and total > MAX_ARCHIVE_BYTES:
            raise FetchError(f"the archive has {total} bytes, expected at most {MAX_ARCHIVE_BYTES}")
        done, end = 0, time.monotonic() + DOWNLOAD_SECONDS
        with bar(Path(urlsplit(url).path).name, total) as report:
            # Not read(), which waits for whole blocks: a host that drips would stretch each one at its will.
            while block := response.read1(_BLOCK_BYTES):
                done += len(block)
                if done > MAX_ARCHIVE_BYTES:
                    raise FetchError(f"the archive has more than {MAX_ARCHIVE_BYTES} bytes")
                if time.monotonic() > end:
                    raise FetchError(f"the transfer took more than {DOWNLOAD_SECONDS:g} s")
                writer.write(block)
                report(done)
        if total is not None and done != total:
            raise FetchError(f"the transfer broke after {done} of {total} bytes")


def _open(url: str) -> http.client.HTTPResponse:
    """Ask in a thread of its own, since a name look-up knows no time limit."""
    answers: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()
    abandoned = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, headers={"User-Agent": f"rocketnpu/{__version__}"})
        try:
            response = urllib.request.urlopen(request, timeout=READ_SECONDS)
        except Exception as error:
            answers.put(error)
            return
        if abandoned.is_set():
            response.close()
        answers.put(response)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        abandoned.set()
        raise HostUnreachableError(f"no answer within {ANSWER_SECONDS:g} s") from None
    if isinstance(answer, Exception):
        raise _refusal(answer)
    return answer


def _refusal(error: Exception) -> FetchError:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return FetchError(f"refused with HTTP status {error.code} ({error.reason})")
    if isinstance(error, urllib.error.URLError):
        reason = error.reason
        text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        return HostUnreachableError(f"no connection: {text}")
    return HostUnreachableError(f"no connection: {error or type(error).__name__}")
