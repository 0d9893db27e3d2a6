"""Facts of the chips that carry a VeriSilicon NPU, in one place: another chip is another value of :class:`Soc`.

Numbers come from the vendor's table of features, as it lies in the open driver's binary (facts 1). "Generation" is the
NN core's, which decides instructions, coefficients and arithmetic. Only the A311D and the i.MX 8M Plus have been tried:
streams for both are recorded, and whether such streams compute right on the real chips is published. The others are
known by name so that a file or a kernel that names one is met with a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass

from rocketnpu.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class Identity:
    """What the kernel driver answers when it is asked which chip this is."""

    model: int
    revision: int
    product: int
    customer: int
    eco: int


@dataclass(frozen=True, slots=True)
class Soc:
    """Limits and sizes of one NPU. Bytes and counts unless a name says otherwise."""

    name: str
    core: str
    """Name of the NPU itself."""
    identity: Identity
    generation: int
    """Of the NN core: 7, or 8 where the feature bit XYDP0 is set (Mesa's etnaviv_screen.c)."""
    cores: int
    """NN cores, which share the output channels."""
    macs: int
    """Multiply-accumulates that a core does in a cycle."""
    tp_cores: int
    """Tensor processors, among which a job may be split."""
    input_depth: int
    """Lines of the input buffer."""
    accumulator_depth: int
    """Lines of the accumulator buffer."""
    sram: int
    """On-chip memory for caches of kernels and images."""
    axi_sram: int
    """Memory of the chip beside it, which the caches may use."""
    zero_run_bits: int
    """Widest run of a coefficient stream."""
    offset_bits: int
    """Bits of a window's offset, two's complement."""
    max_kernel: int
    """Largest kernel width and height of a convolution."""
    tried: bool
    """Whether streams for this chip have been run here."""


def _soc(
    name: str, core: str, identity: tuple[int, int, int, int, int], numbers: tuple[int, ...], *, tried: bool = False
) -> Soc:
    return Soc(name, core, Identity(*identity), *numbers, tried=tried)


_KIB = 1024
A311D = _soc(
    "a311d",
    "VIPNano-QI",
    (0x8000, 0x7120, 0x45080009, 0x88, 0),
    (7, 8, 64, 4, 12, 64, 512 * _KIB, 1024 * _KIB, 5, 4, 11),
    tried=True,
)
"""Amlogic A311D."""
IMX8MP = _soc(
    "imx8mp",
    "VIPNano-SI+",
    (0x8000, 0x8002, 0x05080009, 0x9F, 0x6000000),
    (8, 6, 64, 3, 9, 32, 256 * _KIB, 0, 8, 5, 15),
    tried=True,
)
"""NXP i.MX 8M Plus."""
_OTHERS = (
    _soc(
        "a311d2",
        "VIPNano-QI",
        (0x8000, 0x7131, 0x05000009, 0xA1, 0x8000000),
        (7, 8, 64, 6, 12, 64, 1024 * _KIB, 4300 * _KIB, 8, 4, 11),
    ),
    _soc(
        "s905d3",
        "VIPNano",
        (0x8000, 0x7131, 0x08000001, 0x99, 0x2000000),
        (7, 2, 64, 1, 6, 64, 512 * _KIB, 0, 8, 4, 11),
    ),
)
SOCS = {soc.name: soc for soc in (A311D, IMX8MP, *_OTHERS)}
"""All chips by name."""


def tried_soc(name: str) -> Soc:
    """Return a chip that has been tried.

    Raises:
        UnsupportedError: there is no such chip, or nothing is known to run on it.
    """
    names = ", ".join(soc.name for soc in SOCS.values() if soc.tried)
    soc = SOCS.get(name)
    if soc is None:
        raise UnsupportedError(f"there is no chip {name!r} with a VeriSilicon NPU; those that can be used: {names}")
    if not soc.tried:
        raise UnsupportedError(f"chip {name} has not been tried: only its numbers are known; use one of {names}")
    return soc


def soc_of(identity: Identity) -> Soc | None:
    """Return the chip that answers so; None if it is not known. The customer and eco ids need not be equal."""
    for soc in SOCS.values():
        known = soc.identity
        if (identity.model, identity.revision, identity.product) == (known.model, known.revision, known.product):
            return soc
    return None
