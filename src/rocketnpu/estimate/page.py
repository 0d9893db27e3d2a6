"""An estimate as one self-contained HTML page: figures, timeline, roofline, memory traffic, and the table.

No script, no font and no picture from elsewhere; light and dark follow the reader's setting, and it prints.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files

from rocketnpu.estimate.estimate import Estimate
from rocketnpu.estimate.pictures import roofline, timeline, traffic

COLOURS = {
    "start": "c0",
    "load": "c1",
    "multiply": "c2",
    "output": "c3",
    "store": "c4",
    "weights": "c5",
    "copy": "c6",
}
"""Class of each part of a task's time; the style sheet gives it a colour for light and for dark."""
_COLUMNS = ("#", "operator", "tasks", "us", "share", "bound by", "read", "written")


def page(estimate: Estimate) -> str:
    """Return the page's text."""
    style = files("rocketnpu.estimate").joinpath("page.css").read_text("utf-8")
    title = f"{escape(estimate.name)}: {estimate.total_us / 1e3:.2f} ms on {escape(estimate.chip)}"
    body = "\n".join(
        (
            f"<h1>{title}</h1>",
            _summary(estimate),
            "<h2>When</h2>",
            _legend(),
            timeline(estimate, COLOURS),
            "<h2>What limits each operator</h2>",
            roofline(estimate, COLOURS),
            "<h2>Memory traffic</h2>",
            traffic(estimate),
            "<h2>Operators</h2>",
            _table(estimate),
            _levers(estimate),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _summary(estimate: Estimate) -> str:
    board, (low, high) = estimate.board, estimate.range_us
    facts = (
        ("NPU", estimate.npu_us),
        ("starts of tasks", estimate.starts_us),
        ("host", estimate.host_us),
        ("total", estimate.total_us),
    )
    cells = "".join(f"<div><b>{us / 1e3:.2f} ms</b><span>{name}</span></div>" for name, us in facts)
    return (
        f'<div class="figures">{cells}</div>\n<p>An estimate for the {board.driver} kernel with the NPU at '
        f"{board.clock_mhz:g} MHz, {board.cores} core{'s' if board.cores > 1 else ''}; {escape(board.host_what)}. "
        f"Eight of ten such estimates are within {low / 1e3:.2f} to {high / 1e3:.2f} ms of the measured time "
        f"({escape(estimate.spread.what)}). Overlapping of loads, which nobody has measured, could save at most "
        f"{estimate.hidden_us / 1e3:.2f} ms.</p>"
    )


def _legend() -> str:
    items = "".join(f'<li><i class="{name}"></i>{part}</li>' for part, name in COLOURS.items())
    return f'<ul class="legend">{items}</ul>'


def _table(estimate: Estimate) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("#", "operator", "tasks", "us", "share", "bound by", "read", "written")
    )
    rows = []
    for row in estimate.operators:
        number = "" if row.operator is None else row.operator
        share = f'<td class="bar"><i style="width:{100 * row.share:.1f}%"></i><span>{row.share:.1%}</span></td>'
        rows.append(
            f"<tr><td>{number}</td><td class=left>{escape(row.kind)}</td><td>{row.tasks}</td><td>{row.us:.1f}</td>"
            f"{share}<td class=left>{row.bound_by}</td><td>{row.read:,}</td><td>{row.written:,}</td></tr>"
        )
    cpu = "".join(
        f"<tr><td>{one.operator}</td><td class=left>{escape(one.kind)}</td>"
        "<td colspan=6 class=left>on the CPU</td></tr>"
        for one in estimate.cpu
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}{cpu}</tbody></table>"


def _levers(estimate: Estimate) -> str:
    if not estimate.levers:
        return ""
    rows = "".join(
        f"<tr><td class=left>{escape(lever.name)}</td><td>{lever.total_us / 1e3:.2f}</td>"
        f"<td>{lever.gain_us / 1e3:+.2f}</td><td class=left>{escape(lever.note)}</td></tr>"
        for lever in estimate.levers
    )
    head = "<tr><th class=left>what</th><th>total [ms]</th><th>gain [ms]</th><th class=left></th></tr>"
    return f"<h2>What would change it</h2><table><thead>{head}</thead><tbody>{rows}</tbody></table>"
