"""Which lines of the guest's kernel are complaints."""

from __future__ import annotations

from rocketnpu.board.kernel_log import complaints, parse

LOG = """\
<4>[    2.103118] drm: loading out-of-tree module taints kernel.
<4>[    4.000000] board: ready
<6>[    4.100000] rocket 10000000.npu: an ordinary line
<4>[    5.000000] board: case hang
<3>[    6.000000] rocket 10000000.npu: NPU job timed out
<4>[    7.000000] board: case next
<12>[    8.000000] a program's own warning
<13>[    8.500000] a program's own notice
no line of the kernel at all
"""


def test_what_comes_before_the_first_marker_is_about_starting() -> None:
    assert complaints(LOG) == ["rocket 10000000.npu: NPU job timed out", "a program's own warning"]


def test_a_case_has_its_own_lines() -> None:
    assert complaints(LOG, "case hang", "case next") == ["rocket 10000000.npu: NPU job timed out"]
    assert complaints(LOG, "case next") == ["a program's own warning"]
    assert complaints(LOG, "case that never began") == []


def test_all_lines_of_a_serial_line_are_complaints() -> None:
    serial = "[    4.000000] board: ready\r\n[    5.000000] Unable to handle kernel paging request\r\n"
    assert complaints(serial) == ["Unable to handle kernel paging request"]
    assert [entry.seconds for entry in parse(serial)] == [4.0, 5.0]
