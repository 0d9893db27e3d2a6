"""The etnaviv driver's interface, as facts 2 restates its header: every offset, size and ioctl number."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import pytest

from rocketnpu.verisilicon.drivers import etnaviv_uapi as uapi

HEADER = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
struct timespec_ { int64_t a, b; };
struct param { uint32_t pipe, param; uint64_t value; };
struct gem_new { uint64_t size; uint32_t flags, handle; };
struct gem_info { uint32_t handle, pad; uint64_t offset; };
struct cpu_prep { uint32_t handle, op; struct timespec_ timeout; };
struct cpu_fini { uint32_t handle, flags; };
struct submit {
    uint32_t fence, pipe, exec_state, bo_count, reloc_count, stream_size;
    uint64_t bos, relocs, stream;
    uint32_t flags; int32_t fence_fd; uint64_t pmrs; uint32_t pmr_count, pad;
};
struct submit_bo { uint32_t flags, handle; uint64_t presumed; };
struct reloc { uint32_t submit_offset, index; uint64_t offset; uint32_t flags; };
struct wait_fence { uint32_t pipe, fence, flags, pad; struct timespec_ timeout; };
struct gem_wait { uint32_t pipe, handle, flags, pad; struct timespec_ timeout; };
"""
"""The structures of facts 2, written down once more; the compiler lays them out."""
LAYOUTS = {
    uapi.GetParam: "param",
    uapi.GemNew: "gem_new",
    uapi.GemInfo: "gem_info",
    uapi.CpuPrep: "cpu_prep",
    uapi.CpuFini: "cpu_fini",
    uapi.Submit: "submit",
    uapi.SubmitBo: "submit_bo",
    uapi.Reloc: "reloc",
    uapi.WaitFence: "wait_fence",
    uapi.GemWait: "gem_wait",
}
REQUESTS = {
    "_IOWR('d', 0x40, struct param)": uapi.GET_PARAM,
    "_IOWR('d', 0x42, struct gem_new)": uapi.GEM_NEW,
    "_IOWR('d', 0x43, struct gem_info)": uapi.GEM_INFO,
    "_IOW('d', 0x44, struct cpu_prep)": uapi.CPU_PREP,
    "_IOW('d', 0x45, struct cpu_fini)": uapi.CPU_FINI,
    "_IOWR('d', 0x46, struct submit)": uapi.SUBMIT,
    "_IOW('d', 0x47, struct wait_fence)": uapi.WAIT_FENCE,
    "_IOW('d', 0x49, struct gem_wait)": uapi.GEM_WAIT,
}


def test_a_compiler_lays_the_structures_out_alike(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    asked = [f"sizeof(struct {name})" for name in LAYOUTS.values()]
    asked += [f"offsetof(struct {name}, {field})" for kind, name in LAYOUTS.items() for field, *_ in kind._fields_]
    asked += list(REQUESTS)
    body = "".join(f'printf("%lu\\n", (unsigned long){one});' for one in asked)
    (tmp_path / "layout.c").write_text(f"{HEADER}int main(void) {{ {body} return 0; }}")
    subprocess.run(["cc", "-o", tmp_path / "layout", tmp_path / "layout.c"], check=True)
    found = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True).stdout.split()
    ours = [ctypes.sizeof(kind) for kind in LAYOUTS]
    ours += [getattr(kind, field).offset for kind in LAYOUTS for field, *_ in kind._fields_]
    ours += list(REQUESTS.values())
    assert dict(zip(asked, map(int, found), strict=True)) == dict(zip(asked, ours, strict=True))


def test_the_numbers_of_recorded_calls():
    assert uapi.GET_PARAM == 0xC0106440
    assert uapi.SUBMIT == 0xC0486446
    assert ctypes.sizeof(uapi.Submit) == 72


def test_parameters_and_flags():
    numbers = (uapi.PARAM_MODEL, uapi.PARAM_REVISION, uapi.PARAM_SOFTPIN_START, uapi.PARAM_PRODUCT)
    assert numbers == (1, 2, 0x1B, 0x1C)
    assert (uapi.PARAM_CUSTOMER, uapi.PARAM_ECO) == (0x1D, 0x1E)
    assert (uapi.BO_CACHED, uapi.BO_WRITE_COMBINED, uapi.BO_UNCACHED) == (0x10000, 0x20000, 0x40000)
    assert (uapi.PREP_READ, uapi.PREP_WRITE, uapi.PREP_NOSYNC) == (1, 2, 4)
    assert (uapi.SUBMIT_BO_READ, uapi.SUBMIT_BO_WRITE) == (1, 2)
    flags = (uapi.SUBMIT_NO_IMPLICIT, uapi.SUBMIT_FENCE_IN, uapi.SUBMIT_FENCE_OUT, uapi.SUBMIT_SOFTPIN)
    assert flags == (1, 2, 4, 8)
