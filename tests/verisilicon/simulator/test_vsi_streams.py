"""The front end, and streams as a whole: order, oddities, limits; and ten thousand damaged ones, a few here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import vsi_recordings as recorded
from vsi_attacks import attack, originals
from vsi_machine import INSTRUCTION, NN, Rig, nn_fields, write_kernels

from rocketnpu.errors import SimulationError
from rocketnpu.verisilicon.registers.commands import load_state
from rocketnpu.verisilicon.simulator import npu
from rocketnpu.verisilicon.soc import A311D, IMX8MP, SOCS, Identity, soc_of, tried_soc
from rocketnpu.verisilicon.streams.machine import Machine
from rocketnpu.verisilicon.streams.recording import load


def stream(*states):
    return np.array([word for offset, value in states for word in load_state(offset, (value,))], "<u4")


def test_unknown_states_are_remarked_and_do_nothing():
    report = Rig().npu.run_stream(stream((0x1234, 7), (0x380C, 0xC23)))
    assert report.jobs == []
    assert report.remarks == ["word 0: state 0x1234 is not known; 0x7 is kept there"]


@pytest.mark.parametrize("words", [[0x40000000, 0], [0, 0x08010429], [0x08050429, 0]])
def test_unknown_commands_end_a_stream(words):
    with pytest.raises(SimulationError, match=r"FE\.word"):
        Rig().npu.run_stream(np.array(words, "<u4"))


def test_an_instruction_nowhere():
    with pytest.raises(SimulationError, match=r"task 0, FE\.PS_NN_INST_ADDR: read of 0x0"):
        Rig().npu.run_stream(stream((0x10A0, 5)))


def test_jobs_run_in_their_order_and_low_bits_are_a_number():
    rig = Rig()
    weights, image = np.full((1, 1, 1, 1), 2, np.uint8), np.ones((1, 1, 1), np.uint8)
    rig.image[0] = 5
    write_kernels(rig, 7, weights, [0], zero_point=0, per_core=1, plane=1)
    common = {"weights": weights, "image": image, "out": (1, 1), "zero_point": 0, "per_core": 1}
    fields = nn_fields(7, **common) | {"SHIFT": 15, "OUT_ADDRESS": 0x400000}
    words = NN.encode(fields)
    rig.instruction[: words.nbytes] = words.view(np.uint8)
    report = rig.npu.run_stream(stream((0x10A0, INSTRUCTION | 1), (0x10A0, INSTRUCTION | 2)))
    assert rig.image[0] == 20
    assert [job.address for job in report.jobs] == [INSTRUCTION, INSTRUCTION]


def test_work_beyond_the_kernels_patience_is_refused(monkeypatch):
    monkeypatch.setattr(npu, "MAX_WORK", 100)
    recording = load(recorded.PACKAGED / "a311d" / "edge_conv1x1_u8_ic33.zip")
    with pytest.raises(SimulationError, match="are left to this stream"):
        Machine(recording.submissions[1], recording.soc).run()


@pytest.mark.parametrize("seed", range(120))
def test_damaged_streams_end_in_a_sentence_or_a_result(seed):
    """The long run is ``python tests/verisilicon/simulator/vsi_attacks.py 10000``."""
    attack(originals(), seed)


def test_chips():
    assert tried_soc("a311d") is A311D
    assert soc_of(IMX8MP.identity) is IMX8MP
    assert soc_of(Identity(0x8000, 0x8002, 0x05080009, 0xA0, 1)) is IMX8MP
    assert soc_of(Identity(1, 2, 3, 4, 5)) is None
    assert {name for name, soc in SOCS.items() if soc.tried} == {"a311d", "imx8mp"}
    for name, said in (("s905d3", "has not been tried"), ("rk1808", "there is no chip 'rk1808'")):
        with pytest.raises(Exception, match=said):
            tried_soc(name)
