"""What a scene is: things of shape, colour, size and place in a setting, and their relations."""

from __future__ import annotations

from dataclasses import dataclass

SHAPES = (
    "circle", "square", "triangle", "star", "heart",
    "diamond", "cross", "ring", "moon", "hexagon",
)  # fmt: skip
COLOURS = (
    "red", "orange", "yellow", "green", "blue",
    "purple", "pink", "brown", "black", "white",
)  # fmt: skip
SIZES = {"small": (0.075, 0.095), "medium": (0.13, 0.155), "large": (0.20, 0.24)}
"""Radius of the circle around a thing, lowest and highest, as a fraction of the picture's width."""
PATTERNS = ("plain", "striped", "spotted")

SETTINGS = {
    "meadow": ("green",),
    "sea": ("blue",),
    "desert": ("orange", "yellow", "brown"),
    "night": ("black", "blue", "brown"),
    "sunset": ("orange", "pink"),
    "snow": ("white",),
    "paper": ("white",),
    "checks": ("white",),
}
"""Backgrounds, each with the colours that would not stand out from it and do not occur in it."""

CORE = {
    "circle": 1.0, "square": 0.7, "triangle": 0.5, "star": 0.42,
    "heart": 0.55, "diamond": 0.55, "cross": 0.3, "hexagon": 0.86,
}  # fmt: skip
"""Radius of the largest disc about a shape's centre within it, in radii of the shape."""
HOLLOW = {
    "circle": 0.9, "square": 0.68, "heart": 0.52, "diamond": 0.52, "ring": 0.6, "hexagon": 0.82,
}  # fmt: skip
"""Shapes that others may lie inside of, and the radius of the room there, in radii of the shape."""

HELD_OUT_COLOURS = frozenset((shape, COLOURS[(3 * i + 1) % 10]) for i, shape in enumerate(SHAPES))
"""Ten of the hundred (shape, colour): no training scene has one, those of dev and test may."""

HELD_OUT_RELATIONS = frozenset(
    (kind, shape, partners[(i + step) % len(partners)])
    for kind, step, partners in (
        ("left of", 1, SHAPES),
        ("above", 3, SHAPES),
        ("inside", 2, tuple(HOLLOW)),
        ("overlapping", 5, tuple(CORE)),
    )
    for i, shape in enumerate(SHAPES)
)
"""(kind, first shape, second shape) that no training scene has, about one in ten of each kind."""


@dataclass(frozen=True)
class Thing:
    """One object. `x`, `y` (downwards) and `radius` in widths of the picture; `tilt` in degrees."""

    shape: str
    colour: str
    size: str
    pattern: str
    x: float
    y: float
    radius: float
    tilt: float


@dataclass(frozen=True)
class Relation:
    """Thing `first` is `kind` thing `second` (indices into `Scene.things`).

    `kind` is "left of", "above", "inside" or "overlapping"; in the last, the first lies in front.
    """

    kind: str
    first: int
    second: int


@dataclass(frozen=True)
class Scene:
    """A picture's content. `key` (seed, split index, scene index) sets all that is random in it.

    `things` are in drawing order, the hindmost first.
    """

    key: tuple[int, int, int]
    setting: str
    things: tuple[Thing, ...]
    relations: tuple[Relation, ...]

    @property
    def held_out(self) -> bool:
        """Whether a combination occurs in it that training scenes never have."""
        return any((t.shape, t.colour) in HELD_OUT_COLOURS for t in self.things) or any(
            (r.kind, self.things[r.first].shape, self.things[r.second].shape) in HELD_OUT_RELATIONS
            for r in self.relations
        )
