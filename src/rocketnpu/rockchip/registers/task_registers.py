"""The registers that one command list sets, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rocketnpu.errors import CommandError
from rocketnpu.rockchip.registers.command import Decoded, decode, enabled_units
from rocketnpu.rockchip.registers.rk3588 import TARGET_ENABLE, register


class TaskRegisters:
    """Register values after a command list, as its units find them; a register that it does not write reads 0.

    ``registers["CNA.CONV_CON3.CONV_X_STRIDE"]`` is a field, ``registers.raw("CNA.CONV_CON3")`` all 32 bits.
    """

    def __init__(self, words: Iterable[int]) -> None:
        self.enable = 0
        self._values: dict[str, int] = {}
        for word in words:
            found = decode(int(word))
            if found.register is not None:
                self._values[_path(found)] = found.value
            if found.target == TARGET_ENABLE:
                self.enable = found.value
                break

    @property
    def units(self) -> tuple[str, ...]:
        """Units that the list starts."""
        return enabled_units(self.enable)

    @property
    def values(self) -> Mapping[str, int]:
        """Every register that was written, with its 32 bits."""
        return self._values

    def raw(self, path: str) -> int:
        """Return a register's 32 bits."""
        return self._values.get(path, 0)

    def __getitem__(self, path: str) -> int:
        """Return a field, given as ``UNIT.REGISTER.FIELD``.

        Raises:
            CommandError: there is no such field.
        """
        name, _, field = path.rpartition(".")
        spec = register(name).fields.get(field)
        if spec is None:
            raise CommandError(f"{name} has no field {field!r}")
        return spec.extract(self.raw(name))


def _path(found: Decoded) -> str:
    assert found.register is not None
    return f"{found.register.block}.{found.register.name}"
