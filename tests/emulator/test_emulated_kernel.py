"""The emulated node answers as Linux 7.2 does (rocket_gem.c, rocket_job.c, drm_ioctl.c, drm_gem.c)."""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable

import pytest
from raw_node import BAD_POINTER, MAP_PRIVATE, File, Rig, name

from rocketnpu.device import uapi as drm
from rocketnpu.rockchip.drivers import rocket_uapi as uapi


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_addresses_start_at_zero_and_fill_the_smallest_gap(file: File) -> None:
    made = [file.create(size) for size in (4096, 8192, 4096, 4097, 4096)]
    assert [bo.dma_address for bo in made] == [0, 4096, 12288, 16384, 24576]
    assert [bo.handle for bo in made] == [1, 2, 3, 4, 5]
    assert file.gem_close(2) == file.gem_close(4) == file.gem_close(3) == 0
    assert file.create(4096).dma_address == 4096
    again = file.create(12288)
    assert (again.dma_address, again.handle) == (8192, 3)


def test_the_smallest_gap_wins_over_the_lowest(file: File) -> None:
    for size in (12288, 4096, 4096, 4096):
        file.create(size)
    file.gem_close(1)
    file.gem_close(3)
    assert file.create(4096).dma_address == 16384


def test_files_have_address_spaces_of_their_own(rig: Rig, file: File) -> None:
    other = File()
    assert file.create(4096).dma_address == other.create(8192).dma_address == 0
    assert name(other.fini(1)) == "0"
    other.create(4096)
    assert name(file.fini(2)) == "ENOENT"
    assert rig.node.open_files == 2
    other.close()
    eventually(lambda: rig.node.open_files == 1)


def test_create_refuses(make_rig: Callable[..., Rig]) -> None:
    make_rig(memory=1 << 20, address_space=1 << 19)
    file = File()
    assert name(file.do(uapi.CREATE_BO, uapi.CreateBo(size=0))) == "EINVAL"
    assert name(file.do(uapi.CREATE_BO, uapi.CreateBo(size=0xFFFFFFFF))) == "ENOMEM"
    assert name(file.do(uapi.CREATE_BO, uapi.CreateBo(size=(1 << 19) + 1))) == "ENOSPC"
    assert file.create(1 << 19).dma_address == 0
    assert name(file.do(uapi.CREATE_BO, uapi.CreateBo(size=1))) == "ENOSPC"
    file.gem_close(1)
    assert file.create(1 << 19).dma_address == 0
    file.close()


def test_handles_are_checked(file: File) -> None:
    made = file.create(100)
    assert [name(code) for code in (file.prep(9), file.fini(9), file.gem_close(9))] == ["ENOENT", "ENOENT", "EINVAL"]
    assert [name(code) for code in (file.prep(1, reserved=1), file.fini(1, reserved=1))] == ["EINVAL", "EINVAL"]
    assert name(file.gem_close(made.handle)) == "0"
    assert name(file.gem_close(made.handle)) == "EINVAL"


def test_mmap_takes_exact_offsets_only(file: File) -> None:
    made = file.create(5000)
    assert name(file.mmap(made.offset, 5000)) == name(file.mmap(made.offset, 8192)) == "0"
    assert name(file.mmap(made.offset, 8193)) == "EINVAL"
    assert name(file.mmap(made.offset + 4096, 4096)) == "EINVAL"
    assert name(file.mmap(0, 4096)) == "EINVAL"
    assert name(file.mmap(made.offset, 4096, MAP_PRIVATE)) == "EINVAL"
    file.gem_close(made.handle)
    assert name(file.mmap(made.offset, 4096)) == "EINVAL"


@pytest.mark.parametrize("request_number", [uapi.CREATE_BO, uapi.SUBMIT, uapi.PREP_BO, uapi.FINI_BO, drm.GEM_CLOSE])
@pytest.mark.parametrize("pointer", [0, 1, BAD_POINTER, 2**64 - 4096])
def test_bad_pointers_are_efault(file: File, request_number: int, pointer: int) -> None:
    assert name(file.raw(request_number, pointer)) == "EFAULT"
    assert file.create(64).handle == 1


def test_numbers_and_sizes(file: File) -> None:
    argument = (ctypes.c_uint8 * 4096)()
    place = ctypes.addressof(argument)
    assert name(file.raw(0x5401, place)) == "ENOTTY"
    assert name(file.raw(drm.number(3, 0x44, 24), place)) == "EINVAL"
    assert name(file.raw(drm.number(3, 0xFF, 24), place)) == "EINVAL"
    # An older program's shorter structure: what it does not say is 0, and only its part is written back.
    assert name(file.raw(drm.number(3, 0x40, 4), place)) == "EINVAL"
    argument[1] = 0x10
    assert name(file.raw(drm.number(3, 0x40, 8), place)) == "0"
    assert bytes(argument[:24]) == b"\0\x10\0\0\1\0\0\0" + bytes(16)
    # A newer program's longer one, with zeros behind.
    argument[1] = 0x10
    assert name(file.raw(drm.number(3, 0x40, 4095), place)) == "0"
    assert uapi.CreateBo.from_buffer(argument).handle == 2
    # Without a direction nothing is copied at all.
    assert name(file.raw(drm.number(0, 0x40, 24), place)) == "EINVAL"


def test_version_copies_as_much_as_fits(file: File) -> None:
    text = ctypes.create_string_buffer(b"........", 8)
    version = drm.Version(name_length=3, name=ctypes.addressof(text))
    assert file.do(drm.VERSION, version) == 0
    assert (text.raw, version.name_length) == (b"roc.....", 6)
    assert version.description_length == len("rocket DRM")
    version = drm.Version(name_length=6, name=BAD_POINTER)
    assert name(file.do(drm.VERSION, version)) == "EFAULT"


def last_readable(size: int) -> int:
    """Return the address of the last ``size`` readable bytes before a page that nobody may read."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    pages = libc.mmap(None, 2 * mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    assert libc.mprotect(pages + mmap.PAGESIZE, mmap.PAGESIZE, 0) == 0
    return int(pages) + mmap.PAGESIZE - size


def test_submit_checks_only_the_outside(rig: Rig, file: File) -> None:
    rig.release()
    bo = file.create(4096)
    good = ([(0, 4)], [], [bo.handle])
    assert name(file.submit()) == name(file.submit(job_struct_size=0)) == "0"
    assert name(file.submit(good, job_struct_size=39)) == "EINVAL"
    assert name(file.submit(good, reserved=1)) == "EINVAL"
    assert name(file.submit(good, jobs=BAD_POINTER)) == "EFAULT"
    assert name(file.submit(good, job_count=0xFFFFFFFF)) == "ENOMEM"
    assert name(file.submit(good, jobs=last_readable(40), job_count=2)) == "EFAULT"
    assert name(file.submit(good)) == "0"
    assert name(file.prep(bo.handle)) == "0"
    assert file.byte(bo) == 1


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (([], [], [1]), "Invalid argument"),
        (([(0, 0)], [], [1]), "Invalid argument"),
        (([(0, 4)], [], [7]), "No such file or directory"),
        (([(0, 4)], [7], [1]), "No such file or directory"),
        (([(0, 4)], [1], [1]), "already in progress"),
        (([(0, 4)], [], [1, 1]), "already in progress"),
    ],
)
def test_a_bad_job_never_runs_and_the_program_is_not_told(rig: Rig, file: File, job: tuple, why: str) -> None:
    rig.release()
    bo = file.create(4096)
    assert name(file.submit(job)) == name(file.prep(bo.handle)) == "0"
    assert file.byte(bo) == 0
    assert why in rig.lines[0]
    assert name(file.submit(job, ([(0, 4)], [], [1]))) == name(file.prep(bo.handle)) == "0"
    assert file.byte(bo) == 1


def test_prep_waits_for_writers_until_its_deadline(rig: Rig, file: File) -> None:
    written, read, other = (file.create(4096) for _ in range(3))
    assert name(file.submit(([(other.dma_address, 4)], [read.handle], [written.handle]))) == "0"
    assert name(file.prep(written.handle, -1)) == "EBUSY"
    assert name(file.prep(written.handle, 0.3)) == "ETIMEDOUT"
    assert name(file.prep(read.handle, -1)) == name(file.prep(other.handle, -1)) == "0"
    rig.release()
    assert name(file.prep(written.handle, 5)) == name(file.prep(written.handle, -1)) == "0"
    assert file.byte(other) == 1


def test_jobs_of_a_file_run_in_order_on_one_core(rig: Rig, file: File) -> None:
    bos = [file.create(4096) for _ in range(6)]
    assert name(file.submit(*(([(bo.dma_address, 1)], [], [bo.handle]) for bo in bos))) == "0"
    rig.release()
    assert name(file.prep(bos[-1].handle)) == "0"
    assert [core.ran for core in rig.cores] == [[bo.dma_address for bo in bos], [], []]


def test_files_run_on_different_cores(rig: Rig) -> None:
    files = [File() for _ in range(3)]
    for opened in files:
        bo = opened.create(4096)
        assert name(opened.submit(([(0, 1)], [], [bo.handle]))) == "0"
    rig.release()
    assert all(name(opened.prep(1)) == "0" for opened in files)
    assert [core.ran for core in rig.cores] == [[0], [0], [0]]
    for opened in files:
        opened.close()


def test_a_page_fault_is_a_timeout_that_nobody_reports(rig: Rig, file: File) -> None:
    rig.release()
    bo = file.create(4096)
    assert name(file.submit(([(0x100000, 4), (0, 4)], [], [bo.handle]))) == name(file.prep(bo.handle)) == "0"
    assert file.byte(bo) == 0, "the tasks behind the failing one do not run"
    assert "task 0 of 2 at 0x100000" in rig.lines[0]


def test_a_buffer_lives_while_a_job_lists_it(rig: Rig, file: File) -> None:
    bo, wanted = file.create(4096), file.create(4096)
    assert name(file.submit(([(0, 1)], [bo.handle], [wanted.handle]))) == "0"
    assert name(file.gem_close(bo.handle)) == "0"
    assert file.create(4096).dma_address == 8192, "its address is still taken"
    rig.release()
    assert name(file.prep(wanted.handle)) == "0"
    assert rig.lines == []
    assert file.create(4096).dma_address == 0


def test_closing_with_jobs_queued(rig: Rig) -> None:
    file = File()
    bo = file.create(4096)
    assert name(file.submit(*[([(0, 1)], [], [bo.handle])] * 50)) == "0"
    file.close()
    rig.release()
    eventually(lambda: rig.node.open_files == 0)
    again = File()
    assert again.create(4096).dma_address == 0
    again.close()
