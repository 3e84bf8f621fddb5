"""Outlines of the shapes: closed polygons around (0, 0), within the unit circle, y downwards."""

from __future__ import annotations

import math

Points = list[tuple[float, float]]


def _regular(corners: int, turn: float = -90.0) -> Points:
    angles = [math.radians(turn + 360 * i / corners) for i in range(corners)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def _star() -> Points:
    tips = _regular(10)
    return [(x, y) if i % 2 == 0 else (0.42 * x, 0.42 * y) for i, (x, y) in enumerate(tips)]


def _heart() -> Points:
    points = []
    for i in range(48):
        t = 2 * math.pi * i / 48
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((16 * math.sin(t) ** 3 / 16.5, -(y + 1.5) / 16.5))
    return points


def _cross() -> Points:
    a, b = 0.32, 0.94
    quarter = [(a, -b), (a, -a), (b, -a)]
    turns = [(1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0)]
    return [(p * x + q * y, r * x + s * y) for p, q, r, s in turns for x, y in quarter]


def _moon() -> Points:
    """A crescent: an arc of the unit circle, and back along one of another."""
    horn = math.radians(60)
    centre, radius = 0.62, math.dist((0.62, 0), (math.cos(horn), math.sin(horn)))
    outer = [horn + (2 * math.pi - 2 * horn) * i / 32 for i in range(33)]
    opening = math.atan2(math.sin(horn), math.cos(horn) - centre)
    inner = [-opening - (2 * math.pi - 2 * opening) * i / 24 for i in range(1, 24)]
    arc = [(centre + radius * math.cos(t), radius * math.sin(t)) for t in inner]
    return [(math.cos(t) + 0.2, math.sin(t)) for t in outer] + [(x + 0.2, y) for x, y in arc]


OUTLINES: dict[str, Points] = {
    "circle": _regular(48),
    "square": _regular(4, turn=-45),
    "triangle": _regular(3),
    "star": _star(),
    "heart": _heart(),
    "diamond": [(0.0, -1.0), (0.68, 0.0), (0.0, 1.0), (-0.68, 0.0)],
    "cross": _cross(),
    "ring": _regular(48),
    "moon": _moon(),
    "hexagon": _regular(6, turn=0),
}
HOLES: dict[str, Points] = {"ring": [(0.62 * x, 0.62 * y) for x, y in _regular(48)]}
"""Of a shape that one can see through, the outline of its hole."""
