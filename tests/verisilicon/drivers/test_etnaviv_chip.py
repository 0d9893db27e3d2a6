"""Which render node has the NPU: most are other GPUs', some have several cores, an old kernel does not tell."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from etnaviv_kernels import GPU_2D, GPU_3D, NPU, Nodes

from rocketnpu.device.discover import drivers, open_device
from rocketnpu.device.doctor import examine
from rocketnpu.device.machine import Machine
from rocketnpu.device.nodes import find_node
from rocketnpu.errors import DeviceError
from rocketnpu.verisilicon.drivers.etnaviv import EtnavivDevice
from rocketnpu.verisilicon.drivers.etnaviv_chip import identities, pipe_of, refusal_of
from rocketnpu.verisilicon.soc import A311D, IMX8MP, SOCS, Identity

BOARD = {
    "/dev/dri/renderD128": ("panfrost", []),
    "/dev/dri/renderD129": ("etnaviv", [GPU_3D, GPU_2D]),
    "/dev/dri/renderD130": ("etnaviv", [GPU_3D, None, IMX8MP.identity]),
    "/dev/dri/renderD131": ("etnaviv", [NPU]),
}


@pytest.mark.parametrize(("soc", "path", "pipe"), [(A311D, "131", 0), (IMX8MP, "130", 2)])
def test_the_npu_is_found_among_others_gpus(soc, path, pipe):
    calls = Nodes(BOARD)
    with EtnavivDevice(soc, calls=calls) as device:
        assert (device.path, device.pipe, device.chip) == (f"/dev/dri/renderD{path}", pipe, soc.name)
    assert not calls.opened


def test_auto_and_the_drivers_name_take_the_chip_that_is_there():
    for name in ("auto", "etnaviv"):
        with open_device(name, calls=Nodes({"/dev/dri/renderD128": BOARD["/dev/dri/renderD130"]})) as device:
            assert (device.name, device.chip) == ("etnaviv", "imx8mp")
    # Of two chips the first in the registry is taken.
    with open_device("auto", calls=Nodes(BOARD)) as device:
        assert device.chip == "a311d"


def test_customers_and_batches_of_a_chip_differ():
    """i.MX 8M Plus: 0x9f and 0xa0 are both in the vendor's table (facts 1)."""
    other = replace(IMX8MP.identity, customer=0xA0)
    assert pipe_of(*opened([other]), IMX8MP) == 0


def opened(cores: list[Identity | None], **options: bool) -> tuple[Nodes, int]:
    calls = Nodes({"/dev/dri/renderD128": ("etnaviv", cores)}, **options)
    return calls, calls.open("/dev/dri/renderD128")


def test_all_cores_are_listed_whatever_lies_between():
    assert list(identities(*opened([None, GPU_2D, None, NPU]))) == [(1, GPU_2D), (3, NPU)]
    assert list(identities(*opened([]))) == []


@pytest.mark.parametrize(
    ("cores", "told"),
    [
        ([GPU_3D], "it has model 0x7000 revision 0x6204 product 0x0"),
        ([], "it has nothing"),
        ([SOCS["s905d3"].identity], "it has the NPU of Amlogic S905D3 (model 0x8000 revision 0x7131)"),
        ([GPU_2D, IMX8MP.identity], "the NPU of NXP i.MX 8M Plus (model 0x8000 revision 0x8002)"),
    ],
)
def test_what_is_there_instead_is_said(cores, told):
    refusal = refusal_of(A311D)(*opened(cores))
    assert refusal.startswith("has no NPU that is driven here, ")
    assert refusal.endswith(told)
    with pytest.raises(DeviceError, match="no NPU with the driver 'etnaviv': /dev/dri/renderD128 has no NPU") as caught:
        EtnavivDevice(A311D, calls=Nodes({"/dev/dri/renderD128": ("etnaviv", cores)}))
    assert told in str(caught.value)
    assert "rocketnpu doctor" in str(caught.value)


def test_an_older_kernel_is_named():
    told = refusal_of(A311D)(*opened([NPU], before_14=True))
    assert "an NPU (model 0x8000 revision 0x7120) whose kernel driver is older than 1.4" in told


@pytest.mark.parametrize("start", [(1 << 64) - 1, 1 << 32, 5])
def test_a_kernel_without_soft_pinning_is_refused(start):
    calls = Nodes({"/dev/dri/renderD128": ("etnaviv", [NPU])})
    calls.softpin_start = start
    with pytest.raises(DeviceError, match=r"soft pinning|are none of this NPU's"):
        EtnavivDevice(A311D, calls=calls)
    assert not calls.opened


@pytest.mark.parametrize("error", [errno.ENODEV, errno.EIO, errno.EINVAL, errno.EACCES])
def test_a_node_that_answers_with_errors_is_left(error):
    class Broken(Nodes):
        def _parameter(self, cores, argument):
            raise OSError(error, os.strerror(error))

    calls = Broken(BOARD)
    with pytest.raises(DeviceError, match="no NPU with the driver 'etnaviv'"):
        EtnavivDevice(A311D, calls=calls)
    assert not calls.opened


def test_a_node_that_changes_its_mind():
    class Fickle(Nodes):
        asked = 0

        def _parameter(self, cores, argument):
            self.asked += 1
            super()._parameter(cores if self.asked < 6 else [GPU_3D], argument)

    calls = Fickle({"/dev/dri/renderD128": ("etnaviv", [NPU])})
    with pytest.raises(DeviceError, match="no longer says that it is"):
        EtnavivDevice(A311D, calls=calls)
    assert not calls.opened


def test_signals_do_not_end_the_search():
    class Interrupted(Nodes):
        asked = 0

        def _parameter(self, cores, argument):
            self.asked += 1
            if self.asked % 2:
                raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
            super()._parameter(cores, argument)

    with EtnavivDevice(A311D, calls=Interrupted({"/dev/dri/renderD128": ("etnaviv", [NPU])})) as device:
        assert device.pipe == 0


def test_the_drivers_of_both_chips_have_one_name_and_refuse_each_others():
    found = {driver.chip: driver for driver in drivers() if driver.name == "etnaviv"}
    assert set(found) == {"a311d", "imx8mp"}
    calls = Nodes(BOARD)
    for chip, path in (("a311d", "131"), ("imx8mp", "130")):
        driver = found[chip]
        assert find_node(calls, driver.nodes, driver.name, driver.refusal)[0] == f"/dev/dri/renderD{path}"


def test_the_doctor_finds_the_node_among_others(tmp_path):
    found = {fact.name: fact for fact in examine(Machine(tmp_path, "6.17.0", Nodes(BOARD)))}
    assert found["node"].state == "good"
    assert found["node"].found.startswith("/dev/dri/renderD131, driver etnaviv")
    only = Nodes({"/dev/dri/renderD129": BOARD["/dev/dri/renderD129"]})
    found = {fact.name: fact for fact in examine(Machine(tmp_path, "6.17.0", only))}
    assert found["node"].state == "bad"
    assert "/dev/dri/renderD129 has no NPU that is driven here, it has model 0x7000" in found["node"].found
    assert found["node"].found.count("renderD129 has no NPU") == 1
