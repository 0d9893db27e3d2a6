"""Compiled programs by content, so that a second start does not compile.

The key is a fingerprint of graph, policy and compiler; a damaged or unreadable entry is compiled anew. An entry is
written whole or not at all, so several processes may share a folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from rocketnpu._version import __version__
from rocketnpu.errors import InputError, ProgramError
from rocketnpu.family import family_of
from rocketnpu.folders import cache_folder, make_private
from rocketnpu.graph import Graph
from rocketnpu.graph.digest import digest
from rocketnpu.policy import Policy
from rocketnpu.program import store
from rocketnpu.program.program import Program

Compile = Callable[[Graph, Policy], Program]


def default_folder() -> Path:
    """Return the user's folder for compiled programs.

    Raises:
        InputError: there is no place for one.
    """
    return cache_folder() / "programs"


class ProgramCache:
    """A folder of programs. ``folder=None`` keeps nothing and compiles each time."""

    def __init__(self, folder: Path | None, compile_program: Compile | None = None) -> None:
        """Use ``folder``, made when first written to; ``compile_program`` is the compiler unless a test says else."""
        self.folder = folder
        self._compile = compile_program or _compile
        self.hits = 0
        self.misses = 0

    def program(self, graph: Graph, policy: Policy) -> Program:
        """Return the program of a graph, from the folder or freshly compiled.

        A folder that cannot be written is no error: the program is returned all the same.

        Raises:
            UnsupportedError: the graph cannot be compiled.
        """
        path = self._path(graph, policy)
        if path is not None:
            with contextlib.suppress(ProgramError):
                program = store.load(path)
                if _belongs(program, graph, policy):
                    self.hits += 1
                    return program
        self.misses += 1
        program = self._compile(graph, policy)
        if path is not None:
            with contextlib.suppress(InputError, ProgramError, OSError):
                make_private(path.parent)
                store.save(program, path)
        return program

    def _path(self, graph: Graph, policy: Policy) -> Path | None:
        if self.folder is None:
            return None
        stamp = _compiler_stamp(family_of(policy.chip).family)
        # The order in which a set shows its members is another in every process.
        rules = sorted(policy.proven), sorted(policy.refuted)
        plain = replace(policy, proven=frozenset(), refuted=frozenset())
        return self.folder / f"{digest(graph, plain, rules, __version__, store.VERSION, stamp)}.rktprog"


def _belongs(program: Program, graph: Graph, policy: Policy) -> bool:
    """Say whether a program takes and gives the tensors of a graph: the host's memory is read and written by them.

    Of a batch it is the program of one image.
    """
    from rocketnpu.compiler import compiled_graph

    graph = compiled_graph(graph)
    sides = ((program.inputs, graph.inputs), (program.outputs, graph.outputs))
    for bindings, numbers in sides:
        found = [(binding.tensor, binding.shape, binding.dtype) for binding in bindings]
        if found != [(number, graph.tensors[number].shape, graph.tensors[number].dtype) for number in numbers]:
            return False
    return program.chip == policy.chip


def _compile(graph: Graph, policy: Policy) -> Program:
    from rocketnpu.compiler import compile_graph

    return compile_graph(graph, policy)


@cache
def _compiler_stamp(family: str) -> str:
    """Return what changes whenever a family's compiler does, so that a developer never meets a stale program."""
    package = Path(__file__).parent.parent
    rooms = (package / room for room in ("arithmetic", "graph", "partition", "program", family))
    sources = [*package.glob("*.py"), *(source for room in rooms for source in room.rglob("*.py"))]
    return str(max(source.stat().st_mtime_ns for source in sources))
