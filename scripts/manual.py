"""Write the command line's manual pages and shell completions: ``python scripts/manual.py FOLDER``. Needs click-man."""

from __future__ import annotations

import sys
from pathlib import Path

from click.shell_completion import get_completion_class
from click_man.core import write_man_pages

from rocketnpu import __version__
from rocketnpu.cli.main import VERBS, rocketnpu

NAME = "rocketnpu"
COMPLETIONS = {"bash": NAME, "zsh": f"_{NAME}", "fish": f"{NAME}.fish"}
"""The files' names, by which each shell finds them."""


def main(folder: Path) -> None:
    """Write one page a verb, and one completion a shell."""
    folder.mkdir(parents=True, exist_ok=True)
    rocketnpu.short_help = "compiler, simulator and runtime for the NPU of the RK3588"
    for name, verb in VERBS.items():
        command = verb.load()
        command.short_help = verb.summary
        rocketnpu.add_command(command, name)
    write_man_pages(NAME, rocketnpu, version=__version__, target_dir=str(folder))
    for shell, name in COMPLETIONS.items():
        completion = get_completion_class(shell)
        if completion is None:
            raise SystemExit(f"click has no completion for {shell}")
        source = completion(rocketnpu, {}, NAME, f"_{NAME.upper()}_COMPLETE").source()
        (folder / name).write_text(source, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
