"""Facts of the chips that carry a VeriSilicon NPU, in one place: another chip is another value of :class:`Soc`.

Numbers come from the vendor's table of features, as it lies in the open driver's binary (facts 1). "Generation" is the
NN core's, which decides instructions, coefficients and arithmetic. Only the A311D and the i.MX 8M Plus have been tried:
streams for both are recorded, and whether such streams compute right on the real chips is published. The others are
known by name so that a file or a kernel that names one is met with a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    title: str
    """The chip's name for people."""
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


_KIB = 1024
A311D = Soc(
    name="a311d",
    title="Amlogic A311D",
    core="VIPNano-QI",
    identity=Identity(0x8000, 0x7120, 0x45080009, 0x88, 0),
    generation=7,
    cores=8,
    macs=64,
    tp_cores=4,
    input_depth=12,
    accumulator_depth=64,
    sram=512 * _KIB,
    axi_sram=1024 * _KIB,
    zero_run_bits=5,
    offset_bits=4,
    max_kernel=11,
    tried=True,
)
IMX8MP = Soc(
    name="imx8mp",
    title="NXP i.MX 8M Plus",
    core="VIPNano-SI+",
    identity=Identity(0x8000, 0x8002, 0x05080009, 0x9F, 0x6000000),
    generation=8,
    cores=6,
    macs=64,
    tp_cores=3,
    input_depth=9,
    accumulator_depth=32,
    sram=256 * _KIB,
    axi_sram=0,
    zero_run_bits=8,
    offset_bits=5,
    max_kernel=15,
    tried=True,
)
_UNTRIED = (
    replace(
        A311D,
        name="a311d2",
        title="Amlogic A311D2 or T931",
        identity=Identity(0x8000, 0x7131, 0x05000009, 0xA1, 0x8000000),
        tp_cores=6,
        sram=1024 * _KIB,
        axi_sram=4300 * _KIB,
        zero_run_bits=8,
        tried=False,
    ),
    replace(
        A311D,
        name="s905d3",
        title="Amlogic S905D3",
        identity=Identity(0x8000, 0x7131, 0x08000001, 0x99, 0x2000000),
        cores=2,
        tp_cores=1,
        input_depth=6,
        axi_sram=0,
        zero_run_bits=8,
        tried=False,
    ),
    replace(
        A311D,
        name="qi7004",
        title="an older VIPNano-QI",
        identity=Identity(0x8000, 0x7004, 0x45080009, 0x7D, 0),
        offset_bits=3,
        tried=False,
    ),
)
"""The S905D3's coefficient coder is in doubt: its author's notes say that it is the other generation's (facts 1)."""
SOCS = {soc.name: soc for soc in (A311D, IMX8MP, *_UNTRIED)}
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
