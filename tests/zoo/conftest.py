"""A small catalogue model, archives that hold it, a local web server, and an apt-get of our own."""

import contextlib
import hashlib
import http.server
import io
import sys
import tarfile
import textwrap
import threading
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rocketnpu.zoo import Cache
from rocketnpu.zoo.catalogue import CatalogueModel, DebianPackage, Download, Member, ModelFile

MODEL_BYTES = bytes(range(256)) * 40
LABEL_BYTES = b"background\nhen\ncock\n"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch, tmp_path):
    """Keep tests off the machine's own proxies and cache."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ROCKETNPU_CACHE", str(tmp_path / "default-cache"))


def digest(data):
    return hashlib.sha256(data).hexdigest()


def tar_bytes(members, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zip_bytes(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def archives():
    """Give tests the two archive makers and the contents of the sample's files."""

    @dataclass(frozen=True)
    class Archives:
        tar = staticmethod(tar_bytes)
        zip = staticmethod(zip_bytes)
        model: bytes = MODEL_BYTES
        labels: bytes = LABEL_BYTES

    return Archives()


@pytest.fixture
def model_file():
    return ModelFile("tiny.tflite", (digest(MODEL_BYTES),), max_bytes=1 << 16)


@pytest.fixture
def labels_file():
    return ModelFile("tiny_labels.txt", (digest(LABEL_BYTES),), max_bytes=1 << 10)


@pytest.fixture
def make_model(model_file, labels_file):
    def make(*sources):
        return CatalogueModel("tiny", "a model of nothing", "MIT", model_file, labels_file, tuple(sources))

    return make


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


@dataclass
class Site:
    """A local web server: ``pages`` is what it serves, ``asked`` what it was asked for."""

    url: str = ""
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    claimed_length: int | None = None
    before_answer: threading.Event = field(default_factory=threading.Event)
    between_bytes: float = 0.0

    def download(self, page, *members):
        return Download(f"{self.url}/{page}", tuple(Member(path, file) for path, file in members))


@pytest.fixture
def site():
    served = Site()
    served.before_answer.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served.asked.append(self.path)
            served.before_answer.wait(10)
            page = served.pages.get(self.path.lstrip("/"))
            if page is None:
                self.send_error(404, "Not Found")
                return
            self.send_response(200)
            self.send_header("Content-Length", str(served.claimed_length or len(page)))
            self.end_headers()
            if not served.between_bytes:
                self.wfile.write(page)
                return
            with contextlib.suppress(OSError):
                for place in range(len(page)):
                    self.wfile.write(page[place : place + 1])
                    time.sleep(served.between_bytes)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.before_answer.set()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Apt:
    """The machine's apt: its folder of lists, and what our apt-get was asked and configured with."""

    folder: Path
    record: Path
    tar: Path
    source: DebianPackage

    def calls(self):
        return [path.read_text() for path in sorted(self.record.glob("call-*"))]

    def fail(self, verb, text):
        (self.record / f"fail-{verb}").write_text(text)

    def offer(self, text):
        (self.record / "offer").write_text(text)


FAKE_APT_GET = """\
    #!{python}
    import os, pathlib, shutil, sys, time
    record, tar = pathlib.Path({record!r}), pathlib.Path({tar!r})
    arguments = sys.argv[1:]
    configuration = pathlib.Path(arguments[arguments.index("-c") + 1])
    verb = "update" if "update" in arguments else "offer" if "--print-uris" in arguments else "source"
    parts = sorted((configuration.parent / "sources").iterdir())
    number = len(list(record.glob("call-*")))
    (record / f"call-{{number:02}}").write_text("\\n".join(
        [" ".join(arguments), os.getcwd(), os.environ["LC_ALL"], configuration.read_text()]
        + [part.read_text() for part in parts]))
    failure = record / f"fail-{{verb}}"
    if failure.exists():
        sys.stderr.write(failure.read_text())
        sys.exit(100)
    if (record / "hang").exists():
        time.sleep(60)
    if verb == "offer":
        offer = record / "offer"
        line = f"'http://archive.invalid/{{tar.name}}' {{tar.name}} {{tar.stat().st_size}} SHA256:00"
        print("NOTICE: packaging is elsewhere")
        print(offer.read_text() if offer.exists() else line)
    if verb == "source":
        shutil.copy(tar, tar.name)
"""


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Put an apt-get on PATH that hands out ``tiny_1.0.orig.tar.xz``, and lists that name a Debian archive."""
    folder, record, binaries = tmp_path / "etc-apt", tmp_path / "record", tmp_path / "bin"
    for path in (folder / "sources.list.d", record, binaries):
        path.mkdir(parents=True)
    (folder / "sources.list").write_text("deb http://archive.invalid/debian bookworm main\n")
    tar = tmp_path / "tiny_1.0.orig.tar.xz"
    tar.write_bytes(tar_bytes([("tiny-1.0/a/tiny.tflite", MODEL_BYTES), ("tiny-1.0/b/l.txt", LABEL_BYTES)], "w:xz"))
    script = binaries / "apt-get"
    script.write_text(textwrap.dedent(FAKE_APT_GET).format(python=sys.executable, record=str(record), tar=str(tar)))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(binaries))
    monkeypatch.setattr("rocketnpu.zoo.apt_sources.APT_FOLDER", folder)
    members = (Member("a/tiny.tflite", "tiny.tflite"), Member("b/l.txt", "tiny_labels.txt"))
    return Apt(folder, record, tar, DebianPackage("tiny", "trixie", members))
