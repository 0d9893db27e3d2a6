import multiprocessing
import socket

import pytest

from rocketnpu import zoo
from rocketnpu.errors import FetchError, ModelError
from rocketnpu.zoo import catalogue

MODEL, LABELS = ("deep/tiny.tflite", "tiny.tflite"), ("l.txt", "tiny_labels.txt")


@pytest.fixture
def both(site, archives, make_model):
    site.pages["both.tgz"] = archives.tar([("deep/tiny.tflite", archives.model), ("l.txt", archives.labels)])
    return make_model(site.download("both.tgz", MODEL, LABELS))


@pytest.fixture
def closed_port():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.fixture
def in_catalogue(monkeypatch, both):
    monkeypatch.setattr(catalogue, "CATALOGUE", (both,))
    return both


def test_fetched_once_then_from_the_cache(site, both, cache, archives):
    first = zoo.get(both, cache)
    assert first.model.read_bytes() == archives.model
    assert first.labels.read_bytes() == archives.labels
    assert dict(first.origins) == dict.fromkeys(("tiny.tflite", "tiny_labels.txt"), f"{site.url}/both.tgz")
    second = zoo.get(both, cache)
    assert (second.model, second.labels) == (first.model, first.labels)
    assert dict(second.origins) == dict.fromkeys(("tiny.tflite", "tiny_labels.txt"), "cache")
    assert site.asked == ["/both.tgz"]


def test_a_damaged_file_is_replaced(both, cache, archives):
    path = zoo.get(both, cache).model
    path.write_bytes(archives.model[:100])
    again = zoo.get(both, cache)
    assert again.model == path
    assert path.read_bytes() == archives.model
    assert dict(again.origins)["tiny_labels.txt"] == "cache"


def test_sources_complete_each_other(site, archives, make_model, cache):
    site.pages["model.tgz"] = archives.tar([("deep/tiny.tflite", archives.model)])
    site.pages["labels.zip"] = archives.zip([("l.txt", archives.labels)])
    model = make_model(site.download("model.tgz", MODEL), site.download("labels.zip", MODEL, LABELS))
    got = zoo.get(model, cache)
    assert got.labels.read_bytes() == archives.labels
    assert [origin.rpartition("/")[2] for _, origin in got.origins] == ["model.tgz", "labels.zip"]


def test_a_model_without_its_labels_is_still_a_model(site, archives, make_model, cache):
    site.pages["model.tgz"] = archives.tar([("deep/tiny.tflite", archives.model)])
    got = zoo.get(make_model(site.download("model.tgz", MODEL), site.download("labels.zip", LABELS)), cache)
    assert got.model.read_bytes() == archives.model
    assert got.labels is None
    assert got.problems == (f"{site.url}/labels.zip: refused with HTTP status 404 (Not Found)",)


def test_debian_after_the_download(site, apt, make_model, cache, archives, closed_port):
    site.url = closed_port
    got = zoo.get(make_model(site.download("a.tgz", MODEL, LABELS), apt.source), cache)
    assert got.model.read_bytes() == archives.model
    assert dict(got.origins)["tiny.tflite"] == "Debian trixie's source package tiny"


def test_all_sources_fail(site, apt, make_model, cache, archives, model_file):
    site.pages["wrong.tgz"] = archives.tar([("deep/tiny.tflite", b"wrong")])
    apt.fail("update", "E: Temporary failure resolving\n")
    model = make_model(site.download("wrong.tgz", MODEL), site.download("none.zip", MODEL), apt.source)
    with pytest.raises(FetchError) as caught:
        zoo.get(model, cache)
    text = str(caught.value)
    path = cache.path(model, model_file)
    for part in (
        f"cannot get tiny: cache {path}: it is not there; ",
        f"{site.url}/wrong.tgz: its tiny.tflite (5 bytes) has another SHA-256 than is known; ",
        f"{site.url}/none.zip: refused with HTTP status 404 (Not Found); ",
        "package tiny: http://archive.invalid/debian: Temporary failure resolving. By hand: ",
        f"put it at {path} (SHA-256 {model_file.sha256[0]})",
    ):
        assert part in text
    assert not path.exists()


def test_a_damaged_file_that_cannot_be_replaced_is_not_used(make_model, cache, archives):
    model = make_model()
    path = cache.store(model, model.model, archives.model)
    path.write_bytes(b"damaged")
    with pytest.raises(FetchError, match=r"tiny\.tflite: it is damaged"):
        zoo.get(model, cache)


def test_a_host_that_does_not_answer_is_asked_once(site, make_model, cache, closed_port):
    site.url = closed_port
    model = make_model(site.download("a.tgz", MODEL), site.download("b.zip", MODEL))
    with pytest.raises(FetchError) as caught:
        zoo.get(model, cache)
    assert str(caught.value).count("no connection") == 1
    assert "b.zip:" not in str(caught.value)


def _get(model, cache):
    zoo.get(model, cache)


def test_two_processes_at_once_fetch_once(site, both, cache, archives):
    site.before_answer.clear()
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_get, args=(both, cache)) for _ in range(3)]
    for other in others:
        other.start()
    others[0].join(1.5)
    site.before_answer.set()
    for other in others:
        other.join(30)
    assert [other.exitcode for other in others] == [0, 0, 0]
    assert site.asked == ["/both.tgz"]
    assert cache.path(both, both.model).read_bytes() == archives.model
    assert sorted(path.name for path in cache.path(both, both.model).parent.iterdir()) == [
        ".lock",
        "tiny.tflite",
        "tiny_labels.txt",
    ]


def test_a_path_is_used_as_it_is(tmp_path, in_catalogue, site, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.tflite", "tiny", "tiny.tflite"):
        (tmp_path / name).write_bytes(b"anything")
        assert zoo.resolve(name).read_bytes() == b"anything"
    assert site.asked == []


def test_a_name_is_fetched(in_catalogue, cache, archives, capsys):
    assert zoo.resolve("tiny", cache).read_bytes() == archives.model
    assert capsys.readouterr() == ("", "")


def test_a_file_name_of_the_catalogue_is_fetched_with_a_note(
    tmp_path, in_catalogue, cache, archives, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert zoo.resolve("tiny.tflite", cache).read_bytes() == archives.model
    assert capsys.readouterr() == ("", "rocketnpu: tiny.tflite is not in this folder; taking the catalogue's tiny\n")


def test_resolving_needs_no_labels(in_catalogue, cache, archives, site):
    cache.store(in_catalogue, in_catalogue.model, archives.model)
    assert zoo.resolve("tiny", cache) == cache.path(in_catalogue, in_catalogue.model)
    assert site.asked == []


@pytest.mark.parametrize("name", ["nothing", "some/where/tiny.tflite", "nothing.tflite", "x" * 5000, "a\0b"])
def test_neither_a_file_nor_a_name(in_catalogue, name):
    with pytest.raises(ModelError, match=r"model") as caught:
        zoo.resolve(name)
    if len(name) < 100:
        assert "the catalogue has: tiny" in str(caught.value)


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="is a folder"):
        zoo.resolve(tmp_path)


def test_names(in_catalogue):
    assert zoo.named("tiny") is in_catalogue
    with pytest.raises(ModelError, match="no model called 'huge'; the catalogue has: tiny"):
        zoo.named("huge")


def test_labels_are_found_beside_the_model_or_in_the_cache(tmp_path, in_catalogue, cache, archives):
    model = tmp_path / "tiny.tflite"
    assert zoo.labels_for(model, cache) is None
    stored = cache.store(in_catalogue, in_catalogue.labels, archives.labels)
    assert zoo.labels_for(model, cache) == stored
    (tmp_path / "tiny_labels.txt").write_text("my own")
    assert zoo.labels_for(model, cache) == tmp_path / "tiny_labels.txt"
    assert zoo.labels_for(tmp_path / "other.tflite", cache) is None


def test_the_catalogue_is_sound():
    names = [model.name for model in catalogue.CATALOGUE]
    assert len(set(names)) == len(names)
    for model in catalogue.CATALOGUE:
        assert all(len(checksum) == 64 and int(checksum, 16) for file in model.files for checksum in file.sha256)
        offered = {member.file for source in model.sources for member in source.members}
        assert offered == {file.name for file in model.files}
