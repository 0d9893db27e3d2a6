"""``rocketnpu models``: get models by name, and say where they are."""

from __future__ import annotations

import click

from rocketnpu import zoo
from rocketnpu.cli.output import echo, json_option, print_json, print_table
from rocketnpu.errors import FetchError
from rocketnpu.zoo.progress import note


@click.group()
def models() -> None:
    """Get models by name, and say where they are.

    Files are kept in $ROCKETNPU_CACHE, else in $XDG_CACHE_HOME/rocketnpu, else in ~/.cache/rocketnpu.
    """


@models.command("get")
@click.argument("name")
@json_option
def get_model(name: str, as_json: bool) -> None:
    """Fetch the model NAME and its labels, unless they are in the cache already."""
    obtained = zoo.get(zoo.named(name))
    if obtained.problems:
        note(f"{name} is there, but its labels could not be had: {'; '.join(obtained.problems)}")
    if as_json:
        print_json({"model": obtained.model, "labels": obtained.labels, "origins": dict(obtained.origins)})
        return
    for path, (_, origin) in zip((obtained.model, obtained.labels), obtained.origins, strict=False):
        if path is not None:
            source = "the cache" if origin == "cache" else origin
            echo(f"{path} ({path.stat().st_size} bytes, from {source})")


@models.command("list")
@json_option
def list_models(as_json: bool) -> None:
    """List the models that have a name."""
    cache = zoo.Cache()
    rows = [
        {
            "name": model.name,
            "summary": model.summary,
            "licence": model.licence,
            "file": model.model.name,
            "state": cache.state(model, model.model).value,
            "path": cache.path(model, model.model),
        }
        for model in zoo.CATALOGUE
    ]
    if as_json:
        print_json(rows)
        return
    columns = ("name", "summary", "licence", "state", "path")
    print_table(columns, [[row[column] for column in columns] for row in rows])


@models.command("path")
@click.argument("name")
@json_option
def model_path(name: str, as_json: bool) -> None:
    """Print where the model NAME is in the cache; fail if it is not there."""
    model, cache = zoo.named(name), zoo.Cache()
    path = cache.find(model, model.model)
    if path is None:
        state = cache.state(model, model.model).value
        where = cache.path(model, model.model)
        raise FetchError(f"{name} is {state} in the cache ({where}); try: rocketnpu models get {name}")
    if as_json:
        print_json({"model": path, "labels": cache.find(model, model.labels)})
        return
    echo(path)
