import os
from pathlib import Path

import pytest

from rocketnpu.cli.main import run

MODEL = str(Path(__file__).parents[1] / "data" / "golden" / "dwconv3x3_u8_mult2.tflite")


@pytest.fixture
def _umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_the_file_has_the_usual_mode(tmp_path, capsys):
    target = tmp_path / "folder" / "a.rktprog"
    target.parent.mkdir()
    assert run(["compile", "-m", MODEL, "-o", str(target)]) == 0
    assert target.stat().st_mode & 0o777 == 0o640
    assert list(target.parent.iterdir()) == [target]
    assert capsys.readouterr().out.startswith(f"{target}: 1 operator, ")


def test_no_folder_is_made(tmp_path, capsys):
    assert run(["compile", "-m", MODEL, "-o", str(tmp_path / "new" / "a.rktprog")]) == 2
    assert f"there is no folder {tmp_path / 'new'}" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_inspect_counts_one_part(capsys):
    assert run(["inspect", "-m", MODEL]) == 0
    out = capsys.readouterr().out
    assert "1 of 1 operator on the NPU in 1 part, " in out
    assert "1 parts" not in out
