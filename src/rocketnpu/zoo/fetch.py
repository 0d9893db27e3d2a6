"""Turn a model's name into files: from the cache, else from the first source that has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rocketnpu.errors import FetchError, ModelError
from rocketnpu.zoo import catalogue, debian, download
from rocketnpu.zoo.cache import Cache, State
from rocketnpu.zoo.catalogue import CatalogueModel, DebianPackage, Download, ModelFile, Source
from rocketnpu.zoo.progress import note


@dataclass(frozen=True)
class Obtained:
    """The files of one model. ``labels`` is None when only the model could be had; ``problems`` says why."""

    model: Path
    labels: Path | None
    origins: tuple[tuple[str, str], ...]
    """(file name, where it came from), for the model and its labels; "cache" when it was there already."""
    problems: tuple[str, ...] = ()


def named(name: str) -> CatalogueModel:
    """Return the catalogue's model of that name.

    Raises:
        ModelError: there is none; the text says which there are.
    """
    model = catalogue.by_name(name)
    if model is None:
        raise ModelError(f"there is no model called {name!r}; the catalogue has: {_names()}")
    return model


def get(model: CatalogueModel, cache: Cache | None = None) -> Obtained:
    """Have the model and its labels in the cache; fetch what is missing or damaged there.

    Raises:
        FetchError: no source gave the model file; the text lists each with its reason, and what to do by hand.
    """
    cache = cache or Cache()
    if all(cache.find(model, file) for file in model.files):  # a cache that cannot be written still serves
        return _obtained(model, cache, {}, ())
    with cache.lock(model):
        states = {file: cache.state(model, file) for file in model.files}
        missing = [file for file, state in states.items() if state is not State.PRESENT]
        origins, problems = _fetch_missing(model, missing, cache)
    if not cache.find(model, model.model):
        raise FetchError(_failure(model, cache, states[model.model], problems))
    return _obtained(model, cache, origins, problems)


def resolve(name_or_path: str | Path, cache: Cache | None = None) -> Path:
    """Turn what a user gave for a model into the path of a file.

    An existing file is used as it is. A catalogue name, or the bare file name of a catalogue model that is not in the
    current folder (then with a note on stderr), is looked up in the cache and otherwise fetched.

    Raises:
        ModelError: it is neither.
        FetchError: it is in the catalogue, but no source gave it.
    """
    path = Path(name_or_path)
    text = str(name_or_path)
    try:
        if path.is_dir():
            raise ModelError(f"model {text!r} is a folder, not a file")
        if path.exists():
            return path
    except OSError as error:
        raise ModelError(f"cannot read model {text!r}: {error.strerror or error}") from None
    model = catalogue.by_name(text)
    if model is None and path.name == text:
        model = catalogue.by_file_name(text)
        if model is not None:
            note(f"{text} is not in this folder; taking the catalogue's {model.name}")
    if model is None:
        raise ModelError(f"there is no model {text!r}: no such file, and the catalogue has: {_names()}")
    cache = cache or Cache()
    return cache.find(model, model.model) or get(model, cache).model


def labels_for(model_path: Path, cache: Cache | None = None) -> Path | None:
    """Return the labels file of a catalogue model's file: the one beside it, else the cache's. Fetches nothing."""
    model = catalogue.by_file_name(model_path.name)
    if model is None or model.labels is None:
        return None
    beside = model_path.parent / model.labels.name
    return beside if beside.is_file() else (cache or Cache()).find(model, model.labels)


def _fetch_missing(
    model: CatalogueModel, missing: list[ModelFile], cache: Cache
) -> tuple[dict[str, str], tuple[str, ...]]:
    origins: dict[str, str] = {}
    problems: list[str] = []
    silent_hosts: set[str] = set()
    for source in model.sources:
        wanted = [file for file in missing if any(member.file == file.name for member in source.members)]
        if not wanted or _host(source) in silent_hosts:
            continue
        try:
            found = _fetch_from(source, wanted)
        except FetchError as error:
            problems.append(f"{source}: {error}")
            if isinstance(error, download.HostUnreachableError):
                silent_hosts.add(_host(source))
            continue
        for file in wanted:
            cache.store(model, file, found[file.name])
            origins[file.name] = str(source)
            missing.remove(file)
    return origins, tuple(problems)


def _fetch_from(source: Source, wanted: list[ModelFile]) -> dict[str, bytes]:
    match source:
        case Download():
            return download.fetch(source, wanted)
        case DebianPackage():
            return debian.fetch(source, wanted)


def _host(source: Source) -> str:
    return urlsplit(source.url).netloc if isinstance(source, Download) else ""


def _obtained(model: CatalogueModel, cache: Cache, origins: dict[str, str], problems: tuple[str, ...]) -> Obtained:
    labels = cache.find(model, model.labels)
    present = model.files if labels else (model.model,)
    where = tuple((file.name, origins.get(file.name, "cache")) for file in present)
    return Obtained(cache.path(model, model.model), labels, where, problems if labels is None and model.labels else ())


def _failure(model: CatalogueModel, cache: Cache, state: State, problems: tuple[str, ...]) -> str:
    path = cache.path(model, model.model)
    found = "it is damaged" if state is State.DAMAGED else "it is not there"
    tried = "; ".join((f"cache {path}: {found}", *problems))
    return (
        f"cannot get {model.name}: {tried}. By hand: on a machine with a network take {model.model.name} out of "
        f"{' or '.join(str(source) for source in model.sources)}, and put it at {path} "
        f"(SHA-256 {' or '.join(model.model.sha256)}), or give its path instead of its name"
    )


def _names() -> str:
    return ", ".join(model.name for model in catalogue.CATALOGUE)
