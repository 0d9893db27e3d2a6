"""How much is read of anything that comes from outside. Whatever is larger is refused with a sentence."""

from __future__ import annotations

MODEL_BYTES = (1 << 31) - 1
"""What a flatbuffer's offsets reach; the weights of larger models lie outside it, which is not read."""
PROGRAM_BYTES = 1 << 30
"""More than any program of such a model: a chip's address space has four times as much."""
PROGRAM_MEMORY = 1 << 30
"""All buffers of a program together."""
PROGRAM_HEADER_BYTES = 64 << 20
RECORDING_BYTES = 256 << 20
"""All files of a recording together, unpacked, and its reference tensors likewise."""
RECORDING_FILES = 10_000
COMMAND_BYTES = 64 << 20
"""A raw file of command words, or their text."""
JSON_BYTES = 64 << 20
JSON_DEPTH = 64
"""Lists and objects inside one another."""
PICTURE_BYTES = 256 << 20
PICTURE_PIXELS = 1 << 26
"""Width times height of a picture, as its file states it: 200 MB once decoded."""
PICTURE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats by Pillow's names that are decoded by well-kept code; none of them starts another program."""
LABELS_BYTES = 4 << 20
LABEL_DIGITS = 9
"""Digits of a label's number."""
DOWNLOAD_SECONDS = 1800.0
"""All of one transfer, however steadily it drips."""
OPERATORS = 1 << 16
"""Operators of a model."""
