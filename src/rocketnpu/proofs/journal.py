"""What a run of trials has done so far, on disk before each step: a board may hang, and the next call goes on behind.

One line of JSON a step: the board, then for each trial that it starts, and what came out. A trial that started and has
no outcome is the one during which the machine stopped.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rocketnpu.errors import DeviceError, InputError
from rocketnpu.files.limits import RECORD_BYTES
from rocketnpu.files.reading import read_text
from rocketnpu.folders import make_private
from rocketnpu.proofs.identity import Identity
from rocketnpu.proofs.trial import Outcome, Result, Trial

INTERRUPTED = "the machine or the program stopped while it ran"


@dataclass
class Journal:
    """A journal that is being written. Not thread safe."""

    path: Path
    done: dict[str, Outcome] = field(default_factory=dict)
    """Outcomes of trials, by their key, that an earlier call of the same run left."""

    @classmethod
    def open(cls, path: Path, identity: Identity | None) -> Journal:
        """Go on with the run that a journal tells of, or begin one.

        Raises:
            DeviceError: the file cannot be written.
        """
        journal = cls(path, _read(path, identity))
        try:
            make_private(path.parent)
        except (OSError, InputError) as error:
            raise DeviceError(f"cannot make {path.parent}: {getattr(error, 'strerror', None) or error}") from None
        if not journal.done:
            path.unlink(missing_ok=True)
            journal._write({"board": None if identity is None else identity.document})
        for outcome in journal.done.values():
            if outcome.about == INTERRUPTED:
                journal.end(outcome)
        return journal

    def begin(self, trial: Trial) -> None:
        """Say that a trial is about to run; on disk when this returns."""
        self._write({"begin": trial.key, "rule": trial.rule, "trial": trial.name})

    def end(self, outcome: Outcome) -> None:
        """Say what came out of the trial that began last; on disk when this returns."""
        self._write(
            {
                "end": f"{outcome.rule}: {outcome.trial}",
                "rule": outcome.rule,
                "trial": outcome.trial,
                "result": outcome.result.value,
                "fits": outcome.fits,
                "about": outcome.about,
            }
        )

    def finish(self) -> None:
        """End the run: the next call begins a new one."""
        self.path.unlink(missing_ok=True)

    def _write(self, step: dict[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(step) + "\n")
                file.flush()
                os.fsync(file.fileno())
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise DeviceError(f"cannot write the journal {self.path}: {error.strerror or error}") from None


def _read(path: Path, identity: Identity | None) -> dict[str, Outcome]:
    """Return what a journal of the same board tells; nothing where there is none, or it cannot be understood."""
    try:
        lines = read_text(path, RECORD_BYTES).splitlines()
        steps = [json.loads(line) for line in lines if line.endswith("}")]
        if steps[0]["board"] != (None if identity is None else identity.document):
            return {}
        done: dict[str, Outcome] = {}
        for step in steps[1:]:
            key = step.get("end") or step["begin"]
            parts = (step["rule"], step["trial"])
            done[key] = Outcome(*parts, Result.HANGS, about=INTERRUPTED)
            if "end" in step:
                done[key] = Outcome(*parts, Result(step["result"]), step["fits"], step["about"])
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return {}
    return done
