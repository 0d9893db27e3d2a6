"""Recordings: where they are, what is known about each, and how to replay one."""

import os
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from sim_model import Window, convolve, half_even_fast, requantise

from rocketnpu.rockchip.registers.command import decode
from rocketnpu.rockchip.simulator import Memory, Npu
from rocketnpu.rockchip.streams.recording import load

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGED = CHECKOUT / "tests" / "data" / "golden"

SOUND = (
    "conv1x1_u8_14x14x64_128",
    "conv1x1_u8_fc_shape_1x1x64_100",
    "conv3x3_u8_112x112x32_32_split",
    "conv3x3_u8_56x56x128_256_split",
    "conv3x3_u8_oc1",
    "conv3x3_u8_same_16x16x16_32",
    "conv3x3_u8_same_zp0_relu",
    "conv5x5_u8_same_16x16x3_24",
    "dwconv3x3_u8_s2_17x17x64",
    "dwconv3x3_u8_valid_16x16x96",
    "edge_conv1x1_u8_ic24",
    "edge_conv1x1_u8_ic56",
    "edge_conv1x1_u8_ic72",
    "edge_conv3x3_u8_ic24",
    "edge_conv3x3_u8_ic56",
    "edge_conv3x3_u8_ic72",
    "edge_dwconv3x3_u8_c24",
    "edge_dwconv3x3_u8_c56",
    "edge_dwconv3x3_u8_c72",
    "mobilenet_v1_0.25_128",
    "mobilenet_v1_1.0_224_embedding",
    "split_conv1x1_u8_112x112x16_96",
    "split_conv3x3_u8_s2_113x113x64_64",
    "trunc_conv3x3_u8",
)
"""Streams without a defect: within 1 of LiteRT, and equal to the integer model."""

SHORT_ROWS = (
    "conv1x1_u8_oc33",
    "edge_conv1x1_u8_ic33",
    "edge_conv3x3_u8_ic33",
    "split_conv5x5_u8_96x96x48_40",
)
"""Three slots are left over per pixel, and DATA_ENTRIES ignores it: wrong on silicon (spec 3.3)."""

ADDITIONS = ("conv_conv_add_u8", "resid_conv_plus_input_u8")
"""The convolution's own saturation is skipped, and borders are padded with -128 whatever the zero point (spec 5.3,
5.6): far from LiteRT, but equal to the integer model of what is programmed."""

WRONG = {
    "conv3x3_u8_rect_12x20x16_16": "width and height are swapped",
    "dwconv3x3_i8_pertensor": "int8 tensors are packed as if they were uint8",
    "dwconv3x3_u8_mult2": "a depth multiplier reads weights with the wrong row length",
    "edge_dwconv3x3_u8_c33": "padding lanes of the weights are missing, and DATA_ENTRIES is wrong",
}
"""Streams with other defects: the output must be far from LiteRT's."""

DROPPED_ACTIVATION = "tanh_fused_u8"
"""A fused TANH is ignored, as LiteRT's reference kernel of the convolution ignores it."""


def shared_folder():
    named = os.environ.get("ROCKETNPU_SHARED")
    places = [Path(named)] if named else [CHECKOUT.parent / "shared", CHECKOUT / "shared"]
    return next((place for place in places if place.is_dir()), None)


def locate(name, folder="mesa"):
    """The recording's path: from the shared folder, else the packaged copy, else None."""
    shared = shared_folder()
    places = [shared / "golden" / folder] if shared else []
    return next((p / f"{name}.zip" for p in [*places, PACKAGED] if (p / f"{name}.zip").is_file()), None)


class Replay:
    """A recording's first submission on simulated memory. Later ones depend on what a CPU did in between."""

    def __init__(self, path, strict):
        self.recording = load(path)
        self.submission = self.recording.submissions[0]
        self.memory = Memory()
        self.arrays = {}
        for buffer in self.submission.buffers:
            self.arrays[buffer.handle] = buffer.content()
            self.memory.map(buffer.address, self.arrays[buffer.handle])
        self.npu = Npu(self.memory, strict=strict)
        self.reports = []

    def run(self, jobs=None):
        for job in self.submission.jobs if jobs is None else jobs:
            for task in job.tasks:
                self.reports.append(self.npu.run_task(task.address, task.words, task=len(self.reports)))

    def registers(self, job):
        """Fields of a job's first task, by register."""
        task = job.tasks[0]
        words = self.memory.view(task.address, (task.words,), unit="PC", register="", dtype="<u8")
        decoded = [decode(int(word)) for word in words]
        return {f"{item.register.block}.{item.register.name}": item.fields for item in decoded if item.register}

    def output(self):
        """The graph's output as [H, W, C] uint8."""
        handle = self.submission.jobs[-1].writes[-1]
        return unpack(self.arrays[handle], self.recording.outputs[0].shape)

    def reference(self):
        return self.recording.reference[self.recording.outputs[0].index]


def unpack(memory, shape):
    _, height, width, channels = shape
    surfaces = -(-channels // 16)
    cube = memory[: surfaces * height * width * 16].reshape(surfaces, height, width, 16)
    return cube.transpose(1, 2, 0, 3).reshape(height, width, -1)[..., :channels] ^ 0x80


def pack(tensor, size):
    _, height, width, channels = tensor.shape
    surfaces = -(-channels // 16)
    padded = np.zeros((height, width, surfaces * 16), np.uint8)
    padded[..., :channels] = tensor[0] ^ 0x80
    image = np.zeros(size, np.uint8)
    image[: padded.size] = padded.reshape(height, width, surfaces, 16).transpose(2, 0, 1, 3).reshape(-1)
    return image


def distance(got, reference):
    return np.abs(got.astype(int) - reference.reshape(got.shape).astype(int))


class Model:
    """The recorded model's constants, through LiteRT."""

    def __init__(self, path):
        resolver = OpResolverType.BUILTIN_REF
        self._interpreter = Interpreter(str(path.with_suffix(".tflite")), experimental_op_resolver_type=resolver)
        self.details = {item["index"]: item for item in self._interpreter.get_tensor_details()}

    def constant(self, index):
        return self._interpreter.get_tensor(index).astype(np.int64)

    def zero_point(self, index):
        return self.details[index]["quantization"][1]


def expected(model, operation, registers, reference, total_height):
    """An operation's int8 output [H, W, C] by the integer model (spec 5).

    Weights and zero points come from the model; multipliers, shifts and padding from the stream.
    """
    data, weight, bias = operation.inputs[:3]
    x = reference[data][0].astype(np.int64) - 128
    weights, biases = model.constant(weight), model.constant(bias)
    net = weights - model.zero_point(weight)
    depthwise = registers["CNA.CONV_CON1"]["CONV_MODE"] == 3
    truncate = registers["CORE.CLIP_TRUNCATE"]["CLIP_TRUNCATE"]
    moved = (net * (model.zero_point(data) - 128)).sum(axis=(0, 1, 2) if depthwise else (1, 2, 3))
    stored = np.trunc((biases - moved) / (1 << truncate)).astype(np.int64)
    control, out = registers["CNA.CONV_CON3"], registers["CNA.DATA_SIZE2"]["DATAOUT_WIDTH"]
    pads = registers["CNA.PAD_CON0"]
    window = Window(
        (control["CONV_Y_STRIDE"], control["CONV_X_STRIDE"]), (pads["PAD_TOP"], pads["PAD_LEFT"]), (total_height, out)
    )
    low, high = (np.int64(registers["CNA.PAD_CON1"]["PAD_VALUE"] >> place & 0xFF).astype(np.int8) for place in (0, 8))
    lanes = np.where(np.arange(x.shape[2]) % 2 == 0, low, high if depthwise else low)
    sums = convolve(x, net[0] if depthwise else net, window, lanes, depthwise)
    total = half_even_fast(sums, truncate) + stored
    if not registers["DPU.EW_CFG"]["EW_BYPASS"]:
        # The added tensor is the convolution's own input in the recordings at hand.
        scaled = (x + registers["DPU.EW_CVT_OFFSET_VALUE"]["EW_OP_CVT_OFFSET"]) * registers["DPU.EW_CVT_SCALE_VALUE"][
            "EW_OP_CVT_SCALE"
        ]
        total = total + half_even_fast(scaled, registers["DPU.EW_CVT_SCALE_VALUE"]["EW_OP_CVT_SHIFT"])
    return requantise(
        total,
        registers["DPU.OUT_CVT_SCALE"]["OUT_CVT_SCALE"],
        registers["DPU.OUT_CVT_SHIFT"]["OUT_CVT_SHIFT"],
        registers["DPU.OUT_CVT_OFFSET"]["OUT_CVT_OFFSET"],
    )
