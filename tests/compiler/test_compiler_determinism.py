"""The same bytes for the same model, whatever hashes, locale and threads a process has."""

from __future__ import annotations

import pytest

from process_digest import digest


@pytest.fixture(scope="module")
def expected() -> str:
    return digest(1)


@pytest.mark.parametrize(
    ("threads", "environment"),
    [
        (1, {"PYTHONHASHSEED": "1"}),
        (1, {"PYTHONHASHSEED": "4242", "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"}),
        (4, {"OPENBLAS_NUM_THREADS": "4"}),
    ],
    ids=["other hashes", "another locale", "threads"],
)
def test_programs_do_not_depend_on_the_process(expected: str, threads: int, environment: dict[str, str]) -> None:
    assert digest(threads, **environment) == expected
