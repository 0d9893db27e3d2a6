"""The delegate as a shared library, in every kind of host."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import venv
from collections.abc import Callable
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest
from ai_edge_litert.interpreter import load_delegate
from delegate_bench import chain, noise, python, run, same

from rocketnpu.delegate import Delegate
from rocketnpu.delegate.build import build
from rocketnpu.errors import InputError
from rocketnpu.libpython import shared_python
from rocketnpu.model import tflite

EVERYTHING = {"minimum_macs": "0", "cache": "off"}
Compile = Callable[[str], Path]


def walk(program: Path, library: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the plain C host."""
    return subprocess.run(
        [program, library, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_published_models_give_the_same_bytes_as_in_process(library: Path, shared: Path) -> None:
    for path in sorted(shared.glob("models/*.tflite")):
        by_library = run(path, [load_delegate(str(library), {"cache": "off"})])
        assert same(by_library, run(path, [Delegate(cache="off")])), path.name


def test_litert_loads_it_with_and_without_options_in_any_thread(library: Path) -> None:
    model = chain("npu", "cpu", "npu")
    expected = run(model, [Delegate(**EVERYTHING)])
    cpu = run(model, [])
    found: list[bool] = []

    def work() -> None:
        found.append(same(run(model, [load_delegate(str(library), EVERYTHING)]), expected))
        found.append(same(run(model, [load_delegate(str(library))]), cpu))

    work()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


def test_a_host_that_does_not_look_is_told_when_it_applies_the_delegate(
    library: Path, host: Callable[[str], Path], tmp_path: Path
) -> None:
    """Where Python starts and refuses, and where it does not even start."""
    moved = tmp_path / "moved.so"
    moved.write_bytes(library.read_bytes().replace(b"rocketnpu/__init__.py", b"rocketnpu/__gone__.py"))
    for path, options, words in (
        (library, ("device", "tpu"), "option device: 'tpu' is unknown"),
        (library, ("device", "rocket"), "cannot create the delegate: "),
        (moved, (), "the package is missing"),
    ):
        done = subprocess.run([host("blind"), path, *options], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done
        assert re.fullmatch(f"reported: rocketnpu: .*{words}.*\nstatus 1\n", done.stdout), done
        assert words in done.stderr


def test_first_use_from_several_threads_at_once(library: Path) -> None:
    done = python(
        """
import sys, threading
from ai_edge_litert.interpreter import load_delegate
made = []
threads = [threading.Thread(target=lambda: made.append(load_delegate(sys.argv[1]))) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join(60) for thread in threads]
print(len(made))
""",
        library,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("8\n", "", 0)


def test_a_program_that_ends_without_cleaning_up_ends_quietly(library: Path) -> None:
    done = python(
        """
import sys
from ai_edge_litert.interpreter import Interpreter, load_delegate
from delegate_bench import chain
from rocketnpu.delegate import Delegate
options = {"minimum_macs": 0}
kept = [
    Interpreter(model_content=chain("npu"), experimental_delegates=[one])
    for one in (load_delegate(sys.argv[1], options), Delegate(**options))
]
[one.allocate_tensors() or one.invoke() for one in kept]
""",
        library,
    )
    assert "rocketnpu" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


def test_an_unknown_option_is_refused_on_stderr_and_to_the_host(
    library: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="unknown option 'speed'; valid options are device"):
        load_delegate(str(library), {"speed": "fast"})
    assert "rocketnpu: cannot create the delegate: unknown option 'speed'" in capfd.readouterr().err


def test_a_host_without_python(library: Path, host: Compile) -> None:
    program = host("walk")
    assert walk(program, library, "3", "device", "simulator").stdout.startswith("made 3, ")
    assert walk(program, library, "5", "--threads").stdout == "made 20\n"
    refused = walk(program, library, "1", "cores", "99")
    assert refused.stdout.startswith("host was told: cannot create the delegate: option cores: '99'")
    assert "rocketnpu: cannot create the delegate: option cores: '99'" in refused.stderr


def test_python_variables_that_point_nowhere_do_not_disturb_a_host_without_python(library: Path, host: Compile) -> None:
    done = walk(host("walk"), library, "2", PYTHONHOME="/nonexistent", PYTHONPATH="/nonexistent")
    assert done.stdout.startswith("made 2, ")


def test_create_and_destroy_keep_nothing(library: Path, host: Compile) -> None:
    done = walk(host("walk"), library, "100")
    grown = re.fullmatch(r"made 100, grew (-?\d+) KiB and (-?\d+) descriptors\n", done.stdout)
    assert grown, done
    assert int(grown[1]) < 2048
    assert int(grown[2]) == 0


def test_a_cpp_runtime_without_python_gives_the_same_bytes(
    mobilenet_v1: Path, library: Path, host: Compile, tmp_path: Path
) -> None:
    runtime = Path(str(ai_edge_litert.__path__[0]), "libLiteRt.so")
    if not runtime.exists():
        pytest.skip("this LiteRT has no libLiteRt.so")
    graph = tflite.load(mobilenet_v1)
    source, result = (graph.tensors[numbers[0]] for numbers in (graph.inputs, graph.outputs))
    uint8 = "3"
    types = [word for one in (source, result) for word in (uint8, str(len(one.shape)), *map(str, one.shape))]
    done = subprocess.run(
        [host("runtime"), runtime, library, mobilenet_v1, *types, "verbose", "yes"],
        input=noise(source.shape, np.uint8).tobytes(),
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert b"rocketnpu: invoked graph, took " in done.stderr
    assert done.returncode == 0
    [expected] = run(mobilenet_v1, [Delegate()])
    assert np.abs(np.frombuffer(done.stdout, np.uint8).astype(int) - expected.ravel()).max() <= 1


def test_a_python_host_of_another_environment(library: Path, tmp_path: Path) -> None:
    (tmp_path / "rocketnpu").mkdir()  # as beside a checkout of this project
    code = """
import ctypes, sys
sys.path.insert(0, ".")
before = set(sys.path)
library = ctypes.PyDLL(sys.argv[1])
library.tflite_plugin_create_delegate.restype = ctypes.c_void_p
library.tflite_plugin_destroy_delegate.argtypes = [ctypes.c_void_p]
delegate = library.tflite_plugin_create_delegate(None, None, 0, None)
library.tflite_plugin_destroy_delegate(delegate)
print(bool(delegate), before <= set(sys.path[:len(before)]), "importlib" in globals())
"""
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    done = subprocess.run(
        [base, "-I", "-S", "-c", code, library], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.stdout, done.stderr) == ("True True False\n", "")


def moved(library: Path, tmp_path: Path, old: str, new: str) -> Path:
    """Copy the library with one of its built-in texts changed to another of the same length."""
    data = library.read_bytes()
    assert len(old) == len(new)
    assert old.encode() in data
    changed = tmp_path / "moved.so"
    changed.write_bytes(data.replace(old.encode(), new.encode()))
    return changed


def test_a_missing_environment_is_told(library: Path, host: Compile, tmp_path: Path) -> None:
    changed = moved(library, tmp_path, "rocketnpu/__init__.py", "rocketnpu/__gone__.py")
    done = walk(host("walk"), changed, "1")
    assert done.stdout.startswith("host was told: the package is missing")
    assert "rocketnpu build-delegate" in done.stderr
    assert done.returncode == 0


def test_a_python_without_the_packages_is_told(library: Path, host: Compile, tmp_path: Path) -> None:
    changed = moved(library, tmp_path, "rocketnpu.delegate.library", "rocketnpu.delegate.nothing")
    done = walk(host("walk"), changed, "1")
    assert "cannot import the delegate: No module named 'rocketnpu.delegate.nothing'" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_python_is_told_and_not_entered(
    library: Path, host: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rocketnpu.delegate import build as module

    monkeypatch.setattr(module.sys, "version_info", (3, 99))
    other = build(tmp_path / "other.so")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"this process runs Python 3\.\d+, but Python 3\.99 .* built the delegate"):
        load_delegate(str(other))
    assert "built the delegate" in walk(host("walk"), other, "1").stderr


def test_without_a_compiler_the_build_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(InputError, match=r"no C compiler found .*install one"):
        build(tmp_path / "never.so")
    assert not (tmp_path / "never.so").exists()


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(InputError, match="cannot write"):
        build(blocker / "library.so")


def test_the_last_tflite_runtime(mobilenet_v1: Path, library: Path, tmp_path: Path) -> None:
    if os.environ.get("ROCKETNPU_TEST_HEAVY") != "1":
        pytest.skip("installs packages into an environment of its own; set ROCKETNPU_TEST_HEAVY=1 to run it")
    venv.create(tmp_path / "old", with_pip=True)
    interpreter = tmp_path / "old" / "bin" / "python"
    wanted = ["numpy<2", "tflite-runtime==2.14.0"]
    installed = subprocess.run([interpreter, "-m", "pip", "install", "-q", *wanted], capture_output=True, check=False)
    if installed.returncode:
        pytest.skip(f"tflite-runtime cannot be installed here: {installed.stderr.decode()[-200:]}")
    code = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter, load_delegate
delegate = load_delegate(sys.argv[1], {"cache": "off", "verbose": "yes"})
interpreter = Interpreter(sys.argv[2], experimental_delegates=[delegate])
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.load(sys.argv[3]))
interpreter.invoke()
np.save(sys.argv[4], interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
"""
    graph = tflite.load(mobilenet_v1)
    np.save(tmp_path / "input.npy", noise(graph.tensors[graph.inputs[0]].shape, np.uint8))
    files = [tmp_path / "input.npy", tmp_path / "output.npy"]
    done = subprocess.run(
        [interpreter, "-c", code, library, mobilenet_v1, *files],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "rocketnpu: invoked graph, took " in done.stderr
    [expected] = run(mobilenet_v1, [Delegate(cache="off")])
    assert np.abs(np.load(files[1]).astype(int) - expected).max() <= 1


def test_a_shared_python_that_is_not_installed_is_named(library: Path, host: Compile, tmp_path: Path) -> None:
    found = shared_python()
    if found is None or not found.exists():
        pytest.skip("this Python has no shared library")
    missing = str(found.with_name("x" * len(found.name)))
    done = walk(host("walk"), moved(library, tmp_path, str(found), missing), "1")
    assert done.stdout.startswith("host was told: cannot load Python: ")
    assert f"`apt-get install libpython3.{sys.version_info[1]}`" in done.stderr


def test_interpreters_that_python_frees_last_end_quietly(library: Path) -> None:
    """What ``sys`` holds is freed when modules are empty: in a cache of functions, say, it is the same."""
    done = python(
        """
import sys
from ai_edge_litert.interpreter import Interpreter, load_delegate
from delegate_bench import chain
from rocketnpu.delegate import Delegate
options = {"minimum_macs": 0, "device": "simulator"}
sys.kept = [
    Interpreter(model_content=chain("npu"), experimental_delegates=[one])
    for one in (load_delegate(sys.argv[1], options), Delegate(**options))
]
[one.allocate_tensors() or one.invoke() for one in sys.kept]
""",
        library,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "Traceback" not in done.stderr
    assert "cffi" not in done.stderr
