"""Models by name: a catalogue with checksums, the user's cache, and where to get what is not there yet."""

from rocketnpu.zoo.cache import Cache, State
from rocketnpu.zoo.catalogue import CATALOGUE, CatalogueModel, ModelFile
from rocketnpu.zoo.fetch import Obtained, get, labels_for, named, resolve

__all__ = [
    "CATALOGUE",
    "Cache",
    "CatalogueModel",
    "ModelFile",
    "Obtained",
    "State",
    "get",
    "labels_for",
    "named",
    "resolve",
]
