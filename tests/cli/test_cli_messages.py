import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rocketnpu.cli.main import run
from rocketnpu.delegate.build import build
from rocketnpu.errors import InputError
from rocketnpu.scores import input_tensor, output_tensor

CHECKOUT = Path(__file__).parents[2]
GOLDEN = CHECKOUT / "tests" / "data" / "golden"
NAMES = ("conv3x3_u8_same_16x16x16_32", "conv5x5_u8_same_16x16x3_24")


def graph_of(*shapes):
    tensors = [SimpleNamespace(shape=shape, elements=1) for shape in shapes]
    numbers = range(len(tensors))
    return SimpleNamespace(name="m", tensors=tensors, outputs=numbers, inputs=numbers)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (((), ()), "its outputs have shapes no fixed shape, no fixed shape"),
        (((1, 4, 4, 8),), "its outputs have shapes 1x4x4x8"),
        ((), "it has no output"),
    ],
)
def test_shapes_in_words(shapes, text):
    with pytest.raises(InputError, match=f"m is no classifier: {text}$"):
        output_tensor(graph_of(*shapes))
    with pytest.raises(InputError, match=f"m takes no picture: {text.replace('output', 'input')}$"):
        input_tensor(graph_of(*shapes))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["emulate", "--json"], "emulate has no option --json; options of emulate come before --"),
        (["emulate", "--quite", "--", "true"], "emulate has no option --quite"),
        (["evidence", "--page", "evidence", "--json"], "it takes no --json"),
        (["evidence", "--page", "evidence", "x"], "it takes no NAMES"),
        (["operators", "--markdown", "--json"], "it takes no --json"),
        (["operators", "--markdown", "CONV_2D"], "it takes no KIND"),
    ],
)
def test_usage_errors(arguments, text, capsys):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: ")
    assert text in err


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        shutil.copy(GOLDEN / f"{name}.zip", tmp_path)
    (tmp_path / "README.md").write_text("about them")
    return tmp_path


def test_replay_of_a_folder_of_zip_files(folder, capsys):
    assert run(["replay", str(folder)]) == 0
    out = capsys.readouterr().out
    assert all(f"{folder / name}.zip: " in out for name in NAMES)


def test_replay_skips_the_readme_of_a_pattern(folder, capsys):
    assert run(["replay", *map(str, sorted(folder.iterdir()))]) == 0
    assert capsys.readouterr().err == f"rocketnpu replay: {folder}/README.md is skipped: it is no recording\n"
    assert run(["replay", str(folder / "README.md")]) == 2
    assert "there is no recording among these files" in capsys.readouterr().err


def test_a_compiler_that_fails_without_a_word(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "false")
    with pytest.raises(InputError, match=r"false cannot compile the delegate: it ended with status 1$"):
        build(tmp_path / "library.so")


def test_the_examples_option_needs_a_value():
    options = ["-i", "a", "-m", "b", "-l", "c", "-o", "foo"]
    command = [sys.executable, CHECKOUT / "examples" / "classification.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("error: argument -o: 'foo' is no option of the form \"key:value\"\n")
