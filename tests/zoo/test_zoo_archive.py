import io
import tarfile

import pytest

from rocketnpu.errors import FetchError
from rocketnpu.zoo.archive import extract
from rocketnpu.zoo.catalogue import Member

MEMBER = Member("deep/tiny.tflite", "tiny.tflite")


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "archive"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_of_any_compression(archive, archives, model_file, mode):
    archive.write_bytes(archives.tar([("x-1/other", b"1"), ("./x-1/deep/tiny.tflite", archives.model)], mode))
    assert extract(archive, [MEMBER], [model_file]) == {"tiny.tflite": archives.model}


def test_a_zip(archive, archives, model_file):
    archive.write_bytes(archives.zip([("deep/tiny.tflite", archives.model)]))
    assert extract(archive, [MEMBER], [model_file]) == {"tiny.tflite": archives.model}


def test_only_what_is_wanted(archive, archives, model_file, labels_file):
    archive.write_bytes(archives.tar([("deep/tiny.tflite", b"not looked at"), ("l.txt", archives.labels)]))
    found = extract(archive, [MEMBER, Member("l.txt", "tiny_labels.txt")], [labels_file])
    assert found == {"tiny_labels.txt": archives.labels}


def test_a_member_whose_name_only_ends_alike_is_another(archive, archives, model_file):
    archive.write_bytes(archives.tar([("deep/untiny.tflite", archives.model), ("sheep/tiny.tflite", archives.model)]))
    with pytest.raises(FetchError, match=r"has no deep/tiny\.tflite"):
        extract(archive, [MEMBER], [model_file])


@pytest.mark.parametrize("make", ["tar", "zip"])
def test_another_checksum_is_refused(archive, archives, model_file, make):
    archive.write_bytes(getattr(archives, make)([("deep/tiny.tflite", archives.model[:-1] + b"?")]))
    with pytest.raises(FetchError, match="another SHA-256"):
        extract(archive, [MEMBER], [model_file])


@pytest.mark.parametrize("make", ["tar", "zip"])
def test_a_member_beyond_its_bound_is_refused(archive, archives, model_file, make):
    archive.write_bytes(getattr(archives, make)([("deep/tiny.tflite", bytes(model_file.max_bytes + 1))]))
    with pytest.raises(FetchError, match="has 65537 bytes, expected at most 65536"):
        extract(archive, [MEMBER], [model_file])


def test_an_archive_that_unpacks_without_end_is_refused(archive, archives, model_file):
    archive.write_bytes(archives.tar([("padding", bytes(1 << 20)), ("deep/tiny.tflite", archives.model)]))
    with pytest.raises(FetchError, match="unpacks to more than 65536 bytes"):
        extract(archive, [MEMBER], [model_file], max_bytes=1 << 16)


def test_links_are_not_followed_and_nothing_is_unpacked(tmp_path, archives, model_file, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_bytes(archives.model)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("deep/tiny.tflite")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
        escape = tarfile.TarInfo("../../escaped")
        escape.size = 1
        tar.addfile(escape, io.BytesIO(b"x"))
    archive = tmp_path / "archive"
    archive.write_bytes(buffer.getvalue())
    with pytest.raises(FetchError, match="has no deep"):
        extract(archive, [MEMBER], [model_file])
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["archive", "here", "secret"]


@pytest.mark.parametrize(
    "damage", [b"", b"\x1f\x8b no gzip", b"PK\x05\x06" + bytes(18), b"<html>not found</html>" * 99]
)
def test_a_damaged_archive_is_an_error(archive, model_file, damage):
    archive.write_bytes(damage)
    with pytest.raises(FetchError, match="archive"):
        extract(archive, [MEMBER], [model_file])


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_a_truncated_archive_is_an_error(archive, archives, model_file, mode):
    whole = archives.tar([("deep/tiny.tflite", archives.model)], mode)
    for length in range(0, len(whole) - 60, 7):
        archive.write_bytes(whole[:length])
        with pytest.raises(FetchError, match=r"cannot be read|has no"):
            extract(archive, [MEMBER], [model_file])
