"""Finding the device node of a driver by the name that the driver itself reports."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable, Iterable

from rocketnpu.device import uapi
from rocketnpu.device.calls import Calls
from rocketnpu.errors import DeviceError

_NAME_BYTES = 32


def driver_name(calls: Calls, fd: int) -> str:
    """Ask an open DRM node for its driver's name (DRM_IOCTL_VERSION).

    Raises:
        OSError: it is no DRM node, or it is gone.
    """
    text = ctypes.create_string_buffer(_NAME_BYTES)
    version = uapi.Version(name_length=_NAME_BYTES, name=ctypes.addressof(text))
    calls.ioctl(fd, uapi.VERSION, version)
    return text.raw[: min(version.name_length, _NAME_BYTES)].decode(errors="replace")


def find_node(
    calls: Calls, paths: Iterable[str], driver: str, refusal: Callable[[Calls, int], str] | None = None
) -> tuple[str, int]:
    """Open the first of ``paths`` whose driver has this name; return its path and descriptor.

    Args:
        calls: what stands for the kernel.
        paths: nodes to try, in this order.
        driver: the name that the driver must report.
        refusal: says of an open node why it is none that is looked for, in words that follow its path; empty if it is.

    Raises:
        DeviceError: none; the message tells apart a missing node, a foreign driver or chip, and a lack of permission.
    """
    seen = []
    for path in paths:
        try:
            fd = calls.open(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                seen.append(_refusal(path, error))
            continue
        try:
            found = driver_name(calls, fd)
            against = f"belongs to the driver {found!r}" if found != driver else ""
            if not against and refusal is not None:
                against = refusal(calls, fd)
        except OSError as error:
            calls.close(fd)
            seen.append(_refusal(path, error))
            continue
        if not against:
            return path, fd
        calls.close(fd)
        seen.append(f"{path} {against}")
    reason = "; ".join(seen) or "there is no such device node"
    raise DeviceError(f"no NPU with the driver {driver!r}: {reason}; `rocketnpu doctor` says what is missing")


def _refusal(path: str, error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f'no permission to open {path} (join the group that owns it, often "render")'
    return f"{path}: {error.strerror}"
