"""Which models have a name, by which checksums their files are known, and where they can be had. Data only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelFile:
    """One file of a model, known by any of ``sha256`` (lower-case hexadecimal); no more than ``max_bytes`` is read."""

    name: str
    sha256: tuple[str, ...]
    max_bytes: int

    def accepts(self, data: bytes) -> bool:
        """Say whether ``data`` is this file."""
        return len(data) <= self.max_bytes and hashlib.sha256(data).hexdigest() in self.sha256


@dataclass(frozen=True)
class Member:
    """A file inside an archive: ``path`` is matched from its end, so that an archive's top folder does not matter."""

    path: str
    file: str
    """The :attr:`ModelFile.name` that the member holds."""


@dataclass(frozen=True)
class Download:
    """An archive (tar of any compression, or zip) at a fixed address."""

    url: str
    members: tuple[Member, ...]

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class DebianPackage:
    """A Debian source package's upstream archive, got through the apt that the machine already has."""

    package: str
    suite: str
    members: tuple[Member, ...]

    def __str__(self) -> str:
        return f"Debian {self.suite}'s source package {self.package}"


Source = Download | DebianPackage


@dataclass(frozen=True)
class CatalogueModel:
    """A model that has a name. ``sources`` are tried in order until every file is there."""

    name: str
    summary: str
    licence: str
    model: ModelFile
    labels: ModelFile | None
    """None where the model's source has no list of its classes."""
    sources: tuple[Source, ...]

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """The model file, then its labels if it has any."""
        return (self.model,) if self.labels is None else (self.model, self.labels)


_PUBLISHER = "https://storage.googleapis.com/download.tensorflow.org/models"
_MODEL_FILE = "mobilenet_v1_1.0_224_quant.tflite"
_LABELS_FILE = "labels_mobilenet_quant_v1_224.txt"

MOBILENET_V1 = CatalogueModel(
    name="mobilenet_v1",
    summary="MobileNetV1 1.0 224: uint8, 1001 ImageNet classes",
    licence="Apache-2.0",
    model=ModelFile(
        _MODEL_FILE,
        (
            # The publisher's file, 4,276,352 bytes.
            "ecc3a67c47c5a609ec35f6a58a7d97532834e43df4cb7d3f1204a8164b7d20dd",
            # Debian's copy, 4,276,384 bytes: packed differently, equal in every tensor, buffer and operator.
            "1ef5ede54c9b41908ef433930133ef4261b0d87b2f8e07d6b3c98df978e7160b",
        ),
        max_bytes=8 << 20,
    ),
    labels=ModelFile(
        _LABELS_FILE, ("536feacc519de3d418de26b2effb4d75694a8c4c0063e36499a46fa8061e2da9",), max_bytes=64 << 10
    ),
    sources=(
        Download(
            f"{_PUBLISHER}/mobilenet_v1_2018_08_02/mobilenet_v1_1.0_224_quant.tgz", (Member(_MODEL_FILE, _MODEL_FILE),)
        ),
        Download(
            f"{_PUBLISHER}/tflite/mobilenet_v1_1.0_224_quant_and_labels.zip",
            (Member(_MODEL_FILE, _MODEL_FILE), Member(_LABELS_FILE, _LABELS_FILE)),
        ),
        DebianPackage(
            "mesa",
            "trixie",
            (
                Member(f"src/gallium/targets/teflon/tests/{_MODEL_FILE}", _MODEL_FILE),
                Member(f"src/gallium/frontends/teflon/tests/{_LABELS_FILE}", _LABELS_FILE),
            ),
        ),
    ),
)

_MOBILEDET_FILE = "ssdlite_mobiledet_coco_qat_postprocess.tflite"

SSDLITE_MOBILEDET = CatalogueModel(
    name="ssdlite_mobiledet",
    summary="SSDLite MobileDet 320: uint8, detects COCO's 90 classes, post-process inside",
    licence="Apache-2.0",
    model=ModelFile(
        _MOBILEDET_FILE, ("90bb33a634e041914cc1819aa5df99818e6c396c4d2db952c0fd7a9cffc4724f",), max_bytes=8 << 20
    ),
    labels=None,
    sources=(
        DebianPackage(
            "mesa", "trixie", (Member(f"src/gallium/targets/teflon/tests/{_MOBILEDET_FILE}", _MOBILEDET_FILE),)
        ),
    ),
)

CATALOGUE: tuple[CatalogueModel, ...] = (MOBILENET_V1, SSDLITE_MOBILEDET)


def by_name(name: str) -> CatalogueModel | None:
    """Return the model that is called ``name``."""
    return next((model for model in CATALOGUE if model.name == name), None)


def by_file_name(file_name: str) -> CatalogueModel | None:
    """Return the model whose file is called ``file_name``."""
    return next((model for model in CATALOGUE if model.model.name == file_name), None)
