"""Make networks of docs/networks.md that nobody publishes as INT8 files, with random weights: ``.tflite`` in a folder.

    python benchmarks/make_networks.py FOLDER [NAME ...]

Runs in an environment of its own with ``pip install tensorflow-cpu``; the project does not need it. The batch is left
open, as Keras models have it, and the range of each tensor is taken from two random pictures.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

import numpy as np
import tensorflow as tf

keras = tf.keras
layers = keras.layers


def efficientnet_b0() -> Any:
    return keras.applications.EfficientNetB0(weights=None)


def mobilenet_v3_small() -> Any:
    return keras.applications.MobileNetV3Small((224, 224, 3), weights=None)


def mobilenet_v3_large() -> Any:
    return keras.applications.MobileNetV3Large((224, 224, 3), weights=None)


def conv(x: Any, channels: int, kernel: int = 1, stride: int = 1, act: str = "relu6") -> Any:
    """Write a convolution, its normalisation and an activation."""
    x = layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False)(x)
    return layers.Activation(act)(layers.BatchNormalization()(x))


def ssd_mobilenet_v1() -> Any:
    """SSD of 91 classes on MobileNetV1, 300x300, up to its boxes and scores: what follows sorts on the CPU."""
    given = layers.Input((300, 300, 3))
    x = conv(given, 32, 3, 2)
    ends = []
    for channels, stride in (
        *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
        *((512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
    ):
        if stride == 2 and channels == 1024:
            ends.append(x)
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.Activation("relu6")(layers.BatchNormalization()(x))
        x = conv(x, channels)
    ends.append(x)
    for channels in (512, 256, 256, 128):
        x = conv(conv(x, channels // 2), channels, 3, 2)
        ends.append(x)
    boxes, scores = [], []
    for place, end in enumerate(ends):
        anchors = 3 if place == 0 else 6
        boxes.append(layers.Reshape((-1, 4))(layers.Conv2D(4 * anchors, 1)(end)))
        scores.append(layers.Reshape((-1, 91))(layers.Conv2D(91 * anchors, 1)(end)))
    scored = layers.Activation("sigmoid")(layers.Concatenate(axis=1)(scores))
    return keras.Model(given, [layers.Concatenate(axis=1)(boxes), scored])


def yolov5n() -> Any:
    """YOLOv5n, 320x320, with the sigmoid of its three heads."""
    given = layers.Input((320, 320, 3))

    def block(x: Any, channels: int, count: int, *, shortcut: bool = True) -> Any:
        one, other = conv(x, channels // 2, act="silu"), conv(x, channels // 2, act="silu")
        for _ in range(count):
            y = conv(conv(one, channels // 2, act="silu"), channels // 2, 3, act="silu")
            one = layers.Add()([one, y]) if shortcut else y
        return conv(layers.Concatenate()([one, other]), channels, act="silu")

    x = block(conv(conv(given, 16, 6, 2, "silu"), 32, 3, 2, "silu"), 32, 1)
    small = block(conv(x, 64, 3, 2, "silu"), 64, 2)
    middle = block(conv(small, 128, 3, 2, "silu"), 128, 3)
    large = block(conv(middle, 256, 3, 2, "silu"), 256, 1)
    pooled = [conv(large, 128, act="silu")]
    for _ in range(3):
        pooled.append(layers.MaxPool2D(5, 1, "same")(pooled[-1]))
    top = conv(conv(layers.Concatenate()(pooled), 256, act="silu"), 128, act="silu")
    x = block(layers.Concatenate()([layers.UpSampling2D(2)(top), middle]), 128, 1, shortcut=False)
    neck = conv(x, 64, act="silu")
    first = block(layers.Concatenate()([layers.UpSampling2D(2)(neck), small]), 64, 1, shortcut=False)
    x = layers.Concatenate()([conv(first, 64, 3, 2, "silu"), neck])
    second = block(x, 128, 1, shortcut=False)
    third = block(layers.Concatenate()([conv(second, 128, 3, 2, "silu"), top]), 256, 1, shortcut=False)
    heads = [layers.Conv2D(255, 1)(level) for level in (first, second, third)]
    ends = [layers.Activation("sigmoid")(layers.Reshape((-1, 85))(head)) for head in heads]
    return keras.Model(given, layers.Concatenate(axis=1)(ends))


NETWORKS: dict[str, Callable[[], Any]] = {
    "efficientnet_b0": efficientnet_b0,
    "mobilenet_v3_small": mobilenet_v3_small,
    "mobilenet_v3_large": mobilenet_v3_large,
    "ssd_mobilenet_v1": ssd_mobilenet_v1,
    "yolov5n": yolov5n,
}


def quantised(network: Any) -> bytes:
    """Give a network the batch statistics of random pictures, and convert it to INT8, at its borders too."""
    shape = network.input_shape[1:]
    brightest = 255 if any("rescaling" in layer.name for layer in network.layers) else 1

    def pictures() -> Iterator[list[Any]]:
        random = np.random.default_rng(0)
        for _ in range(2):
            yield [random.uniform(0, brightest, (1, *shape)).astype(np.float32)]

    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    network(np.random.default_rng(1).uniform(0, brightest, (4, *shape)).astype(np.float32), training=True)

    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = pictures
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    chosen = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for name in chosen.names or NETWORKS:
        start = time.perf_counter()
        tf.random.set_seed(0)
        data = quantised(NETWORKS[name]())
        (chosen.folder / f"{name}.tflite").write_bytes(data)
        print(f"{name}: {len(data)} bytes in {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
