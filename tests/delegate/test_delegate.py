"""The delegate in a Python program: what it runs, what it leaves to the host, and how it fails."""

from __future__ import annotations

import gc
import os
import re
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from delegate_bench import add_conv, chain, noise, outputs, pooled, run, same, set_noise

from rocketnpu.compiler import compile_graph
from rocketnpu.delegate import Delegate, callbacks
from rocketnpu.device.base import DeviceJob
from rocketnpu.device.executor import run as run_on_device
from rocketnpu.device.simulator import SimulatorDevice
from rocketnpu.errors import DeviceError, InputError
from rocketnpu.graph import DType
from rocketnpu.model import tflite
from rocketnpu.model.builder import ModelBuilder
from rocketnpu.policy import Policy

EVERYTHING = {"minimum_macs": 0}


class FailingDevice(SimulatorDevice):
    """A device that fails on demand."""

    error: BaseException | None = None

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        if self.error is not None:
            raise self.error
        super().submit(jobs)


class SignallingDevice(SimulatorDevice):
    """A device during whose work a signal comes."""

    number: int | None = None

    def submit(self, jobs: Sequence[DeviceJob]) -> None:
        if self.number is not None:
            signal.raise_signal(self.number)
        super().submit(jobs)


def interpreter(model: bytes, *delegates: Any) -> Any:
    made = Interpreter(model_content=model, experimental_delegates=list(delegates))
    made.allocate_tensors()
    set_noise(made)
    return made


def on_npu(model: bytes) -> list[Any]:
    """Run a model that the NPU takes as a whole, without any host."""
    graph = tflite.parse(model)
    inputs = [noise(graph.tensors[n].shape, graph.tensors[n].dtype.value, 1) for n in graph.inputs]
    return run_on_device(SimulatorDevice(), compile_graph(graph, Policy()), inputs)


def test_a_part_gives_what_its_program_gives_on_the_device() -> None:
    for model in (chain("npu"), chain("npu", "npu", channels=20)):
        assert same(run(model, [Delegate(require_full=True, **EVERYTHING)]), on_npu(model))


def test_parts_alternate_with_operators_of_the_host(capfd: pytest.CaptureFixture[str]) -> None:
    model = chain("npu", "cpu", "npu", "cpu", "cpu", "npu")
    found = run(model, [Delegate(verbose=True, **EVERYTHING)])
    said = capfd.readouterr().err
    assert said.count("invoked graph, took ") == 3
    beside = r"took \d+\.\d ms \(estimated for the mainline kernel's clock, on one core: \d+\.\d ms\)"
    assert len(re.findall(beside, said)) == 3
    assert same(found, on_npu(chain("npu", "npu", "npu")))


def test_a_part_too_small_to_pay_stays_on_the_cpu(capfd: pytest.CaptureFixture[str]) -> None:
    model = chain("npu", size=4)
    assert same(run(model, [Delegate(verbose=True)]), run(model, []))
    error = capfd.readouterr().err
    assert "fewer than" in error
    assert "compiling graph" not in error
    assert same(run(model, [Delegate(**EVERYTHING)]), on_npu(model))


def test_require_full_refuses_with_each_operator_and_its_reason(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match=r"require_full: 2 operators .* \(DEQUANTIZE\): .* \(QUANTIZE\): "):
        interpreter(chain("npu", "cpu"), Delegate(require_full=True, **EVERYTHING))
    assert "rocketnpu: applying the delegate: require_full" in capfd.readouterr().err


def test_verbose_prints_what_users_of_the_original_know(capfd: pytest.CaptureFixture[str]) -> None:
    run(chain("npu", "cpu"), [Delegate(verbose=True, device="simulator", **EVERYTHING)])
    error = capfd.readouterr().err
    for line in (
        r"loaded simulator driver",
        r"  0   0.050000  120 no   uint8    1x12x12x16",
        r"  0 CONV_2D                  supported   0 1 2 -> 3",
        r"  1 DEQUANTIZE               unsupported 3 -> 4",
        r"because ",
        r"compiling graph: 4 tensors 1 operations",
        r"compiled graph, took ",
        r"invoked graph, took ",
    ):
        assert f"rocketnpu: {line}" in error or line in error
    run(chain("npu", "cpu"), [Delegate(**EVERYTHING)])
    assert "rocketnpu" not in capfd.readouterr().err


def test_a_resized_input_recompiles_and_gives_what_a_model_of_that_size_gives() -> None:
    resized = interpreter(pooled(16), Delegate(**EVERYTHING))
    for size in (24, 16, 8):
        resized.resize_tensor_input(0, [1, size, size, 16])
        resized.allocate_tensors()
        set_noise(resized)
        resized.invoke()
        assert same(outputs(resized), run(pooled(size), [Delegate(**EVERYTHING)]))


def test_a_batch_by_a_resize_is_one_inference_an_image() -> None:
    resized = interpreter(pooled(16), Delegate(**EVERYTHING))
    resized.resize_tensor_input(0, [3, 16, 16, 16])
    resized.allocate_tensors()
    images = np.random.default_rng(5).integers(0, 256, (3, 16, 16, 16)).astype(np.uint8)
    resized.set_tensor(0, images)
    resized.invoke()
    (found,) = outputs(resized)
    for image, made in zip(images, found, strict=True):
        single = interpreter(pooled(16), Delegate(**EVERYTHING))
        single.set_tensor(0, image[None])
        single.invoke()
        np.testing.assert_array_equal(outputs(single)[0][0], made)


def test_a_resize_that_the_npu_cannot_follow_runs_as_without_it() -> None:
    builder = ModelBuilder()
    x = builder.tensor((1, 16, 16, 16), DType.UINT8, scale=0.02, zero_point=128)
    y = add_conv(builder, x, (1, 16, 16, 16), 16)
    model = builder.build([x], [y])
    resized = interpreter(model, Delegate(**EVERYTHING))
    plain = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    for each in (resized, plain):
        each.resize_tensor_input(0, [1, 16, 4096, 16])  # wider than the NPU's fields
        each.allocate_tensors()
        set_noise(each)
        each.invoke()
    assert same(outputs(resized), outputs(plain))
    resized.resize_tensor_input(0, [1, 16, 16, 16])
    resized.allocate_tensors()
    set_noise(resized)
    resized.invoke()
    assert same(outputs(resized), run(model, [Delegate(**EVERYTHING)]))


def test_a_shape_that_is_known_only_while_the_model_runs_is_followed() -> None:
    builder = ModelBuilder()
    x = builder.tensor((1, 16, 16, 16), DType.FLOAT32)
    wanted = builder.tensor((4,), DType.INT32)
    shaped = builder.tensor((1, 16, 16, 16), DType.FLOAT32)
    builder.operator("RESHAPE", [x, wanted], [shaped])
    quantised = builder.tensor((1, 16, 16, 16), DType.UINT8, scale=0.02, zero_point=128)
    builder.operator("QUANTIZE", [shaped], [quantised])
    y = add_conv(builder, quantised, (1, 16, 16, 16), 16)
    model = builder.build([x, wanted], [y])
    with_delegate = Interpreter(model_content=model, experimental_delegates=[Delegate(**EVERYTHING)])
    plain = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    values = np.random.default_rng(3).uniform(-2.5, 2.5, (1, 16, 16, 16)).astype(np.float32)
    found = []
    for each in (with_delegate, plain):
        each.allocate_tensors()
        for shape in ([1, 8, 32, 16], [1, 32, 8, 16]):
            each.set_tensor(0, values)
            each.set_tensor(1, np.array(shape, np.int32))
            each.invoke()
            found.append(each.get_tensor(y))
            assert found[-1].shape == tuple(shape)
    for npu, cpu in zip(found[:2], found[2:], strict=True):
        assert np.abs(npu.astype(int) - cpu).max() <= 1


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DeviceError("the board is on fire"), "the board is on fire"),
        (ZeroDivisionError("oops"), "internal fault, ZeroDivisionError: oops"),
    ],
)
def test_a_failing_device_is_text_and_a_failed_status_and_the_next_run_may_work(
    error: BaseException, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    device = FailingDevice()
    made = interpreter(chain("npu"), Delegate.on(device, **EVERYTHING))
    device.error = error
    with pytest.raises(RuntimeError, match=f"rocketnpu: running a part: {text}"):
        made.invoke()
    assert capfd.readouterr().err == f"rocketnpu: running a part: {text}\n"
    device.error = None
    set_noise(made)
    made.invoke()
    assert same(outputs(made), on_npu(chain("npu")))


class Stop(Exception):
    """What a program's own signal handler raises."""


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Stop("now", 1)])
def test_what_a_signal_handler_raises_reaches_the_caller_as_itself(
    error: BaseException, capfd: pytest.CaptureFixture[str]
) -> None:
    def handler(*_: object) -> None:
        raise error

    device = SignallingDevice()
    made = interpreter(chain("npu"), Delegate.on(device, **EVERYTHING))
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        device.number = signal.SIGUSR1
        with pytest.raises(type(error)) as caught:
            made.invoke()
        assert caught.value is error
    finally:
        signal.signal(signal.SIGUSR1, before)
    device.number = None
    assert capfd.readouterr().err == ""
    set_noise(made)
    made.invoke()
    assert same(outputs(made), on_npu(chain("npu")))


def test_an_unknown_option_and_a_missing_device_are_refused() -> None:
    with pytest.raises(InputError, match="valid options are device"):
        Delegate(devise="simulator")
    if not any(Path("/dev").glob("accel/accel*")):
        with pytest.raises(DeviceError):
            Delegate(device="rocket")


def test_a_delegate_that_was_closed_too_early_fails_with_text() -> None:
    delegate = Delegate(**EVERYTHING)
    made = interpreter(chain("npu"), delegate)
    delegate.close()
    delegate.close()
    with pytest.raises(RuntimeError, match="the delegate must outlive its interpreters"):
        made.invoke()


def test_a_deleted_cache_folder_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    first = run(chain("npu"), [Delegate(cache=folder, **EVERYTHING)])
    kept = list(folder.rglob("*"))
    assert kept
    for path in kept:
        path.unlink()
    folder.rmdir()
    assert same(run(chain("npu"), [Delegate(cache=folder, **EVERYTHING)]), first)
    assert list(folder.rglob("*"))


@pytest.mark.parametrize("cores", [1, 2])
def test_one_delegate_serves_interpreters_in_many_threads(cores: int) -> None:
    delegate = Delegate(cores=cores, **EVERYTHING)
    models = [chain("npu", channels=channels) for channels in (16, 24, 32, 40)]
    expected = [on_npu(model) for model in models]
    wrong: list[int] = []

    def work(number: int) -> None:
        made = interpreter(models[number], delegate)
        for _ in range(10):
            set_noise(made)
            made.invoke()
            if not same(outputs(made), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=[number]) for number in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_one_inference_on_all_cores_gives_the_same_bytes(shared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Small chains are not split, for barriers would cost more; a network of the size of MobileNet is."""
    assert same(run(chain("npu"), [Delegate(cores=3, split="auto", **EVERYTHING)]), on_npu(chain("npu")))
    model = (shared / "models" / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    capfd.readouterr()
    found = run(model, [Delegate(device="simulator", cores=3, split="auto", verbose=True)])
    assert "is split over 3 cores" in capfd.readouterr().err
    assert same(found, run(model, [Delegate(device="simulator", split="off")]))


def test_images_of_a_batch_on_all_cores_give_the_same_bytes(capfd: pytest.CaptureFixture[str]) -> None:
    builder, shape = ModelBuilder(), (2, 32, 32, 64)
    first = builder.tensor(shape, DType.UINT8, scale=0.05, zero_point=120)
    last = add_conv(builder, add_conv(builder, first, shape, 64), shape, 64)
    model = builder.build([first], [last])
    found = run(model, [Delegate(device="simulator", cores=3, split="auto", verbose=True)])
    assert "is split over 3 cores" in capfd.readouterr().err
    assert same(found, run(model, [Delegate(device="simulator", split="off")]))


def test_nothing_remains_of_delegates_and_interpreters() -> None:
    gc.collect()
    before = len(callbacks._sessions), len(callbacks._kernels), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        run(chain("npu", "cpu", "npu"), [Delegate(**EVERYTHING)])
    gc.collect()
    assert (len(callbacks._sessions), len(callbacks._kernels), len(os.listdir("/proc/self/fd"))) == before  # noqa: PTH208
