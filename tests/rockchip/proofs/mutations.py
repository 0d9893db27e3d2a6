"""Simulators that behave otherwise in exactly one way: one for each alternative that a trial names.

Each is a function that is given pytest's monkeypatch and the simulator's modules. None shares a line with the trials'
own arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rocketnpu.rockchip.simulator import core_state, npu, tasks
from rocketnpu.rockchip.simulator import registers as files
from rocketnpu.rockchip.simulator.units import cna, dpu, dpu_stages, lut, ppu, rdma
from rocketnpu.rockchip.simulator.units.dpu_config import EW_ADD, EW_MAX, EW_MIN, MINUS

Mutate = Callable[..., None]
MUTATIONS: dict[tuple[str, str], Mutate] = {}


def mutation(rule: str, *alternatives: str) -> Callable[[Mutate], Mutate]:
    """Enter a mutation; it is given the alternative's place among those it serves."""

    def enter(function: Mutate) -> Mutate:
        for place, alternative in enumerate(alternatives):
            MUTATIONS[rule, alternative] = lambda patch, place=place: function(patch, place)
        return function

    return enter


def apply(patch, rule: str, alternative: str) -> None:
    """Change the simulator's Python; what it remembers of registers is forgotten, and nothing is compiled."""
    files.registers.cache_clear()
    patch.setattr(core_state, "find_kernel", lambda: None)
    MUTATIONS[rule, alternative](patch)


@mutation("depthwise-pad-lanes", "the first 32 of each 64 channels", "all odd channels", "the first byte everywhere")
def padding(patch, place: int) -> None:
    def lanes(value: int, depthwise: bool, count: int):
        channel = np.arange(count)
        chosen = (channel % 2 == 1) & depthwise
        chosen &= (channel % 64 < 32, True, False)[place]
        return np.where(chosen, value >> 8 & 0xFF, value & 0xFF).astype(np.uint8).view(np.int8)

    patch.setattr(cna, "padding_lanes", lanes)


def rounding(way: int):
    """Ways to round a float: half up, half away from zero, downwards."""
    return (lambda v: np.floor(v + 0.5), lambda v: np.copysign(np.floor(np.abs(v) + 0.5), v), np.floor)[way]


@mutation("offset-ties", "rounded together with the offset", "half up", "half away from zero")
def output(patch, place: int) -> None:
    def stage(pipeline, out, low: int, high: int) -> None:
        def convert(block, *_: int) -> None:
            values = block * 2.0**-out.shift * out.scale
            values = np.rint(values + out.offset) if place == 0 else rounding(place - 1)(values) + out.offset
            np.copyto(block, np.clip(values, low, high))

        pipeline.steps.append(convert)

    patch.setattr(dpu, "output_stage", stage)


@mutation("two-roundings", "rounded once", "first half up", "first half away from zero", "first floored")
def product(patch, place: int) -> None:
    original = dpu_stages._multiplier

    def multiplier(stage, factors):
        if stage.prelu:
            return original(stage, factors)

        def multiply(block, *_: int) -> None:
            values = block * factors * 2.0**-stage.shift
            np.copyto(block, values if place == 0 else rounding(place - 1)(values))

        return multiply

    patch.setattr(dpu_stages, "_multiplier", multiplier)


@mutation("stage-saturation", "wraps around", "keeps more than 32 bits")
def saturation(patch, place: int) -> None:
    def saturate(self, bound: int) -> None:
        if bound > 2**31 - 1 and place == 0:
            self.steps.append(lambda block, *_: np.copyto(block, (block + 2.0**31) % 2.0**32 - 2.0**31))
        self.bound = bound

    patch.setattr(dpu_stages.Pipeline, "saturate", saturate)


@mutation("written-padding", "zero", "the output's offset", "they are not written")
def fill(patch, place: int) -> None:
    original, write = dpu.prepare_dpu, dpu.Writer.write

    def prepare(config, *rest):
        return original(replace(config, fill=(0, config.out.offset)[place]), *rest)

    def skipping(self, values, spoil: bool) -> None:
        if values.dtype != np.int8:
            write(self, values, spoil)
            return
        lanes, real = values.shape[1], self._dpu.real_channels
        before = np.empty((self._dpu.height, self._dpu.width, lanes), np.int8)
        for span, target in self._targets:
            part = target.transpose(1, 2, 0, 3).reshape(*before.shape[:2], -1).view(np.int8)
            before[..., span.start * 16 : span.stop * 16] = part
        kept = values.copy()
        kept[:, real:] = before.reshape(-1, lanes)[:, real:]
        self._tail.clear()
        write(self, kept, spoil)

    if place < 2:
        patch.setattr(tasks, "prepare_dpu", prepare)
    else:
        patch.setattr(dpu.Writer, "write", skipping)


@mutation("integer-relux", "no upper bound", "no lower bound", "bounds behind the converter")
def ceiling(patch, place: int) -> None:
    original, stage_of, output_of = dpu_stages._relu, dpu.scale_stage, dpu.output_stage
    late: list[int] = []

    def relu(limit):
        if limit is None or place == 2:
            return original(None)
        if place == 0:
            return original(None)
        return lambda block, *_: np.minimum(block, limit, out=block)

    def scale(pipeline, stage, operands) -> None:
        if stage.limit is not None:
            late.append(stage.limit)
            stage = replace(stage, relu=False, limit=None)
        stage_of(pipeline, stage, operands)

    def finish(pipeline, *rest) -> None:
        output_of(pipeline, *rest)
        if late:
            top = late.pop()
            pipeline.steps.append(lambda block, *_: np.clip(block, 0, top, out=block))

    if place < 2:
        patch.setattr(dpu_stages, "_relu", relu)
    else:
        patch.setattr(dpu, "scale_stage", scale)
        patch.setattr(dpu, "output_stage", finish)


@mutation("constant-summand-in-bn", "not added", "subtracted", "added behind the ReLU")
def lift(patch, place: int) -> None:
    original = dpu.scale_stage

    def scale(pipeline, stage, operands) -> None:
        constant = stage.alu_operand
        if stage.name != "BN" or stage.alu is None or constant is None:
            original(pipeline, stage, operands)
            return
        original(pipeline, replace(stage, alu=(None, MINUS, None)[place]), operands)
        if place == 2:
            pipeline.steps.append(lambda block, *_: np.add(block, constant, out=block))

    patch.setattr(dpu, "scale_stage", scale)


@mutation("parametric-relu", "all values are multiplied", "positive values are multiplied", "no value is multiplied")
def slopes(patch, place: int) -> None:
    original = dpu_stages._multiplier

    def multiplier(stage, factors):
        if not stage.prelu:
            return original(stage, factors)

        def multiply(block, *_: int) -> None:
            values = np.rint(block * factors * 2.0**-stage.shift)
            np.copyto(block, (values, np.where(block > 0, values, block), block)[place])

        return multiply

    patch.setattr(dpu_stages, "_multiplier", multiplier)


@mutation("depthwise-channel-records", "records of 48 bytes without feature offsets", "one kind behind the other")
def records(patch, place: int) -> None:
    original = dpu.stage_operands

    def operands(stage, config, engine, context):
        if not config.depthwise or engine is None or stage.name != "BS" or engine.bs_use != 7:
            return original(stage, config, engine, context)
        count = config.real_channels
        size = 6 * count if place == 0 else 8 * count
        raw = context.memory.view(engine.bs_address, (size,), unit="DPU_RDMA", register="RDMA_BS_BASE_ADDR").copy()
        if place == 0:
            groups = raw.reshape(-1, 48)
            bias, scale = groups[:, :32].copy().view("<i4"), groups[:, 32:].copy().view("<i2")
            parts = (bias.reshape(-1), np.zeros(count), scale.reshape(-1))
        else:
            parts = (
                raw[: 4 * count].view("<i4"),
                raw[4 * count : 6 * count].view("<i2"),
                raw[6 * count :].view("<i2"),
            )
        return rdma.ChannelOperands(*(np.asarray(part).astype(np.int64) for part in parts))

    patch.setattr(dpu, "stage_operands", operands)


@mutation("dilation", "ignored", "rows and columns exchanged", "the fields hold the distance itself")
def steps(patch, place: int) -> None:
    original = tasks.read_cna

    def read(regs, checks):
        config = original(regs, checks)
        if (config.step_x, config.step_y) == (1, 1):
            return config
        x, y = ((1, 1), (config.step_y, config.step_x), (config.step_x - 1, config.step_y - 1))[place]
        right = (config.out_width - 1) * config.stride_x + (config.kernel.width - 1) * x + 1 - config.width
        below = (config.out_height - 1) * config.stride_y + (config.kernel.height - 1) * y + 1 - config.height
        return replace(config, step_x=x, step_y=y, pad_right=max(right, 0), pad_bottom=max(below, 0))

    patch.setattr(tasks, "read_cna", read)


@mutation("feature-line-gap", "no gap", "a gap after four rows")
def gap(patch, place: int) -> None:
    original = cna.feature_rows

    def rows(config, memory):
        width = config.fetch_width
        if config.group == 1 and config.line_stride > width:
            if place == 0:
                config = replace(config, line_stride=width)
            else:
                config = replace(config, group=4, surface_stride=config.surface_stride - 3 * width)
        return original(config, memory)

    patch.setattr(cna, "feature_rows", rows)
    patch.setattr(tasks, "feature_rows", rows)


def element(patch, change: Callable) -> None:
    """Change the EW stage's configuration."""
    original = dpu.element_stage
    patch.setattr(dpu, "element_stage", lambda pipe, stage, *rest: original(pipe, change(pipe, stage), *rest))


@mutation("elementwise-relu", "no ReLU", "in front of the sum", "on the operand")
def rectifier(patch, place: int) -> None:
    fetch = dpu_stages.Combine._fetch
    chosen: list[bool] = [False]

    def change(pipeline, stage):
        chosen[0] = stage.relu and place == 2
        if stage.relu and place == 1:
            pipeline.steps.append(lambda block, *_: np.maximum(block, 0, out=block))
        return replace(stage, relu=False)

    def operand(self, start, stop):
        values = fetch(self, start, stop)
        return np.maximum(values, 0) if chosen[0] else values

    element(patch, change)
    patch.setattr(dpu_stages.Combine, "_fetch", operand)


@mutation("elementwise-maximum", "the minimum", "the maximum", "the sum", "the operand is not converted")
def extremes(patch, place: int) -> None:
    def change(_, stage):
        if stage.multiply or stage.algorithm not in (EW_MAX, EW_MIN) or not stage.operate:
            return stage
        if place == 3:
            return replace(stage, convert=False)
        return replace(stage, algorithm=EW_ADD if place == 2 else EW_MAX + EW_MIN - stage.algorithm)

    element(patch, change)


@mutation("elementwise-multiply", "the sum", "the operand is not converted")
def factors(patch, place: int) -> None:
    def change(_, stage):
        if not stage.multiply or not stage.operate:
            return stage
        return replace(stage, convert=False) if place else replace(stage, multiply=False, algorithm=EW_ADD)

    element(patch, change)


@mutation("elementwise-operand-per-channel", "a value for each pixel", "the first 16 for all")
def vectors(patch, place: int) -> None:
    original = dpu.operand_reader

    def reader(config, context):
        if config.operand_mode != rdma.PER_CHANNEL:
            return original(config, context)
        if place == 0:
            stride = config.width * config.height * 16
            return original(replace(config, operand_mode=rdma.PER_PIXEL, operand_stride=stride), context)
        first = original(config, context).rows(0, 1)[0]
        return rdma.ChannelVector(np.tile(first[:16], len(first) // 16))

    patch.setattr(dpu, "operand_reader", reader)


@mutation("packed-byte-picture", "channels in reverse", "nothing is subtracted")
def picture(patch, place: int) -> None:
    pixels, table = cna.packed_pixels, cna.converted_bytes
    if place == 0:
        patch.setattr(cna, "packed_pixels", lambda *given: pixels(*given)[..., ::-1])
        patch.setattr(cna, "converted_bytes", lambda *given: table(*given)[::-1])
    else:
        patch.setattr(cna, "_convert", lambda values, *_: np.clip(values, -128, 127))


@mutation("int16-output", "clipped to bytes", "only the low byte")
def narrow(patch, place: int) -> None:
    original = dpu.output_stage

    def stage(pipeline, out, low: int, high: int) -> None:
        wide = low == -(1 << 15)
        original(pipeline, out, *((-128, 127) if wide and place == 0 else (low, high)))
        if wide and place == 1:
            pipeline.steps.append(lambda block, *_: np.copyto(block, (block + 128) % 256 - 128))

    patch.setattr(dpu, "output_stage", stage)


@mutation("byte-pooling-unit", "bytes without sign", "padding of zero")
def pool(patch, place: int) -> None:
    original = tasks.run_ppu

    def unsigned(padded, config):
        taps = np.stack([tap.view(np.uint8) for tap in ppu._taps(np.ascontiguousarray(padded), config)])
        return taps.max(0).view(np.int8)

    if place == 0:
        patch.setattr(ppu, "_extreme", unsigned)
    else:
        patch.setattr(tasks, "run_ppu", lambda config, *rest: original(replace(config, pad_value=0), *rest))


@mutation("pooling-average", "half up", "half away from zero", "floored")
def means(patch, place: int) -> None:
    patch.setattr(ppu, "shift_half_even", lambda v, shift: rounding(place)(v / 2.0**shift).astype(np.int64))


FLYING = frozenset({"DPU", "DPU_RDMA"})


@mutation("flying-start", "nothing but zeros")
def nothing(patch, place: int) -> None:
    del place
    original = npu._KINDS[FLYING]

    def run(units, context) -> int:
        done = original(units, context)
        config = tasks.read_dpu(units["DPU"], context.checks)
        writer = dpu.Writer(config, context.memory)
        writer.write(np.zeros((config.height * config.width, writer.padded_lanes), np.int8), spoil=False)
        return done

    patch.setitem(npu._KINDS, FLYING, run)


@mutation("flying-addition", "the second map reads zero", "the second map twice")
def second(patch, place: int) -> None:
    original, main = dpu.operand_reader, tasks.main_reader

    class Zeros:
        def __init__(self, inner) -> None:
            self._inner = inner

        def rows(self, start: int, stop: int):
            return self._inner.rows(start, stop) * 0

    def reader(config, context):
        found = original(config, context)
        return Zeros(found) if config.flying else found

    def source(config, context):
        return main(config if config.operand_off else replace(config, source=config.operand_address), context)

    if place == 0:
        patch.setattr(dpu, "operand_reader", reader)
    else:
        patch.setattr(tasks, "main_reader", source)


def tables(patch, place: int, flying: bool) -> None:
    """Change look-ups behind convolutions, or those of flying tasks."""
    pipeline_of, original = tasks.make_pipeline, dpu_stages.lookup
    now: list[bool] = [False]

    def pipeline(task, *rest):
        """Made right before its task runs."""
        now[0] = task.dpu.flying
        return pipeline_of(task, *rest)

    def lookup(block, config, entries) -> None:
        if now[0] != flying:
            original(block, config, entries)
        elif place == 0:
            original(block, config, entries[::-1])
        elif place == 1:
            block += 32
            original(block, config, entries)

    patch.setattr(tasks, "make_pipeline", pipeline)
    patch.setattr(dpu_stages, "lookup", lookup)


WRONG_TABLES = ("tables exchanged", "one entry further", "not looked up")


@mutation("byte-lookup-table", *WRONG_TABLES)
def fused(patch, place: int) -> None:
    tables(patch, place, flying=False)


@mutation("lookup-task", *WRONG_TABLES)
def alone(patch, place: int) -> None:
    tables(patch, place, flying=True)


@mutation("lut-interpolation", "rounded", "the nearest entry", "the entry below")
def between(patch, place: int) -> None:
    original = lut._one

    def one(argument, item, entries):
        size = 1 << item.select
        inside = (argument >= item.start) & (argument < item.end)
        index, rest = np.divmod(np.clip(argument, item.start, item.end) - item.start, size)
        low, high = entries[index], entries[np.minimum(index + 1, lut.ENTRIES - 1)]
        steep = low + np.floor((high - low) * rest / size + 0.5).astype(np.int64)
        answer = (steep, np.where(2 * rest >= size, high, low), low)[place]
        return np.where(inside, answer, original(argument, item, entries))

    patch.setattr(lut, "_one", one)


@mutation("lut-slopes", "the last entry is kept", "the slope is not shifted")
def beyond(patch, place: int) -> None:
    original = lut._one

    def one(argument, item, entries):
        change = [(scale * place, 0) for scale, _ in (item.underflow, item.overflow)]
        return original(argument, replace(item, underflow=change[0], overflow=change[1]), entries)

    patch.setattr(lut, "_one", one)
