import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rocketnpu.errors import FetchError
from rocketnpu.zoo import Cache, State
from rocketnpu.zoo.cache import default_folder


def test_the_folder_follows_the_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setenv("ROCKETNPU_CACHE", "~/mine")
    assert default_folder() == Path("/home/somebody/mine")
    monkeypatch.delenv("ROCKETNPU_CACHE")
    assert default_folder() == Path("/elsewhere/rocketnpu")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert default_folder() == Path("/home/somebody/.cache/rocketnpu")


def test_no_home_is_an_error(monkeypatch):
    monkeypatch.delenv("ROCKETNPU_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless():
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(FetchError, match="set ROCKETNPU_CACHE"):
        default_folder()


def test_stored_found_and_damaged(cache, make_model, archives):
    model = make_model()
    assert cache.state(model, model.model) is State.ABSENT
    path = cache.store(model, model.model, archives.model)
    assert path.read_bytes() == archives.model
    assert cache.find(model, model.model) == path
    path.write_bytes(archives.model[:-1])
    assert cache.state(model, model.model) is State.DAMAGED
    assert cache.find(model, model.model) is None
    path.write_bytes(archives.model + b"more")
    assert cache.state(model, model.model) is State.DAMAGED


def test_what_is_no_file_is_damaged(cache, make_model):
    model = make_model()
    path = cache.path(model, model.model)
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    assert cache.state(model, model.model) is State.DAMAGED
    path.unlink()
    path.symlink_to("/dev/zero")
    assert cache.state(model, model.model) is State.DAMAGED


def test_nothing_unknown_is_stored(cache, make_model):
    model = make_model()
    with pytest.raises(FetchError, match="another SHA-256"):
        cache.store(model, model.model, b"something else")
    assert cache.state(model, model.model) is State.ABSENT


def test_a_write_that_breaks_leaves_the_old_file_and_no_litter(cache, make_model, archives, monkeypatch):
    model = make_model()
    path = cache.store(model, model.model, archives.model)
    path.write_bytes(b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(FetchError, match=r"cannot write the cache .*No space left on device; set ROCKETNPU_CACHE"):
        cache.store(model, model.model, archives.model)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_a_cache_below_a_file_is_an_error(tmp_path, make_model):
    (tmp_path / "file").write_text("in the way")
    blocked, model = Cache(tmp_path / "file"), make_model()
    with pytest.raises(FetchError, match="cannot write the cache"), blocked.lock(model):
        pass
    assert blocked.state(model, model.model) is not State.PRESENT


def test_the_lock_makes_another_process_wait(cache, make_model):
    model = make_model()
    path = cache.path(model, model.model).parent / ".lock"
    with cache.lock(model):
        script = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'ab'), fcntl.LOCK_EX); print('held')"
        other = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.5)
    assert other.communicate(timeout=20)[0] == "held\n"


def test_threads_are_kept_apart_too(cache, make_model):
    model, order = make_model(), []

    def second():
        with cache.lock(model):
            order.append("second")

    with cache.lock(model):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
