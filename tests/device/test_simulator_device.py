"""What is particular to the simulator as a device; what all devices share is in test_contract.py."""

import inspect

import numpy as np
import pytest

from rocketnpu.device.base import DeviceJob, DeviceTask
from rocketnpu.device.simulator import PAGE, SimulatorDevice
from rocketnpu.errors import DeviceError, SimulationError
from rocketnpu.rockchip.registers.command import MARKER, NOP, enable, write


def copy_task(device, source, target, pixels):
    """Place a command list that copies 16-channel pixels with the DPU; returns its buffer and task."""
    ones = {f"EW_{name}": 1 for name in ("BYPASS", "OP_BYPASS", "LUT_BYPASS", "OP_CVT_BYPASS", "RELU_BYPASS")}
    toggle = {"POINTER_PP_MODE": 1, "EXECUTER_PP_EN": 1, "POINTER_PP_EN": 1}
    words = np.array(
        [
            write("DPU.S_POINTER", **toggle),
            write("DPU_RDMA.RDMA_S_POINTER", **toggle),
            write("DPU.FEATURE_MODE_CFG", OUTPUT_MODE=2, FLYING_MODE=1),
            write("DPU.DST_BASE_ADDR", DST_BASE_ADDR=target.address),
            write("DPU.DST_SURF_STRIDE", DST_SURF_STRIDE=pixels),
            write("DPU.SURFACE_ADD", SURF_ADD=pixels),
            write("DPU.DATA_CUBE_WIDTH", WIDTH=pixels - 1),
            write("DPU.DATA_CUBE_CHANNEL", ORIG_CHANNEL=15, CHANNEL=15),
            write("DPU.WDMA_SIZE_0", CHANNEL_WDMA=15),
            write("DPU.WDMA_SIZE_1", WIDTH_WDMA=pixels - 1),
            write("DPU.BS_CFG", BS_BYPASS=1),
            write("DPU.BS_OW_CFG", OD_BYPASS=1),
            write("DPU.BN_CFG", BN_BYPASS=1),
            write("DPU.EW_CFG", **ones),
            write("DPU.OUT_CVT_SCALE", OUT_CVT_SCALE=1),
            write("DPU_RDMA.RDMA_DATA_CUBE_WIDTH", WIDTH=pixels - 1),
            write("DPU_RDMA.RDMA_DATA_CUBE_CHANNEL", CHANNEL=15),
            write("DPU_RDMA.RDMA_SRC_BASE_ADDR", SRC_BASE_ADDR=source.address),
            write("DPU_RDMA.RDMA_ERDMA_CFG", ERDMA_DISABLE=1),
            write("DPU_RDMA.RDMA_FEATURE_MODE_CFG", FLYING_MODE=1),
            NOP,
            write("PC.REGISTER_AMOUNTS"),
            MARKER,
            enable(("DPU", "DPU_RDMA")),
        ],
        "<u8",
    )
    buffer = device.allocate(words.nbytes)
    device.map(buffer)[:] = words.tobytes()
    return DeviceTask(buffer.address, words.size, 0x18)


def test_it_refuses_what_silicon_computes_wrongly_unless_told_otherwise():
    assert inspect.signature(SimulatorDevice).parameters["strict"].default is True


def test_addresses_leave_a_guard_page_and_are_reused():
    with SimulatorDevice() as device:
        first, second, third = device.allocate(1), device.allocate(PAGE + 1), device.allocate(16)
        assert [buffer.address for buffer in (first, second, third)] == [PAGE, 2 * PAGE, 4 * PAGE]
        device.free(second)
        assert device.allocate(3 * PAGE).address == 5 * PAGE
        assert device.allocate(PAGE).address == 2 * PAGE


def test_jobs_run_when_they_are_submitted():
    with SimulatorDevice() as device:
        source, target = device.allocate(64), device.allocate(64)
        device.map(source)[:] = bytes(range(64))
        task = copy_task(device, source, target, 4)
        device.submit([DeviceJob((task,), (source,), (target,)), DeviceJob((task,), (source,), (target,))])
        assert bytes(device.map(target)) == bytes(range(64))
        assert [report.interrupts for report in device.reports] == [0x100, 0x200]


def test_errors_name_the_task_within_the_submission():
    with SimulatorDevice() as device:
        source, target = device.allocate(64), device.allocate(64)
        good, bad = copy_task(device, source, target, 4), copy_task(device, source, target, 5)
        with pytest.raises(SimulationError, match=r"task 2, DPU\.DST_BASE_ADDR") as caught:
            device.submit([DeviceJob((good, good)), DeviceJob((bad,))])
        assert caught.value.task == 2


def test_the_end_of_a_buffer_is_exact():
    with SimulatorDevice() as device:
        source, target = device.allocate(64), device.allocate(80)
        with pytest.raises(SimulationError, match="RDMA_SRC_BASE_ADDR"):
            device.submit([DeviceJob((copy_task(device, source, target, 5),))])


def test_address_zero_is_never_mapped():
    with SimulatorDevice() as device:
        device.allocate(64)
        with pytest.raises(SimulationError, match="leaves the mapped"):
            device.submit([DeviceJob((DeviceTask(0, 4, 0x18),))])


def test_the_address_space_ends_at_32_bits():
    with SimulatorDevice() as device, pytest.raises(DeviceError, match="32-bit address space"):
        device.allocate(1 << 32)


def test_a_closed_device_does_nothing():
    device = SimulatorDevice()
    buffer = device.allocate(16)
    device.close()
    device.close()
    with pytest.raises(DeviceError, match="closed"):
        device.allocate(16)
    with pytest.raises(DeviceError, match="closed"):
        device.submit([])
    with pytest.raises(DeviceError, match="not"):
        device.map(buffer)
