"""Text from outside (names in a model, a file's own words) on its way to a terminal."""

from __future__ import annotations

import sys
import unicodedata

_HARMLESS = "\n\t"
_TURNS = ("\u061c", "\u200e", "\u200f", *(chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
"""Characters that change the direction of what follows."""


def printable(text: str) -> str:
    r"""Return the text with every character that could steer a terminal, or hide what stands there, written out.

    Line ends and tabs stay. Control characters, escape sequences' beginnings, changes of direction, lone surrogates and
    unassigned code points become ``\x1b``, ``\u202e`` and the like.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if _is_harmless(letter) else _written_out(letter) for letter in text)


def printable_line(text: str) -> str:
    """Return the text as one line, printable: whoever chose a name does not write another line with it."""
    return printable(" ".join(text.splitlines()))


def shows_progress() -> bool:
    """Say whether somebody looks on: whether stderr is a terminal, and not closed by who called."""
    return sys.stderr is not None and sys.stderr.isatty()


def _is_harmless(letter: str) -> bool:
    if letter in _HARMLESS:
        return True
    return letter not in _TURNS and unicodedata.category(letter) not in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")


def _written_out(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
