"""Ioctl numbers, and the DRM core's part of the kernel interface, which both NPU drivers share.

Source: ``include/uapi/asm-generic/ioctl.h`` and ``include/uapi/drm/drm.h`` of Linux, as the project's ``uapi.md``
restates them. All structures are little-endian with natural alignment: ``ctypes`` lays them out as the kernel does.
"""

from __future__ import annotations

import ctypes

WRITE, READ = 1, 2
"""Directions of an ioctl, as seen from the program."""
DRM_TYPE = ord("d")
DRM_COMMAND_BASE = 0x40
"""First number that belongs to the driver and not to the DRM core."""


def number(direction: int, nr: int, size: int, kind: int = DRM_TYPE) -> int:
    """Compose an ioctl number: direction 31:30, size 29:16, type 15:8, number 7:0."""
    return direction << 30 | size << 16 | kind << 8 | nr


class Version(ctypes.Structure):
    """DRM_IOCTL_VERSION: the driver's name, into a buffer of the caller."""

    _fields_ = (
        ("major", ctypes.c_int32),
        ("minor", ctypes.c_int32),
        ("patch", ctypes.c_int32),
        ("name_length", ctypes.c_uint64),
        ("name", ctypes.c_uint64),
        ("date_length", ctypes.c_uint64),
        ("date", ctypes.c_uint64),
        ("description_length", ctypes.c_uint64),
        ("description", ctypes.c_uint64),
    )


class GemClose(ctypes.Structure):
    """DRM_IOCTL_GEM_CLOSE: give a handle back."""

    _fields_ = (("handle", ctypes.c_uint32), ("pad", ctypes.c_uint32))


VERSION = number(READ | WRITE, 0x00, ctypes.sizeof(Version))
GEM_CLOSE = number(WRITE, 0x09, ctypes.sizeof(GemClose))
