"""The silicon as far as it is known: executes front-end streams on memory, knows nothing of models or compilers.

Data takes the way of the hardware: :mod:`front_end` fetches words and sets states; a state that starts a job leads to
:mod:`nn` with the kernels that :mod:`rocketnpu.verisilicon.coefficients` reads, or to :mod:`tp` with its counters and
:mod:`lookup` tables. No byte that these chips wrote is public: rounding at ties, saturation and what caches do are
assumed (``docs/hardware/verisilicon.md``).
"""

from rocketnpu.verisilicon.simulator.npu import JobReport, Npu, StreamReport

__all__ = ["JobReport", "Npu", "StreamReport"]
