import contextlib
import socket
import time

import pytest

from rocketnpu.errors import FetchError
from rocketnpu.zoo import download, progress

MEMBER = ("deep/tiny.tflite", "tiny.tflite")


@pytest.fixture
def page(site, archives):
    site.pages["a.tgz"] = archives.tar([("deep/tiny.tflite", archives.model)])
    return site.download("a.tgz", MEMBER)


def test_a_file_out_of_an_archive(page, archives, model_file, capfd):
    assert download.fetch(page, [model_file]) == {"tiny.tflite": archives.model}
    assert capfd.readouterr() == ("", "")  # no terminal, no bar


def test_refused(site, model_file):
    with pytest.raises(FetchError, match=r"refused with HTTP status 404 \(Not Found\)") as caught:
        download.fetch(site.download("missing.tgz", MEMBER), [model_file])
    assert not isinstance(caught.value, download.HostUnreachableError)


def test_a_transfer_that_breaks(site, page, model_file):
    site.claimed_length = len(site.pages["a.tgz"]) + 1000
    with pytest.raises(FetchError, match="the transfer broke"):
        download.fetch(page, [model_file])


def test_an_archive_beyond_the_bound(page, model_file, monkeypatch):
    monkeypatch.setattr(download, "MAX_ARCHIVE_BYTES", 100)
    with pytest.raises(FetchError, match="expected at most 100"):
        download.fetch(page, [model_file])


def test_nobody_listens(model_file, site):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        site.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(download.HostUnreachableError, match="no connection: Connection refused"):
            download.fetch(site.download("a.tgz", MEMBER), [model_file])


def test_an_unknown_host(model_file, site):
    site.url = "http://host.invalid"
    with pytest.raises(download.HostUnreachableError, match="no connection"):
        download.fetch(site.download("a.tgz", MEMBER), [model_file])


def test_a_silent_host_is_left_soon(site, page, model_file, monkeypatch):
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.2)
    site.before_answer.clear()
    start = time.monotonic()
    with pytest.raises(download.HostUnreachableError, match=r"no answer within 0\.2 s"):
        download.fetch(page, [model_file])
    assert time.monotonic() - start < 3


def test_a_certificate_fault_is_a_reason_not_a_traceback(site, page, model_file):
    with pytest.raises(download.HostUnreachableError, match="no connection"):
        download.fetch(site.download("a.tgz", MEMBER).__class__(page.url.replace("http:", "https:"), ()), [model_file])


def test_a_host_that_drips_is_left_after_the_total_time(site, page, model_file, monkeypatch):
    """Each byte comes well within the time that a silence may last."""
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 0.3)
    site.pages["a.tgz"] += bytes(500)
    site.between_bytes = 0.02
    start = time.monotonic()
    with pytest.raises(FetchError, match=r"took more than 0\.3 s"):
        download.fetch(page, [model_file])
    assert time.monotonic() - start < 4, "10 s would pass until all is there"


def test_what_drips_fast_enough_is_taken(site, page, model_file, archives):
    site.between_bytes = 0.0001
    assert download.fetch(page, [model_file]) == {"tiny.tflite": archives.model}


def test_a_bar_prints_a_strangers_words_as_they_are(terminal):
    with contextlib.redirect_stderr(terminal), progress.bar("a[/]b\x1b]0;owned\x07", 10) as report:
        report(10)
    assert "a[/]b\\x1b]0;owned\\x07" in terminal.getvalue()
    assert "\x1b]0;" not in terminal.getvalue()
