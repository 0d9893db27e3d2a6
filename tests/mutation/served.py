"""A pytest plugin of ``mutants.py``: tests are collected once, and each mutant gets a fork in which they run.

Requests come as JSON lines on the descriptor MUTANTS_REQUESTS: the changed file, and tests with their seconds. Answers
go to MUTANTS_ANSWERS. In the fork the code of the functions that the change concerns is replaced in place; modules that
a test imports later come from the changed file. What ran while modules were imported keeps its result: such mutants are
not for here.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import signal
import sys
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from watched import LEAST_LIMIT, SLOWER

REQUESTS, ANSWERS = (int(os.environ[f"MUTANTS_{name}"]) for name in ("REQUESTS", "ANSWERS"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Serve instead of running all tests."""
    known = {item.nodeid: item for item in session.items}
    gc.collect()
    gc.freeze()
    with os.fdopen(REQUESTS) as requests, os.fdopen(ANSWERS, "w") as answers:
        print(json.dumps({"collected": len(known)}), file=answers, flush=True)
        for line in requests:
            request = json.loads(line)
            tests = [(known[node], seconds) for node, seconds in request["tests"] if node in known]
            print(json.dumps(_in_fork(session, request["file"], tests)), file=answers, flush=True)
    return True


def _in_fork(session: pytest.Session, file: str, tests: list[tuple[pytest.Item, float]]) -> dict[str, Any]:
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.close(here)
        os.setsid()
        try:
            found: dict[str, Any] = _run(session, file, tests)
        except BaseException as error:
            found = {"failed": f"{type(error).__name__}: {error}"}
        os.write(there, json.dumps(found).encode())
        os._exit(0)
    os.close(there)
    _, status = os.waitpid(child, 0)
    os.set_blocking(here, False)  # what the tests have left behind may hold the other end
    with os.fdopen(here, "rb", buffering=0) as pipe:
        said = pipe.read(1 << 16)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if said:
        return dict(json.loads(said))
    code = os.waitstatus_to_exitcode(status)
    return {"timed out": True} if code == 1 else {"failed": f"the tests ended with status {code}"}


def _run(session: pytest.Session, file: str, tests: list[tuple[pytest.Item, float]]) -> dict[str, Any]:
    if not _replace(file):
        return {"not replaced": True}
    for place, (item, seconds) in enumerate(tests):
        faulthandler.dump_traceback_later(LEAST_LIMIT + SLOWER * seconds, exit=True)
        following = tests[place + 1][0] if place + 1 < len(tests) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return {"failed": item.nodeid}
    return {}


def _replace(file: str) -> bool:
    """Give the functions of a file the code that stands there now; return whether it was found in memory, or not yet
    imported at all.
    """
    if not any(getattr(module, "__file__", None) == file for module in list(sys.modules.values())):
        return True
    fresh = dict(_functions(compile(Path(file).read_text(), file, "exec", dont_inherit=True)))
    replaced = False
    gc.unfreeze()
    for function in gc.get_objects():
        if not isinstance(function, FunctionType) or function.__code__.co_filename != file:
            continue
        code = fresh.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None and code != function.__code__ and code.co_freevars == function.__code__.co_freevars:
            function.__code__ = code
            replaced = True
    return replaced


def _functions(code: CodeType) -> list[tuple[tuple[str, int], CodeType]]:
    found = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.append(((constant.co_qualname, constant.co_firstlineno), constant))
            found += _functions(constant)
    return found
