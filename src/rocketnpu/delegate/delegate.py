"""The delegate as Python programs use it."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Self

from rocketnpu.closing import Closing
from rocketnpu.delegate import callbacks
from rocketnpu.delegate.log import say
from rocketnpu.delegate.options import Options, parse
from rocketnpu.delegate.session import Session
from rocketnpu.device.base import Device
from rocketnpu.device.discover import open_device, target_of
from rocketnpu.errors import InputError
from rocketnpu.folders import check_private
from rocketnpu.program.cache import default_folder


class Delegate(Closing):
    """Runs the supported parts of a TensorFlow Lite network on the NPU; the host runs the rest.

    Usable wherever LiteRT takes a delegate that ``load_delegate`` returned. Options are those of
    :mod:`rocketnpu.delegate.options`, as strings or as Python values. One delegate may serve several interpreters, one
    after another or from several threads; it must outlive them, which LiteRT in Python sees to.
    """

    def __init__(self, **options: object) -> None:
        """Open the device.

        Raises:
            InputError: an option or a value is unknown.
            DeviceError: the device is not there, or refuses.
        """
        parsed = parse(options)
        device = open_device(parsed.device, cores=parsed.cores, chip=parsed.chip)
        if parsed.device == "auto" and target_of(device) == "simulator":
            say("there is no NPU here (`rocketnpu doctor` says why): running on the simulator")
        self._start(parsed, device)

    @classmethod
    def on(cls, device: Device, **options: object) -> Self:
        """Make a delegate for a device that is open already; the delegate closes it at its end.

        Raises:
            InputError: an option or a value is unknown.
        """
        self = cls.__new__(cls)
        self._start(parse(options), device)
        return self

    def _start(self, options: Options, device: Device) -> None:
        self.device_name, self.chip = device.name, device.chip
        session = Session(options, device, cache_folder(options))
        session.log.detail(f"loaded {device.name} driver")
        number, self._address = callbacks.register(session)
        self._end = weakref.finalize(self, callbacks.unregister, number)
        self._end.atexit = False

    def _get_native_delegate_pointer(self) -> int:
        """Return the address of the native structure; LiteRT's interpreter asks for it by this name."""
        return self._address

    def close(self) -> None:
        """Free the device. Interpreters that still use the delegate fail from now on. Closing twice is allowed."""
        self._end()


def cache_folder(options: Options) -> Path | None:
    """Return the folder in which compiled programs are kept, or None where they are not.

    A folder that is not the user's alone is not used, and said so; nor is one where there is no place for any.
    """
    if options.cache == "off":
        return None
    try:
        folder = default_folder() if options.cache == "on" else Path(options.cache).expanduser()
        check_private(folder)
    except InputError as error:
        say(f"compiled programs are not kept: {error}")
        return None
    return folder
