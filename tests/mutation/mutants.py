"""Do the tests notice? Change the code at random places, one change at a time, and count what no test sees.

    scripts/mutants [--count 300] [--seed 0] [--folder DIR]      make mutants, run the tests on each
    scripts/mutants --again RESULTS [--folder DIR]               run the survivors of an earlier run again

The mutation operators are Cosmic Ray's. A mutant is drawn as a place first (all places of the rooms below are equally
likely, whatever the number of operators that fit there), then one of the operators' mutants of that place. Annotations
are left out: they are never run.

The checkout's last commit is cloned to a folder that has no ``shared`` beside it, as a user's clone has none. The tests
run once under coverage, one context a test, in child processes too. For a mutant only those tests run that have
executed the changed statement, those of the same room first, the fastest first, until one fails: a test that never
executes a statement gives the same result whatever stands there. What runs while modules are imported can change
anything, so there all tests run. Where a test shares what an earlier one computed (caches, fixtures of modules),
coverage names the earlier one only; so for survivors all tests of the files named and of the same room run as well,
and with --whole the rest. A test that exceeds its time limit kills its mutant and is counted apart.

Results are written line by line (DIR/results.jsonl), so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import ast
import collections
import contextlib
import json
import math
import os
import random
import resource
import signal
import site
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from rich.progress import Progress

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = Path("src/rocketnpu")
ROOMS = (
    *(f"rockchip/{room}" for room in ("simulator", "tasks", "lowering", "emission", "rules")),
    *("program", "device", "graph", "partition"),
)
"""What is changed."""
GIGABYTES = 6
"""Of memory for a run, so that a mutant that fills it ends."""
HOURS = 2
FIRST = 3
"""Seconds of tests, and files, of the first batch; each further one is four times as large."""
HOUSE = "tests/test_structure.py"
"""Rules of the house: of what is imported they are every room's own."""
PYTEST = ("-m", "pytest", "-n", "0", "-p", "watched", "-p", "no:cacheprovider")


@dataclass(frozen=True)
class Place:
    """Where Cosmic Ray's operators find something to change."""

    file: str
    line: int
    column: int
    end: tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """One change: the occurrence of an operator in a file."""

    file: str
    line: int
    operator: str
    occurrence: int


def main() -> int:
    """Run and print the counts; exit status 1 if less than 93 % were killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the clone and the results lie (a new temporary folder)")
    parser.add_argument("--again", type=Path, metavar="RESULTS", help="run the survivors of these results")
    parser.add_argument("--whole", action="store_true", help="run all tests for what survives")
    parser.add_argument("--budget", type=float, default=math.inf, help="seconds of tests for a mutant")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="rocketnpu-mutants-"))
    work = Workplace(folder, whole=given.whole)
    work.prepare()
    if given.again:
        lines = [json.loads(line) for line in given.again.read_text().splitlines()]
        again = (_found_again(work, line) for line in lines if line["outcome"] == "survived")
        chosen = [mutant for mutant in again if mutant is not None]
        results = work.folder / "again.jsonl"
    else:
        chosen, results = list(drawn(work.clone, given.count, given.seed)), work.folder / "results.jsonl"
    done = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    with Progress(disable=not sys.stderr.isatty()) as progress, results.open("a") as file:
        for mutant in progress.track(chosen[len(done) :], description="mutants"):
            done.append(work.judge(mutant, budget=given.budget))
            file.write(json.dumps(done[-1]) + "\n")
            file.flush()
    return _summary(done)


def _summary(done: list[dict[str, object]]) -> int:
    for result in done:
        if result["outcome"] == "survived":
            print(f"{result['file']}:{result['line']} {result['operator']}\n-{result['before']}\n+{result['after']}")
    counts = collections.Counter(str(result["outcome"]) for result in done)
    killed = len(done) - counts["survived"]
    print(f"{killed} of {len(done)} killed ({100 * killed / max(len(done), 1):.1f} %): {dict(counts)}")
    return int(killed < 0.93 * len(done))


def _found_again(work: Workplace, result: dict[str, object]) -> Mutant | None:
    """Find a mutant of earlier code in the code of now: the same change of the same line, the nearest such."""
    name, change = str(result["file"]), (result["before"], result["after"])
    path = work.clone / name
    found = (
        [mutant for _, mutant in _mutants(path, name) if mutant.operator == result["operator"]] if path.exists() else []
    )
    same = [mutant for mutant in found if work.changed(mutant)[1:] == change]
    if not same:
        print(f"{name}: this code is gone: {result['before']}")
    return min(same, key=lambda mutant: abs(mutant.line - int(str(result["line"]))), default=None)


def drawn(clone: Path, count: int, seed: int) -> Iterator[Mutant]:
    """Draw distinct mutants; the same seed, the same mutants of the same code."""
    places: dict[Place, list[Mutant]] = {}
    for room in ROOMS:
        for path in sorted((clone / SOURCE / room).rglob("*.py")):
            for place, mutant in _mutants(path, str(path.relative_to(clone))):
                places.setdefault(place, []).append(mutant)
    chance = random.Random(seed)
    for place in chance.sample(list(places), count):
        yield chance.choice(places[place])


def _mutants(path: Path, name: str) -> Iterator[tuple[Place, Mutant]]:
    text = path.read_text()
    tree, silent = get_ast(text), _annotations(ast.parse(text))
    for operator_name in sorted(cosmic_ray.plugins.operator_names()):
        operator = cosmic_ray.plugins.get_operator(operator_name)
        if operator.arguments():
            continue
        positions = (found for node in ast_nodes(tree) for found in operator().mutation_positions(node))
        for occurrence, (start, end) in enumerate(positions):
            if not any(first <= start < last for first, last in silent):
                yield Place(name, *start, end), Mutant(name, start[0], operator_name, occurrence)


def _annotations(tree: ast.AST) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.returns)
    spans = [node for node in found if node is not None]
    return [((n.lineno, n.col_offset), (n.end_lineno or 0, n.end_col_offset or 0)) for n in spans]


class Workplace:
    """A clone without ``shared``, what is known of its tests, and runs on changed code."""

    def __init__(self, folder: Path, *, whole: bool) -> None:
        self.whole = whole
        self.folder = folder.resolve()
        self.clone = self.folder / "clone"
        self._python = self.folder / "venv" / "bin" / "python"
        self._times: dict[str, tuple[float, str]] = {}
        self._tests: dict[tuple[str, int], set[str]] = {}
        self._server: Server | None = None

    def prepare(self) -> None:
        """Clone, and run the tests once under coverage; what an earlier call has left is used."""
        self.folder.mkdir(parents=True, exist_ok=True)
        print(f"mutants: in {self.folder}", file=sys.stderr)
        if not self.clone.exists():
            subprocess.run(["git", "clone", "--quiet", CHECKOUT, self.clone], check=True)
        if not self._python.exists():
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.folder / "venv"], check=True)
            (packages,) = (self.folder / "venv").glob("lib/python*/site-packages")
            theirs = site.getsitepackages()
            lines = [str(self.clone / "src"), *(f"import site; site.addsitedir({path!r})" for path in theirs)]
            (packages / "a.pth").write_text("\n".join(lines) + "\n")
            # A child under coverage when the environment says so.
            start = "import os; os.environ.get('COVERAGE_PROCESS_START') and __import__('coverage').process_startup()\n"
            (packages / "z.pth").write_text(start)
            # Compiled files that are held against the source's hash: changed and changed back within a second is seen.
            compiled = [self._python, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", SOURCE]
            subprocess.run(compiled, check=True, cwd=self.clone)
        if not (self.folder / "times.json").exists():
            self._measure()
        if not (self.folder / "coverage").exists():
            combine = [sys.executable, "-m", "coverage", "combine", "--quiet", f"--data-file={self.folder}/coverage"]
            subprocess.run([*combine, self.folder], check=True)
        self._times = {
            node: tuple(value) for node, value in json.loads((self.folder / "times.json").read_text()).items()
        }
        self._read_contexts()

    def _settings(self) -> Path:
        """Write coverage's settings; children name the test that starts them as their context."""
        text = f"[run]\nparallel = true\ndata_file = {self.folder}/coverage\nsource = {self.clone / SOURCE}\n"
        text += "concurrency = thread\npatch = _exit\n"
        (self.folder / "main.rc").write_text(text)
        (self.folder / "child.rc").write_text(text + "context = ${MUTANTS_CONTEXT-}\n")
        return self.folder / "main.rc"

    def _environment(self, **more: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ROCKETNPU", "COVERAGE", "MUTANTS"))
        }
        home = self.folder / "home"
        home.mkdir(exist_ok=True, mode=0o700)
        kept |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "OPENBLAS_NUM_THREADS": "1"}
        return kept | {"PYTHONPATH": str(Path(__file__).parent), **more}

    def _measure(self) -> None:
        settings = self._settings()
        environment = self._environment(
            MUTANTS_TIMES=str(self.folder / "times.json"),
            COVERAGE_PROCESS_START=str(settings),
            MUTANTS_CHILDREN=str(settings.with_name("child.rc")),
        )
        with (self.folder / "first.txt").open("w") as output:
            subprocess.run(
                [self._python, *PYTEST],
                cwd=self.clone,
                env=environment,
                stdout=output,
                stderr=output,
                check=False,
                preexec_fn=_bounded,
            )

    def _read_contexts(self) -> None:
        from coverage.numbits import numbits_to_nums

        query = "select path, context, numbits from line_bits"
        query += " join file on file.id = file_id join context on context.id = context_id"
        with sqlite3.connect(self.folder / "coverage") as data:
            for path, context, bits in data.execute(query):
                name = str(Path(path).relative_to(self.clone))
                for line in numbits_to_nums(bits):
                    self._tests.setdefault((name, line), set()).add(context)

    def changed(self, mutant: Mutant) -> tuple[str, str, str]:
        """Return the whole changed text, and the lines that differ, before and after."""
        text = (self.clone / mutant.file).read_text()
        operator = cosmic_ray.plugins.get_operator(mutant.operator)()
        changed = mutate_code(text, operator, mutant.occurrence)
        if changed is None:
            raise ValueError(f"no such mutant: {mutant}")
        pairs = [(a, b) for a, b in zip(text.splitlines(), changed.splitlines(), strict=False) if a != b]
        before, after = pairs[0] if pairs else ("", "")
        return changed, before.strip(), after.strip()

    def judge(self, mutant: Mutant, *, budget: float) -> dict[str, object]:
        """Change the code, run the tests, change it back.

        Tests are taken until they took ``budget`` seconds together where nothing was changed; "left" says how many
        were not run for that reason.
        """
        path, began = self.clone / mutant.file, time.monotonic()
        text, before, after = self.changed(mutant)
        original = path.read_text()
        tests, imported = self._order(mutant, original)
        path.write_text(text)
        outcome, by, ran, spent = "survived", "", 0, 0.0
        try:
            for batch in self._batches(tests):
                if outcome != "survived" or spent >= budget:
                    break
                outcome, by = self._tried(path, batch, imported)
                ran += len(batch)
                spent += sum(self._times[node][0] for node in batch)
        finally:
            path.write_text(original)
        result = {
            "file": mutant.file,
            "line": mutant.line,
            "operator": mutant.operator,
            "occurrence": mutant.occurrence,
        }
        result |= {"before": before, "after": after, "outcome": outcome, "by": by}
        return result | {"tests": len(tests), "left": len(tests) - ran, "seconds": round(time.monotonic() - began, 1)}

    def _tried(self, path: Path, batch: list[str], imported: bool | None) -> tuple[str, str]:
        """Run tests in a fork, or in a process of their own where the change may matter to what modules import.

        None stands for a statement in a function that something calls while modules are imported: what kills such a
        mutant in a fork must do so in a process of its own too, and what does not, may.
        """
        outcome, by = ("not replaced", "") if imported else self._serve(path, batch)
        if outcome == "not replaced" or (imported is None and outcome == "survived"):
            return self._run(batch)
        if imported is None and by in self._times:
            alone = self._run([by])
            return self._run(batch) if alone[0] == "survived" else alone
        return outcome, by

    def _batches(self, tests: list[str]) -> Iterator[list[str]]:
        """Cut the tests, so that a mutant that dies soon does not wait for all their files to be imported."""
        batch: list[str] = []
        spent, size = 0.0, FIRST
        for node in tests:
            batch.append(node)
            spent += self._times[node][0]
            if spent > size or len({one.partition("::")[0] for one in batch}) >= size:
                yield batch
                batch, spent, size = [], 0.0, size * 4
        if batch:
            yield batch

    def _order(self, mutant: Mutant, text: str) -> tuple[list[str], bool | None]:
        """Return the tests that execute the statement, those of the same files and room, and with WHOLE the others; and
        whether the statement runs while modules are imported: None where it stands in a function.
        """
        usable = {node for node, (_, outcome) in self._times.items() if outcome == "passed"}
        lines, imported = _statement(text, mutant.line)
        named = set().union(*(self._tests.get((mutant.file, line), set()) for line in lines))
        everything = imported or "" in named or self.whole
        when = True if imported else None if "" in named else False
        named &= usable
        room = "tests" / Path(mutant.file).parent.relative_to(SOURCE)
        while not (self.clone / room).is_dir():
            room = room.parent
        home = f"{room.as_posix()}/"
        files = {node.partition("::")[0] for node in named}
        near = {node for node in usable if node.startswith(home) or node.partition("::")[0] in files}

        def rank(node: str) -> tuple[bool, bool, float]:
            # A test that executes what others import starts a process that does: that says nothing, and is slow.
            near = node.startswith((home, HOUSE) if imported else home)
            return not imported and node not in named, not near, self._times[node][0]

        return sorted(usable if everything else named | near, key=rank), when

    def _serve(self, path: Path, tests: list[str]) -> tuple[str, str]:
        """Run tests in a fork of a process that has collected all of them already."""
        if self._server is None:
            self._server = Server(self._python, self.clone, self._environment(), self.folder / "server.txt")
        found = self._server.ask(path, [(node, self._times[node][0]) for node in tests])
        if "failed" in found:
            return "killed", str(found["failed"])
        return next(iter(found), "survived"), ""

    def _run(self, tests: list[str]) -> tuple[str, str]:
        chosen = self.folder / "chosen.txt"
        chosen.write_text("".join(f"{self._times[node][0]:.3f} {node}\n" for node in tests))
        files = list(dict.fromkeys(node.partition("::")[0] for node in tests))
        command = [self._python, *PYTEST, "-x", "--tb=line"]
        with tempfile.TemporaryFile("w+") as output:
            child = subprocess.Popen(
                [*command, *files],
                cwd=self.clone,
                env=self._environment(MUTANTS_CHOSEN=str(chosen)),
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_bounded,  # noqa: PLW1509 - this process has one thread
            )
            try:
                status = child.wait(HOURS * 3600)
            except subprocess.TimeoutExpired:
                status = -signal.SIGKILL
            finally:
                _end(child)
            output.seek(0)
            said = output.read()
        if status == 0:
            return "survived", ""
        failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
        kind = "timed out" if "Timeout (" in said or status == -signal.SIGKILL else "killed"
        return kind, failed[0].split(" - ")[0] if failed else f"exit status {status}: {said.strip()[-200:]}"


class Server:
    """A process of ``served.py``."""

    def __init__(self, python: Path, clone: Path, environment: dict[str, str], log: Path) -> None:
        requests, self._requests = os.pipe()
        answers, theirs = os.pipe()
        command = [python, "-m", "pytest", "-n", "0", "-p", "served", "-p", "no:cacheprovider"]
        with log.open("w") as output:
            subprocess.Popen(
                command,
                cwd=clone,
                env={**environment, "MUTANTS_REQUESTS": str(requests), "MUTANTS_ANSWERS": str(theirs)},
                stdout=output,
                stderr=output,
                pass_fds=(requests, theirs),
                preexec_fn=_bounded,  # noqa: PLW1509 - this process has one thread
            )
        os.close(requests)
        os.close(theirs)
        self._answers = os.fdopen(answers)
        print(f"mutants: the server has {self._answers.readline().strip()}", file=sys.stderr)

    def ask(self, path: Path, tests: list[tuple[str, float]]) -> dict[str, object]:
        """Have tests run on a changed file."""
        os.write(self._requests, (json.dumps({"file": str(path), "tests": tests}) + "\n").encode())
        answer = self._answers.readline()
        if not answer:
            sys.exit("mutants: the server has ended; see server.txt")
        return dict(json.loads(answer))


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (GIGABYTES << 30, GIGABYTES << 30))


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a run and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _statement(text: str, line: int) -> tuple[range, bool]:
    """Return the lines of the innermost statement at a line, and whether it runs while the module is imported."""
    best, inside = range(line, line + 1), False
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.Lambda) and _body(node)[0] <= line <= _body(node)[1]:
            inside = True
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            last = min((child.lineno - 1 for child in _children(node)), default=node.end_lineno or 0)
            if node.lineno <= line <= max(last, node.lineno):
                best = range(node.lineno, max(last, node.lineno) + 1)
    return best, not inside


def _body(node: ast.FunctionDef | ast.Lambda) -> tuple[int, int]:
    first = node.body[0] if isinstance(node.body, list) else node.body
    return first.lineno, node.end_lineno or 0


def _children(node: ast.stmt) -> list[ast.stmt]:
    return [child for name in ("body", "orelse", "finalbody") for child in getattr(node, name, [])]


if __name__ == "__main__":
    sys.exit(main())
