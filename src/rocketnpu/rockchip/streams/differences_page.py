"""The classes of differences as a page: ``docs/hardware/differences.md``."""

from __future__ import annotations

from collections.abc import Iterator

from rocketnpu.rockchip.streams.stream_differences import CLASSES, DifferenceClass

_HEAD = """# Where our command streams differ from the open driver's, and why

<!-- Printed by `rocketnpu evidence --page differences`; edit its classes instead. -->

The comparison takes recordings of Mesa's driver for the RK3588 (`mesa-teflon-delegate` 26.2.6), compiles the same
operators, and compares every register, every address and every byte of packed weights and biases. A difference must
belong to one of these classes, and its numbers must be those that the class leads to; anything else fails the tests.
"Shown by" names a recording in which the class occurs. Sources are sections of the project's hardware documents."""


def differences_page() -> str:
    """Return the page as Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    for one in CLASSES:
        yield from ("", f"## {one.name}", "", one.reason, "")
        yield f"* Registers: {_registers(one)}"
        yield f"* Evidence: {one.evidence}"
        yield f"* Shown by: {f'`{one.shown_by}`' if one.shown_by else 'no recording at hand'}"


def _registers(one: DifferenceClass) -> str:
    return ", ".join(f"`{name}`" if "." in name else name for name in one.registers)
