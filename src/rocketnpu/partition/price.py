"""What a part saves against what a cut costs; :mod:`rocketnpu.estimate.price` estimates both."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Price:
    """What a part costs on either side, in microseconds."""

    npu_us: float
    """Its tasks, starts included."""
    cut_us: float
    """The host's conversions, synchronisation and system calls around it."""
    cpu_us: float

    @property
    def pays(self) -> bool:
        """Whether the NPU is estimated to be no slower."""
        return self.npu_us + self.cut_us <= self.cpu_us

    def __str__(self) -> str:
        return (
            f"{(self.npu_us + self.cut_us) / 1e3:.2f} ms on the NPU, {self.cut_us / 1e3:.2f} of them for the cut; "
            f"{self.cpu_us / 1e3:.2f} ms on the CPU"
        )
