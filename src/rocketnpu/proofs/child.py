"""One trial in a process of its own: ``python -m rocketnpu.proofs.child DEVICE CHIP KEY FILE``.

The output goes to FILE; what goes wrong is told on stderr. The exit status says which: 0 it ran, 3 a job did not end,
4 the device refused.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from rocketnpu.errors import DeviceTimeoutError, RocketError
from rocketnpu.proofs.trial import Outcome, Result, Trial, judge

ENDED, NEVER_ENDED, REFUSED = 0, 3, 4
LIMIT = 30.0
"""Seconds for a child, its start included; a job that a driver gives up takes half a second."""
_DYING = 5.0
"""Seconds that a killed child may take; one that the kernel holds never ends."""


def execute_in_child(trial: Trial, device: str, chip: str, limit: float = LIMIT) -> Outcome:
    """Run a trial in a child process under a time limit, and judge what comes back."""
    with tempfile.TemporaryDirectory(prefix="rocketnpu-trial-") as folder:
        output = Path(folder) / "output"
        command = [sys.executable, "-m", "rocketnpu.proofs.child", device, chip, trial.key, str(output)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
            try:
                _, told = child.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                child.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.communicate(timeout=_DYING)
                about = f"nothing came back within {limit:g} s"
                return Outcome(trial.rule, trial.name, Result.HANGS, about=about)
            except BaseException:
                child.kill()
                raise
        about = told.decode(errors="replace").strip()[-500:]
        if child.returncode == ENDED and output.is_file():
            return judge(trial, output.read_bytes())
    if child.returncode == NEVER_ENDED:
        return Outcome(trial.rule, trial.name, Result.HANGS, about=about)
    return Outcome(trial.rule, trial.name, Result.NOT_RUN, about=about or f"the child ended with {child.returncode}")


def main(arguments: list[str]) -> int:
    """Run one trial; see the module's text."""
    from rocketnpu.device.discover import open_device
    from rocketnpu.family import family_of
    from rocketnpu.proofs.run import run_trial

    device, chip, key, output = arguments
    (trial,) = (trial for trial in family_of(chip).trials() if trial.key == key)
    try:
        with open_device(device, chip=chip) as opened:
            found = run_trial(opened, trial)
    except DeviceTimeoutError as error:
        print(error, file=sys.stderr)
        return NEVER_ENDED
    except RocketError as error:
        print(error, file=sys.stderr)
        return REFUSED
    Path(output).write_bytes(found)
    return ENDED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
