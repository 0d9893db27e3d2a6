import os
import signal
import subprocess
import sys
import tempfile
import threading

import pytest

from rocketnpu.zoo import temporary
from rocketnpu.zoo.temporary import temporary_folder

WORK = """
import os, signal, time
from rocketnpu.zoo import temporary
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
{prepare}
with temporary.temporary_folder() as folder:
    for number in range(1000):
        (folder / str(number)).write_bytes(b"x")
    {inside}
print("not ended", flush=True)
time.sleep(60)
"""
REMOVING = """
remove = temporary._remove
def slowly(folder):
    print("on", flush=True)
    time.sleep(0.5)
    remove(folder)
temporary._remove = slowly
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("prepare", "inside"), [("", 'print("on", flush=True); time.sleep(60)'), (REMOVING, "pass")])
def test_a_signal_leaves_nothing(place, number, prepare, inside):
    script = WORK.format(prepare=prepare, inside=inside)
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(place)},
    ) as process:
        try:
            assert process.stdout.readline() == "on\n"
            process.send_signal(number)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert out == ""
    assert process.returncode == (-number if number == signal.SIGINT else 128 + number)
    assert list(place.iterdir()) == []


def test_handlers_are_as_before(place):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with temporary_folder() as folder:
        assert folder.parent == place
    assert [signal.getsignal(number) for number in numbers] == before
    assert list(place.iterdir()) == []


def test_a_handler_of_the_programs_own_stays(monkeypatch):
    def own(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGTERM, own)
    try:
        with temporary_folder():
            assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_may_fetch(place):
    seen = []

    def work():
        with temporary_folder() as folder:
            seen.append(folder.is_dir())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]
    assert list(place.iterdir()) == []


def test_a_folder_that_stays_full_is_given_up(place, monkeypatch):
    monkeypatch.setattr(temporary, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(temporary.shutil, "rmtree", lambda *arguments, **options: None)
    with temporary_folder() as folder:
        pass
    assert folder.is_dir()
