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
COMMAND_BYTES = 16 << 20
"""A raw file of command words."""
COMMAND_TEXT_BYTES = 4 * COMMAND_BYTES
"""Their text."""
COMMAND_WORDS = COMMAND_BYTES // 8
"""Words of all command lists of a recording, or of a program that is printed: lists may lie over each other in memory
that no file fills, and a word is a line of text. Large networks have 300,000."""
STREAM_WORDS = (128 << 10) // 4
"""Of a submission to a VeriSilicon chip; its kernel driver takes no more."""
JSON_BYTES = 64 << 20
JSON_DEPTH = 64
"""Lists and objects inside one another."""
PICTURE_BYTES = 256 << 20
PICTURE_PIXELS = 1 << 26
"""Width times height of a picture, as its file states it: 200 MB once decoded."""
PICTURE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats by Pillow's names that are decoded by well-kept code; none of them starts another program."""
VIDEO_PIXELS = 1 << 25
"""Width times height of a video's frames, of which several are held at a time: those of 8K have 33 million."""
VIDEO_FORMATS = (
    *("asf", "avi", "flv", "gif", "h264", "hevc", "ivf", "m4v", "matroska", "mjpeg", "mov", "mpeg", "mpegts"),
    *("mpegvideo", "mxf", "obu", "ogg", "wtv", "bmp_pipe", "jpeg_pipe", "png_pipe", "webp_pipe"),
)
"""Formats by FFmpeg's names. Lists of other files and addresses (hls, concat, dash, ...) are none of them, nor is what
makes pictures of any text."""
LABELS_BYTES = 4 << 20
LABEL_DIGITS = 9
"""Digits of a label's number."""
RECORD_BYTES = 4 << 20
"""What a board answered: its record, journal or report."""
SYSTEM_BYTES = 1 << 20
"""A text of the system's: a kernel's configuration, a list of archives, a file of the device tree."""
DOWNLOAD_SECONDS = 1800.0
"""All of one transfer, however steadily it drips."""
OPERATORS = 1 << 16
"""Operators of a model."""
