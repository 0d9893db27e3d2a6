import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from rocketnpu import zoo
from rocketnpu.errors import FetchError
from rocketnpu.zoo import debian, private_apt
from rocketnpu.zoo.catalogue import MOBILENET_V1, DebianPackage
from rocketnpu.zoo.fetch import named


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Give the temporary folders a place of their own, to see that none is left."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_the_files_come_out_of_the_package(apt, model_file, labels_file, archives, temporary, capfd):
    found = debian.fetch(apt.source, [model_file, labels_file])
    assert found == {"tiny.tflite": archives.model, "tiny_labels.txt": archives.labels}
    assert list(temporary.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_apt_is_private(apt, model_file, temporary):
    debian.fetch(apt.source, [model_file])
    calls = apt.calls()
    assert [re.sub(r"-q -c \S+ ", "", call.splitlines()[0]) for call in calls] == [
        "update",
        "--print-uris source --download-only --tar-only --only-source tiny",
        "source --download-only --tar-only --only-source tiny",
    ]
    for call in calls:
        _, folder, language, *_ = call.splitlines()
        assert Path(folder).parent.parent == temporary
        assert language == "C"
        assert "Types: deb-src\nURIs: http://archive.invalid/debian\nSuites: trixie\nComponents: main\n" in call
        places = re.findall(r'^Dir::([\w:]+) "(.*)";$', call, re.MULTILINE)
        assert {name for name, _ in places} >= {"State", "State::lists", "Cache", "Etc::sourcelist", "Etc::sourceparts"}
        assert all(place == "" or Path(place).is_relative_to(Path(folder).parent) for _, place in places)
        assert call.count("#clear APT::Update::") == 3


@pytest.mark.parametrize(("possible", "lines"), [(True, 0), (False, 1)])
def test_root_becomes_apts_own_user_where_there_is_one(apt, model_file, monkeypatch, possible, lines):
    asked = []

    def chown(path, user):
        asked.append((path.name, user, path.parent.stat().st_mode & 0o777))
        if not possible:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "chown", chown)
    debian.fetch(apt.source, [model_file])
    assert asked == [("download", "_apt", 0o711)]
    assert [call.count('APT::Sandbox::User "root";') for call in apt.calls()] == [lines] * 3


def test_no_apt_get(apt, model_file, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "record"))
    with pytest.raises(FetchError, match="there is no apt-get on this machine"):
        debian.fetch(apt.source, [model_file])


def test_no_debian_archive(apt, model_file):
    (apt.folder / "sources.list").write_text("deb http://archive.invalid/ubuntu noble main\n")
    with pytest.raises(FetchError, match="name no Debian archive"):
        debian.fetch(apt.source, [model_file])
    assert apt.calls() == []


@pytest.mark.parametrize("verb", ["update", "offer", "source"])
def test_apt_fails(apt, model_file, temporary, verb):
    apt.fail(
        verb, "W: this is of no matter\nE: Failed to fetch http://me:secret@archive.invalid/x  Could not resolve\n"
    )
    with pytest.raises(FetchError) as caught:
        debian.fetch(apt.source, [model_file])
    assert str(caught.value) == (
        "http://archive.invalid/debian: Failed to fetch http://archive.invalid/x  Could not resolve"
    )
    assert list(temporary.iterdir()) == []


def test_apt_fails_without_a_word(apt, model_file):
    apt.fail("update", "")
    with pytest.raises(FetchError, match="apt-get ended with status 100"):
        debian.fetch(apt.source, [model_file])


def test_a_password_in_an_address_is_not_shown(apt, model_file):
    (apt.folder / "sources.list").write_text("deb http://me:secret@archive.invalid/debian bookworm main\n")
    apt.fail("update", "E: no\n")
    with pytest.raises(FetchError, match=r"^http://archive\.invalid/debian: no$"):
        debian.fetch(apt.source, [model_file])


def test_the_next_archive_is_tried_but_not_without_end(apt, model_file):
    lines = [f"deb http://m{number}.invalid/debian bookworm main\n" for number in range(9)]
    (apt.folder / "sources.list").write_text("".join(lines))
    apt.fail("update", "E: no\n")
    with pytest.raises(FetchError) as caught:
        debian.fetch(apt.source, [model_file])
    assert str(caught.value) == ", ".join(f"http://m{number}.invalid/debian: no" for number in range(3))


@pytest.mark.parametrize(
    ("offer", "reason"),
    [
        ("", "names no upstream archive for tiny"),
        ("'http://a.invalid/x' tiny_1.dsc 100 SHA256:00", "names no upstream archive for tiny"),
        ("'http://a.invalid/x' ../../tiny_1.orig.tar.xz 100 SHA256:00", "names no upstream archive for tiny"),
        ("'http://a.invalid/x' tiny_1.orig.tar.xz 99999999999 SHA256:00", "has 99999999999 bytes, expected at most"),
        ("'http://a.invalid/x' tiny_2.orig.tar.xz 100 SHA256:00", r"left no tiny_2\.orig\.tar\.xz"),
    ],
)
def test_odd_offers(apt, model_file, offer, reason):
    apt.offer(offer)
    with pytest.raises(FetchError, match=reason):
        debian.fetch(apt.source, [model_file])


def test_another_file_under_the_name(apt, model_file, archives):
    apt.tar.write_bytes(archives.tar([("tiny-1.0/a/tiny.tflite", b"another")], "w:xz"))
    with pytest.raises(FetchError, match=r"tiny\.tflite \(7 bytes\) has another SHA-256"):
        debian.fetch(apt.source, [model_file])


def test_an_apt_that_hangs_is_ended(apt, model_file, monkeypatch, temporary):
    (apt.record / "hang").touch()
    monkeypatch.setattr(private_apt, "STALL_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(FetchError, match=r"got nothing for 0\.5 s"):
        debian.fetch(apt.source, [model_file])
    assert time.monotonic() - start < 10
    assert list(temporary.iterdir()) == []


NETWORK = os.environ.get("ROCKETNPU_TEST_NETWORK") == "1"


@pytest.mark.skipif(not NETWORK, reason="fetches 57 MB from Debian; set ROCKETNPU_TEST_NETWORK=1 to run it")
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="this machine has no apt-get")
def test_the_real_package(cache, temporary):
    model = named("mobilenet_v1")
    (package,) = (source for source in model.sources if isinstance(source, DebianPackage))
    found = debian.fetch(package, model.files)
    assert len(found[MOBILENET_V1.model.name]) == 4_276_384
    assert found[MOBILENET_V1.labels.name].startswith(b"background\ntench\n")
    assert list(temporary.iterdir()) == []
    for file in model.files:
        assert cache.store(model, file, found[file.name]).is_file()
    assert zoo.resolve("mobilenet_v1", cache) == cache.path(model, model.model)
