"""``rocketnpu compile``: a model's NPU parts as program files."""

from __future__ import annotations

from pathlib import Path

import click

from rocketnpu.cli.output import (
    Shapes,
    chip_option,
    counted,
    echo,
    json_option,
    model_option,
    print_json,
    shapes_option,
)


@click.command(name="compile")
@model_option
@shapes_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; of several parts, numbered.")
@chip_option
@json_option
def compile_command(model: str, shapes: Shapes, output: Path | None, chip: str, as_json: bool) -> None:
    """Compile a model and save what the NPU runs, a file for each part."""
    from rocketnpu.compiler import compile_graph
    from rocketnpu.errors import ProgramError, UnsupportedError
    from rocketnpu.files.writing import check_apart
    from rocketnpu.model.files import placeholders, read_all
    from rocketnpu.partition.plan import plan
    from rocketnpu.policy import Policy
    from rocketnpu.program import store
    from rocketnpu.zoo import resolve

    path = resolve(model)
    policy = Policy(chip=chip)
    graphs = read_all(path, dict(shapes))
    parts = [part for graph in graphs for part in plan(graph, policy).parts]
    unknown = placeholders(graphs[0])
    if unknown:
        echo(f"rocketnpu: {unknown}", err=True)
    if not parts:
        raise UnsupportedError(f"{path.name} has no operator that the NPU takes; see `rocketnpu inspect -m {model}`")
    output = output or Path(f"{path.stem}.rktprog")
    written = []
    for number, part in enumerate(parts):
        name = output if len(parts) == 1 else output.with_stem(f"{output.stem}.{number}")
        check_apart(name, path, "program", ProgramError)
        program = compile_graph(part, policy)
        store.save(program, name)
        written.append({"file": str(name), "jobs": len(program.jobs), "tasks": len(program.tasks)})
        if not as_json:
            echo(f"{name}: {counted(len(part.operators), 'operator')}, {counted(len(program.tasks), 'task')}")
    if as_json:
        print_json(written)
