"""The page's pictures, as SVG that takes its colours from the page's style sheet."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import ceil, floor, log10

from rocketnpu.estimate.estimate import Estimate, TimedTask, bounding

WIDTH = 1000
LEFT, RIGHT, BOTTOM = 60, 20, 28
LANE = 34
_TICKS = 10


def timeline(estimate: Estimate, colours: Mapping[str, str]) -> str:
    """Draw a lane for the host and one for each core, each task as its start, its load and its slowest part."""
    total = estimate.total_us or 1.0
    scale = (WIDTH - LEFT - RIGHT) / total
    lanes = 1 + estimate.board.cores
    height = lanes * LANE + BOTTOM + 8
    shapes = [_lane_name("host", 0), *(_lane_name(f"core {core}", core + 1) for core in range(estimate.board.cores))]
    now, half = 0.0, estimate.board.host_us / 2
    for part in estimate.parts:
        shapes.append(_bar(LEFT + now * scale, half * scale, 0, "c0", f"convert and submit, {half:.0f} us"))
        now += half
        for task in part:
            at = now
            for name, us in bounding(task).items():
                for core in range(estimate.board.cores):
                    hint = f"{task.label}\n{name} {us:.1f} us"
                    shapes.append(_bar(LEFT + at * scale, us * scale, core + 1, colours[name], hint))
                at += us
            now = at
        shapes.append(_bar(LEFT + now * scale, half * scale, 0, "c0", f"wait and convert, {half:.0f} us"))
        now += half
    return _svg(height, "timeline of one inference", [*_time_axis(total, height, scale), *shapes])


def _lane_name(name: str, lane: int) -> str:
    return f'<text x="8" y="{lane * LANE + LANE / 2 + 8}">{name}</text>'


def _bar(x: float, width: float, lane: int, colour: str, hint: str) -> str:
    return (
        f'<rect class="{colour}" x="{x:.2f}" y="{lane * LANE + 8}" width="{max(width, 0.05):.2f}" height="{LANE - 8}">'
        f"<title>{escape(hint)}</title></rect>"
    )


def _time_axis(total: float, height: int, scale: float) -> list[str]:
    step = _step(total)
    found = []
    for number in range(floor(total / step) + 1):
        x = LEFT + number * step * scale
        found.append(f'<line x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{height - BOTTOM + 4}"/>')
        label = f"{number * step / 1e3:g} ms" if step >= 100 else f"{number * step:g} us"
        found.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{label}</text>')
    return found


def _step(total: float) -> float:
    """Return a round distance that cuts a length into about ten."""
    power = 10 ** floor(log10(total / _TICKS)) if total > 0 else 1.0
    return float(next(power * factor for factor in (1, 2, 5, 10) if total / (power * factor) <= _TICKS))


def roofline(estimate: Estimate, colours: Mapping[str, str]) -> str:
    """Draw each operator as a dot: work for each byte moved against work a second, below what the chip can do."""
    groups: dict[tuple[int, int | None], list[TimedTask]] = {}
    for number, part in enumerate(estimate.parts):
        for task in part:
            if task.operations:
                groups.setdefault((number, task.operator), []).append(task)
    dots = []
    for tasks in groups.values():
        operations, us = sum(t.operations for t in tasks), sum(t.busy_us for t in tasks)
        moved = sum(t.read + t.written for t in tasks) or 1
        dots.append((operations / moved, operations / us / 1e3, tasks))
    if not dots:
        return "<p>Nothing is multiplied.</p>"
    peak, slope = estimate.board.peak_operations / 1e9, estimate.board.peak_bytes / 1e9
    frame = _Frame([dot[0] for dot in dots] + [peak / slope * 3], [dot[1] for dot in dots] + [peak])
    knee = peak / slope
    roof = f"M{frame.x(frame.left)},{frame.y(frame.left * slope)} L{frame.x(knee)},{frame.y(peak)} "
    shapes = [*frame.grid(), f'<path class="roof" d="{roof}L{WIDTH - RIGHT},{frame.y(peak)}"/>']
    label = f'x="{WIDTH - RIGHT - 4}" y="{frame.y(peak) - 6:.1f}" text-anchor="end"'
    shapes.append(f"<text {label}>{peak:.0f} GMAC/s</text>")
    for intensity, rate, tasks in dots:
        colour = colours[tasks[0].bound_by]
        hint = f"{tasks[0].label.partition(' rows ')[0]}\n{rate:.1f} GMAC/s, {intensity:.1f} MAC a byte"
        place = f'cx="{frame.x(intensity)}" cy="{frame.y(rate)}"'
        shapes.append(f'<circle class="{colour}" {place} r="5"><title>{escape(hint)}</title></circle>')
    return _svg(frame.height, "roofline", shapes)


class _Frame:
    """Two logarithmic axes."""

    height = 320

    def __init__(self, across: list[float], up: list[float]) -> None:
        self.left, self.right = 10 ** floor(log10(min(across))), 10 ** ceil(log10(max(across)))
        self.low, self.high = 10 ** floor(log10(min(up))), 10 ** ceil(log10(max(up)))

    def x(self, value: float) -> float:
        share = log10(value / self.left) / log10(self.right / self.left)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = log10(max(value, self.low) / self.low) / log10(self.high / self.low)
        return round(self.height - BOTTOM - share * (self.height - BOTTOM - 16), 1)

    def grid(self) -> list[str]:
        found = []
        for power in range(round(log10(self.left)), round(log10(self.right)) + 1):
            x = self.x(10.0**power)
            found.append(f'<line x1="{x}" y1="16" x2="{x}" y2="{self.height - BOTTOM}"/>')
            anchor = "end" if x > WIDTH - LEFT else "middle"
            found.append(f'<text x="{x}" y="{self.height - 8}" text-anchor="{anchor}">{10.0**power:g} MAC/byte</text>')
        for power in range(round(log10(self.low)), round(log10(self.high)) + 1):
            y = self.y(10.0**power)
            found.append(f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
            found.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{10.0**power:g}</text>')
        return found


def traffic(estimate: Estimate) -> str:
    """Draw the bytes that each task reads (up) and writes (down) in a second, over time."""
    total = estimate.total_us or 1.0
    scale = (WIDTH - LEFT - RIGHT) / total
    height, middle = 200, 86
    rates = [(t.read / t.busy_us, t.written / t.busy_us) for t in estimate.tasks if t.busy_us]
    top = max((rate for pair in rates for rate in pair), default=1.0) or 1.0
    shapes, now = _time_axis(total, height, scale), 0.0
    for part in estimate.parts:
        now += estimate.board.host_us / 2
        for task in part:
            now += task.start_us
            for value, up, colour in ((task.read, True, "c1"), (task.written, False, "c4")):
                size = value / (task.busy_us or 1.0) / top * (middle - 26)
                y = middle - size if up else middle
                hint = f"{task.label}\n{value:,} bytes {'read' if up else 'written'}"
                x, width = LEFT + now * scale, max(task.busy_us * scale, 0.05)
                place = f'x="{x:.2f}" y="{y:.1f}" width="{width:.2f}" height="{size:.1f}"'
                shapes.append(f'<rect class="{colour}" {place}><title>{escape(hint)}</title></rect>')
            now += task.busy_us
        now += estimate.board.host_us / 2
    shapes.append(f'<line x1="{LEFT}" y1="{middle}" x2="{WIDTH - RIGHT}" y2="{middle}"/>')
    shapes.append(f'<text x="8" y="24">read</text><text x="8" y="{2 * middle - 12}">written</text>')
    shapes.append(f'<text x="{WIDTH - RIGHT}" y="16" text-anchor="end">at most {top / 1e3:.1f} GB/s</text>')
    return _svg(height, "memory traffic over time", shapes)


def _svg(height: int, name: str, shapes: list[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">{"".join(shapes)}</svg>'
