"""A submission's buffers with a simulated NPU on them, and the tensors in them as the host sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rocketnpu.errors import InputError
from rocketnpu.memory import Memory
from rocketnpu.verisilicon.simulator import Npu, StreamReport
from rocketnpu.verisilicon.soc import Soc
from rocketnpu.verisilicon.streams.recording import Submission

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
SIGN = 0x80
"""INT8 tensors are stored with this bit flipped (facts 4)."""


class Machine:
    """A submission's buffers, mapped, and the NPU that may run its stream."""

    def __init__(self, submission: Submission, soc: Soc) -> None:
        self.submission = submission
        self.arrays: dict[int, Bytes] = {buffer.handle: buffer.content() for buffer in submission.buffers}
        """Contents by handle, written by the simulator."""
        self.memory = Memory()
        for buffer in submission.buffers:
            self.memory.map(buffer.address, self.arrays[buffer.handle])
        self._npu = Npu(self.memory, soc)

    def run(self) -> StreamReport:
        """Run the stream.

        Raises:
            SimulationError: it does what is not known.
        """
        return self._npu.run_stream(self.submission.stream)

    def written(self) -> list[Bytes]:
        """Return the contents of the buffers that are written only: the part's outputs, in order of their handles."""
        found = sorted(b.handle for b in self.submission.buffers if b.role == "written")
        return [self.arrays[handle] for handle in found]


def stored(values: Array) -> Bytes:
    """Return a tensor's bytes as they are stored.

    Raises:
        InputError: the tensor is not one of bytes.
    """
    if values.dtype == np.int8:
        return np.ascontiguousarray(values).view(np.uint8).ravel() ^ np.uint8(SIGN)
    if values.dtype != np.uint8:
        raise InputError(f"a tensor of {values.dtype}: only UINT8 and INT8 tensors go to this NPU")
    return np.ascontiguousarray(values).ravel()


def as_tensor(data: Bytes, like: Array) -> Array:
    """Return stored bytes as a tensor of the shape and type of ``like``."""
    found = data[: like.size].reshape(like.shape)
    return (found ^ np.uint8(SIGN)).view(np.int8) if like.dtype == np.int8 else found
