"""The page on serving: its Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from served import Served

from materials import CHECKOUT


def test_the_client_of_the_page_sees_the_hen(
    mobilenet_v1: Path, mobilenet_labels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (CHECKOUT / "docs" / "serving.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    assert "127.0.0.1:8000" in code
    monkeypatch.chdir(CHECKOUT)
    with Served("-m", f"mobilenet_v1={mobilenet_v1}", "-c", 1) as server:
        exec(compile(code.replace("127.0.0.1:8000", "{}:{}".format(*server.address)), "serving.md", "exec"), {})
    names = mobilenet_labels.read_text().splitlines()
    assert names[int(capsys.readouterr().out)] == "hen"
