import hashlib
import json

import pytest

from rocketnpu.cli.main import run
from rocketnpu.zoo import Cache, catalogue
from rocketnpu.zoo.catalogue import CatalogueModel, DebianPackage, Member, ModelFile

CONTENT = {"tiny.tflite": b"the model", "tiny.txt": b"the labels"}


@pytest.fixture
def model(monkeypatch, tmp_path):
    """Put one model into the catalogue whose only source is an apt that this machine does not have."""
    model, labels = (ModelFile(name, (hashlib.sha256(data).hexdigest(),), 100) for name, data in CONTENT.items())
    source = DebianPackage("tiny", "trixie", (Member("tiny.tflite", "tiny.tflite"), Member("tiny.txt", "tiny.txt")))
    entry = CatalogueModel("tiny", "a model of nothing", "MIT", model, labels, (source,))
    monkeypatch.setattr(catalogue, "CATALOGUE", (entry,))
    monkeypatch.setattr("rocketnpu.zoo.CATALOGUE", (entry,))
    monkeypatch.setenv("ROCKETNPU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return entry


@pytest.fixture
def stored(model):
    return [Cache().store(model, file, CONTENT[file.name]) for file in model.files]


def test_get_from_the_cache(stored, capsys):
    assert run(["models", "get", "tiny"]) == 0
    assert capsys.readouterr() == (
        f"{stored[0]} (9 bytes, from the cache)\n{stored[1]} (10 bytes, from the cache)\n",
        "",
    )


def test_get_as_json(stored, capsys):
    assert run(["models", "get", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "model": str(stored[0]),
        "labels": str(stored[1]),
        "origins": {"tiny.tflite": "cache", "tiny.txt": "cache"},
    }


def test_get_without_its_labels_notes_why(stored, capsys):
    stored[1].unlink()
    assert run(["models", "get", "tiny"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{stored[0]} (9 bytes, from the cache)\n"
    assert err == (
        "rocketnpu: tiny is there, but its labels could not be had: "
        "Debian trixie's source package tiny: there is no apt-get on this machine\n"
    )


def test_get_fails_in_one_line_that_helps(model, capsys):
    assert run(["models", "get", "tiny"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rocketnpu: cannot get tiny: cache ")
    assert "there is no apt-get on this machine. By hand: " in err
    assert model.model.sha256[0] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("damage", "state"), [(None, "present"), (b"other", "damaged"), (b"", "damaged")])
def test_list(stored, capsys, damage, state):
    if damage is not None:
        stored[0].write_bytes(damage)
    assert run(["models", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "name": "tiny",
            "summary": "a model of nothing",
            "licence": "MIT",
            "file": "tiny.tflite",
            "state": state,
            "path": str(stored[0]),
        }
    ]
    assert run(["models", "list"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "summary", "licence", "state", "path"]
    assert row.split() == ["tiny", "a", "model", "of", "nothing", "MIT", state, str(stored[0])]


def test_path(stored, capsys):
    assert run(["models", "path", "tiny"]) == 0
    assert capsys.readouterr().out == f"{stored[0]}\n"
    assert run(["models", "path", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": str(stored[0]), "labels": str(stored[1])}


def test_path_of_what_is_not_there(model, capsys):
    assert run(["models", "path", "tiny"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rocketnpu: tiny is absent in the cache (")
    assert err.endswith("; try: rocketnpu models get tiny\n")
