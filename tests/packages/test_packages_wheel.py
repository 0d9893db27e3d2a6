"""The wheel and the source distribution, as somebody has them who has no checkout."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from fresh import CHECKOUT, call, environment, heavy

pytestmark = heavy


def test_the_metadata_stand_without_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        [name] = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(opened.read(name).decode())
        licences = {Path(name).name for name in opened.namelist() if "/licenses/" in name}
    assert metadata["License-Expression"] == "MIT AND Apache-2.0"
    assert licences == {"LICENSE", "LICENSE.Apache-2.0"}
    classifiers = metadata.get_all("Classifier") or []
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in range(11, 15)} <= set(classifiers)
    assert re.findall(r"\]\((?!https?:|#)", str(metadata.get_payload())) == []


def test_the_bill_of_materials_lists_what_is_installed(dist: Path) -> None:
    bill = json.loads((dist / "rocketnpu.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "rocketnpu"
    names = {component["name"] for component in bill["components"]}
    assert {"numpy", "cffi", "flatbuffers", "ai-edge-litert", "pillow"} <= names


def test_the_source_distribution_has_every_file(sdist: Path) -> None:
    if not shutil.which("git") or subprocess.run(["git", "-C", CHECKOUT, "rev-parse"], check=False).returncode:
        pytest.skip("this is no git checkout")
    listed = call(["git", "-C", CHECKOUT, "ls-files"]).stdout.splitlines()
    with tarfile.open(sdist) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    assert packed - set(listed) == {"PKG-INFO"}
    assert {name for name in set(listed) - packed if not name.startswith("debian/")} == set()


def test_the_wheel_classifies_the_hens_away_from_the_checkout(wheel: Path, python: str, tmp_path: Path) -> None:
    programs = environment(python, tmp_path / "env", wheel)
    shutil.copy(CHECKOUT / "examples" / "hens.jpg", tmp_path)
    place = call([programs / "python", "-c", "import rocketnpu; print(rocketnpu.__file__)"], tmp_path).stdout
    assert place.startswith(str(tmp_path / "env"))
    answer = call(
        [programs / "rocketnpu", "classify", "-i", "hens.jpg", "-m", "mobilenet_v1", "-d", "simulator"], tmp_path
    )
    assert re.match(r"0\.9[78]: hen\n", answer.stdout)
    assert "6 of 6 networks" in call([programs / "rocketnpu", "selftest", "-d", "simulator"], tmp_path).stdout
