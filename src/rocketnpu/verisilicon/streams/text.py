"""Commands and instructions as text, a word or a command a line, and back.

The forms, each of which reads back to the same words::

    NOP 8                                             # words of zero
    LOAD_STATE PS_NN_INST_ADDR ADDRESS_64=67108352    # one state that is known, by its fields
    LOAD_STATE 0x1234 0x1 0x2                         # any others, by address and values
    PAD 0x1                                           # the word behind it that makes its length even, if not zero
    WORD 0x00000001                                   # what begins no known command
    WORD0 KERNEL_X=3 KERNEL_Z=16                      # a word of an instruction; words of zero are left out
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from rocketnpu.errors import CommandError, RegisterFieldError
from rocketnpu.fields import RESERVED, Register
from rocketnpu.verisilicon.registers.commands import LoadState, Nothing, load_state, read_commands
from rocketnpu.verisilicon.registers.instruction import WORD, Layout, Words
from rocketnpu.verisilicon.registers.jobs import UNITS, started
from rocketnpu.verisilicon.registers.states import STATES, state


def stream_lines(stream: Words) -> Iterator[tuple[int, str]]:
    """Return the lines of a stream, each with the index of its first word."""
    zeros = first = 0
    words = stream.tolist()
    for command in read_commands(stream):
        if isinstance(command, Nothing):
            first = first if zeros else command.word
            zeros += 1
            continue
        if zeros:
            yield first, f"NOP {zeros}"
            zeros = 0
        if isinstance(command, LoadState):
            yield command.word, f"LOAD_STATE {_values(command)}"
            if command.padding:
                yield command.word, f"PAD 0x{command.padding:x}"
        else:
            yield from ((place, f"WORD 0x{words[place]:08x}") for place in range(command.word, len(words)))
    if zeros:
        yield first, f"NOP {zeros}"


def _values(command: LoadState) -> str:
    known = state(command.offset)
    if known is None or len(command.values) != 1:
        return " ".join(f"0x{value:x}" for value in (command.offset, *command.values))
    return " ".join((known.name, *_assigned(known, command.values[0], whole=True)))


def _assigned(register: Register, word: int, *, whole: bool = False) -> Iterator[str]:
    """Return ``FIELD=VALUE`` of all fields that are not 0; of the only field whatever its value, if ``whole``."""
    fields = register.decode(word)
    for name, value in fields.items():
        if value or (whole and len(fields) == 1):
            yield f"{name}=0x{value:x}" if name == RESERVED or value > 0xFFFF else f"{name}={value}"


def parse_stream(lines: Iterable[str]) -> Words:
    """Read the lines of a stream back to its words.

    Raises:
        CommandError: a line cannot be read.
        RegisterFieldError: a value does not fit its field.
    """
    found: list[int] = []
    for line in lines:
        head, *rest = line.split()
        if head == "NOP" and len(rest) == 1:
            found += [0] * number(rest[0], line)
        elif head == "WORD" and len(rest) == 1:
            found.append(_word(rest[0], line))
        elif head == "PAD" and len(rest) == 1 and found:
            found[-1] = _word(rest[0], line)
        elif head == "LOAD_STATE" and rest:
            found += _load_state(rest, line)
        else:
            raise CommandError(f"no command: {line.strip()!r}")
    return np.array(found, "<u4")


def _load_state(rest: list[str], line: str) -> list[int]:
    if rest[0] in STATES.registers:
        register = STATES[rest[0]]
        return load_state(register.offset, (register.encode(_fields(rest[1:], line)),))
    offset, *values = (_word(item, line) for item in rest)
    return load_state(offset, tuple(values))


def instruction_lines(words: Words, layout: Layout) -> Iterator[str]:
    """Return the lines of an instruction; words of zero are left out."""
    for register, word in zip(layout.registers(), words.tolist(), strict=True):
        if word:
            yield " ".join((register.name, *_assigned(register, word)))


def task_lines(stream: Words, fetch: Callable[[int, int], bytes | None] | None) -> Iterator[str]:
    """Return the lines of a stream, and behind them those of each instruction that it starts and ``fetch`` can read."""
    yield from (line for _, line in stream_lines(stream))
    if fetch is None:
        return
    for start in started(stream):
        layout = UNITS[start.unit]
        data = fetch(start.address, layout.size * WORD)
        yield f"{start.unit} at 0x{start.address:x}{'' if data is not None else ': in no buffer'}"
        if data is not None:
            yield from instruction_lines(np.frombuffer(data, "<u4"), layout)


def parse_instruction(lines: Iterable[str], layout: Layout) -> Words:
    """Read the lines of an instruction back to its words.

    Raises:
        CommandError: a line cannot be read.
        RegisterFieldError: a value does not fit its field.
    """
    known = {register.name: place for place, register in enumerate(layout.registers())}
    found = np.zeros(layout.size, "<u4")
    for line in lines:
        head, *rest = line.split()
        if head not in known:
            raise CommandError(f"an {layout.name} instruction has no {head!r}")
        found[known[head]] = layout.block[head].encode(_fields(rest, line))
    return found


def _fields(items: Iterable[str], line: str) -> dict[str, int]:
    found = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not sign:
            raise CommandError(f"expected FIELD=VALUE, found {item!r} in {line.strip()!r}")
        found[name] = number(value, line)
    return found


def number(text: str, line: str) -> int:
    """Read a number in any of Python's forms.

    Raises:
        CommandError: it is none, or more than any stream could hold.
    """
    try:
        found = int(text, 0)
    except ValueError:
        raise CommandError(f"{text!r} is not a number in {line.strip()!r}") from None
    if abs(found) >> 32:
        raise CommandError(f"{text!r} does not fit 32 bits in {line.strip()!r}")
    return found


def _word(text: str, line: str) -> int:
    found = number(text, line)
    if found < 0:
        raise CommandError(f"{text!r} is negative in {line.strip()!r}")
    return found


def located(error: CommandError | RegisterFieldError, line: int) -> CommandError:
    """Return an error with the number of its line."""
    return CommandError(f"line {line}: {error}")
