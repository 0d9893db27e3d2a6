import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

from rocketnpu import errors
from rocketnpu._version import __version__
from rocketnpu.cli import main

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "dwconv3x3_u8_mult2.tflite"
COMMAND = [sys.executable, "-m", "rocketnpu.cli.main"]


@pytest.fixture
def verb(monkeypatch):
    """Add the verb ``do``, which calls what the test gives it."""
    body = []
    module = type(sys)("verb_of_a_test")

    @click.command("do")
    def command():
        return body[0]()

    module.command = command
    monkeypatch.setitem(sys.modules, "verb_of_a_test", module)
    monkeypatch.setitem(main.VERBS, "do", main.Verb("verb_of_a_test:command", "Do it."))
    return body


def raiser(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.ModelError("model x is damaged"), "model x is damaged"),
        (errors.FetchError("first\n  second\r\nthird"), "first second third"),
        (errors.SimulationError("no", unit="PC", task=3), "task 3, PC: no"),
        (errors.RegisterFieldError("CNA", "CONV", "bank", 99, 4, False), "CNA.CONV.bank: value 99 does not fit"),
        (errors.DeviceTimeoutError(), "DeviceTimeoutError"),
    ],
)
def test_an_error_is_one_line_and_status_2(verb, capsys, error, text):
    verb.append(raiser(error))
    assert main.run(["do"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"rocketnpu: {text}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption_is_130(verb, capfd, error):
    verb.append(raiser(error))
    assert main.run(["do"]) == 130
    assert "Traceback" not in capfd.readouterr().err


def test_a_fault_of_ours_is_one_line_and_a_private_file(verb, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    verb.append(raiser(ZeroDivisionError("by\x1b[31m nothing")))
    assert main.run(["do"]) == 2
    (path,) = tmp_path.iterdir()
    said = "rocketnpu: internal fault, ZeroDivisionError: by\\x1b[31m nothing; please report it, with the details in"
    assert capsys.readouterr() == ("", f"{said} {path}\n")
    assert path.stat().st_mode & 0o777 == 0o600
    details = path.read_text()
    assert "arguments: ['do']" in details
    assert "Traceback" in details


def test_a_fault_is_told_where_no_file_can_be_written(verb, capsys, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    verb.append(raiser(KeyError("x")))
    assert main.run(["do"]) == 2
    assert capsys.readouterr().err == "rocketnpu: internal fault, KeyError: 'x'; please report it\n"


@pytest.mark.parametrize(("result", "status"), [(None, 0), (0, 0), (1, 1), ("text", 0)])
def test_a_verb_may_choose_its_status(verb, result, status):
    verb.append(lambda: result)
    assert main.run(["do"]) == status


@pytest.mark.parametrize(
    "arguments", [["no-such-verb"], ["--no-such-option"], ["models", "get"], ["models", "get", "a", "b"]]
)
def test_usage_errors_are_clicks(arguments, capsys):
    assert main.run(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("Usage: ")
    assert "Error: " in err


def test_version(capsys):
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"rocketnpu, version {__version__}\n"


def test_help_lists_every_verb(capsys):
    assert main.run(["--help"]) == 0
    out = capsys.readouterr().out
    for name, verb in main.VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.summary.split()[0])}", out, re.MULTILINE)


@pytest.mark.parametrize("name", main.VERBS)
def test_every_verb_exists_and_has_help(name, capsys):
    assert find_spec(main.VERBS[name].target.partition(":")[0]) is not None
    assert main.run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: rocketnpu {name} ")


def test_a_target_that_is_no_command_is_named():
    with pytest.raises(TypeError, match="json:dumps is not a click command"):
        main.Verb("json:dumps", "").load()


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from rocketnpu.cli.main import run; run(['--help'])\n"
        "heavy = {'numpy', 'rich', 'PIL', 'ai_edge_litert', 'flatbuffers', 'cffi', 'rocketnpu.cli.model.models'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: rocketnpu ")


SPILL = """
import sys, click
from rocketnpu.cli import main
module = type(sys)("spill")
module.command = click.command()(lambda: [click.echo("x" * 100) for line in range({lines})] and None)
sys.modules["spill"] = module
main.VERBS["spill"] = main.Verb("spill:command", "")
sys.argv = ["rocketnpu", "spill"]
main.main()
"""


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_leaves_is_no_matter(lines):
    reading, writing = os.pipe()
    os.close(reading)
    script = SPILL.format(lines=lines)
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_output_that_cannot_be_written_is_one_line(lines):
    script = SPILL.format(lines=lines)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (2, "rocketnpu: cannot write the output: No space left on device\n")


def shell(script, *arguments):
    return subprocess.run(["sh", "-c", script, "sh", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments", [["inspect", "-m", str(GOLDEN)], ["inspect", "-m", str(GOLDEN), "--json"], ["evidence"]]
)
def test_a_closed_stdout_is_one_line(arguments):
    done = shell('exec "$@" >&-', *COMMAND, *arguments)
    assert (done.returncode, done.stderr) == (2, "rocketnpu: cannot write the output: Bad file descriptor\n")


def test_a_verb_that_prints_nothing_needs_no_stdout(tmp_path):
    raw = tmp_path / "raw"
    (tmp_path / "text").write_text("")
    done = shell('exec "$@" >&-', *COMMAND, "disassemble", "--assemble", str(tmp_path / "text"), "-o", str(raw))
    assert (done.returncode, done.stderr) == (0, "")


def test_without_any_stream():
    done = shell('exec "$@" >&- 2>&-', *COMMAND, "evidence")
    assert (done.returncode, done.stderr) == (2, "")


def test_a_file_that_fails_is_named(verb, capsys):
    verb.append(raiser(PermissionError(13, "Permission denied", "a/b")))
    assert main.run(["do"]) == 2
    assert capsys.readouterr().err == "rocketnpu: a/b: Permission denied\n"


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "rocketnpu", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"rocketnpu, version {__version__}\n")


def test_control_c_on_a_real_process():
    script = SPILL.format(lines=1).replace(
        '[click.echo("x" * 100)', '[(print("on", flush=True), __import__("time").sleep(60))'
    )
    # A shell's background jobs, such as a whole test run, ignore the signal and hand that down.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    with subprocess.Popen(
        [sys.executable, "-c", heed + script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "on\n"
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.strip() == ""


def test_as_a_program():
    done = subprocess.run([*COMMAND, "models", "get", "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"rocketnpu: there is no model called 'nothing'; .*\n", done.stderr)
