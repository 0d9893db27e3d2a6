"""The silicon, unit by unit: executes command lists on memory, knows nothing of models or compilers.

Data takes the way of the hardware: :mod:`pc` fetches words and fills :mod:`registers`; :mod:`tasks` starts the units:
:mod:`cna` with :mod:`cbuf` and :mod:`weights`, :mod:`core`, :mod:`dpu` with :mod:`rdma` and :mod:`lut`, or :mod:`ppu`.
"""

from rocketnpu.memory import Memory
from rocketnpu.rockchip.simulator.npu import Npu, TaskReport

__all__ = ["Memory", "Npu", "TaskReport"]
