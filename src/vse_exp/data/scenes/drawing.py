"""Pictures of scenes, drawn with Pillow."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from vse_exp.data.scenes.dice import Dice
from vse_exp.data.scenes.outlines import HOLES, OUTLINES, Points
from vse_exp.data.scenes.sampling import VERSION
from vse_exp.data.scenes.world import Scene, Thing

SIZE = 96
"""Width and height of a picture in pixels, where nothing else is asked for."""
FINE = 3
"""Pictures are drawn that many times larger and averaged down: smooth edges."""

RGB = tuple[int, int, int]
COLOUR_RGB: dict[str, RGB] = {
    "red": (214, 40, 40),
    "orange": (245, 130, 32),
    "yellow": (250, 210, 40),
    "green": (40, 150, 70),
    "blue": (40, 90, 210),
    "purple": (125, 55, 170),
    "pink": (248, 130, 180),
    "brown": (125, 75, 40),
    "black": (30, 30, 34),
    "white": (250, 250, 250),
}
SKIES: dict[str, tuple[RGB, RGB]] = {
    "meadow": ((150, 205, 240), (225, 242, 250)),
    "sea": ((180, 220, 245), (240, 248, 250)),
    "desert": ((190, 220, 235), (250, 235, 205)),
    "night": ((14, 18, 48), (52, 58, 108)),
    "sunset": ((96, 84, 150), (255, 176, 120)),
    "snow": ((176, 196, 216), (226, 234, 242)),
    "paper": ((246, 240, 226), (236, 228, 210)),
    "checks": ((232, 236, 240), (232, 236, 240)),
}
"""Colours at the top and the bottom of each setting."""

QUARTER = [level // 4 for level in range(256)]
"""Opacity of a thing's shadow by that of the thing."""


def draw(scene: Scene, size: int = SIZE) -> Image.Image:
    """The picture of a scene: RGB, `size` x `size` pixels."""
    width = size * FINE
    canvas = _sky(scene.setting, width)
    _scenery(canvas, scene.setting, Dice(VERSION, *scene.key, 2))
    for thing in scene.things:
        _draw_thing(canvas, thing)
    return canvas.reduce(FINE)


def _sky(setting: str, width: int) -> Image.Image:
    top, bottom = SKIES[setting]
    ramp = np.linspace(top, bottom, width).round().astype(np.uint8)
    return Image.fromarray(ramp[:, None]).resize((width, width), Image.Resampling.NEAREST)


def _scenery(canvas: Image.Image, setting: str, dice: Dice) -> None:
    """What belongs to a setting: hills, waves, stars, …, each time a little different."""
    width = canvas.width
    pen = ImageDraw.Draw(canvas)
    if setting == "meadow":
        _hills(pen, width, dice, [(0.62, (168, 214, 130)), (0.78, (132, 192, 96))])
    elif setting == "desert":
        _hills(pen, width, dice, [(0.6, (240, 214, 160)), (0.76, (230, 196, 132))])
    elif setting == "snow":
        _hills(pen, width, dice, [(0.66, (240, 244, 250))])
        _specks(pen, width, dice, 40, 0.008, (255, 255, 255))
    elif setting == "sea":
        level = dice.uniform(0.5, 0.65)
        for i, colour in enumerate([(110, 178, 210), (90, 160, 200), (74, 144, 188)]):
            line = level + i * (1 - level) / 3
            _hills(pen, width, dice, [(line, colour)], waves=9.0, height=0.012)
    elif setting == "night":
        _specks(pen, width, dice, 30, 0.005, (255, 250, 220))
    elif setting == "sunset":
        x, r = dice.uniform(0.2, 0.8), 0.13
        box = [(x - r) * width, (0.82 - r) * width, (x + r) * width, (0.82 + r) * width]
        pen.ellipse(box, fill=(255, 222, 150))
        _hills(pen, width, dice, [(0.82, (92, 66, 104))])
    elif setting == "paper":
        for i in range(1, 8):
            y = (i / 8 + dice.uniform(-0.004, 0.004)) * width
            pen.line([(0, y), (width, y)], fill=(214, 214, 220), width=FINE)
    elif setting == "checks":
        cell = width / 6
        shift = dice.uniform(0, cell)
        for i in range(8):
            for j in range(i % 2, 8, 2):
                x, y = i * cell - shift, j * cell - shift
                pen.rectangle([x, y, x + cell - 1, y + cell - 1], fill=(206, 214, 224))


def _hills(
    pen: ImageDraw.ImageDraw,
    width: int,
    dice: Dice,
    layers: list[tuple[float, RGB]],
    waves: float = 1.3,
    height: float = 0.04,
) -> None:
    """Land or water below a wavy line, for each (level, colour), the hindmost first."""
    for level, colour in layers:
        start, level = dice.uniform(0, 2 * math.pi), level + dice.uniform(-0.04, 0.04)
        steps = 48
        line = [
            (i / steps, level + height * math.sin(start + 2 * math.pi * waves * i / steps))
            for i in range(steps + 1)
        ]
        corners = [*line, (1.0, 1.1), (0.0, 1.1)]
        pen.polygon([(x * width, y * width) for x, y in corners], fill=colour)


def _specks(
    pen: ImageDraw.ImageDraw, width: int, dice: Dice, count: int, radius: float, colour: RGB
) -> None:
    """Stars or snow flakes, anywhere."""
    for _ in range(count):
        x, y = dice.uniform(0, width), dice.uniform(0, width)
        r = radius * width * dice.uniform(0.5, 1)
        pen.ellipse([x - r, y - r, x + r, y + r], fill=colour)


def _draw_thing(canvas: Image.Image, thing: Thing) -> None:
    """A thing with a soft shadow below it, its pattern, and a thin darker outline."""
    radius = thing.radius * canvas.width
    half = math.ceil(radius) + 1
    left, top = round(thing.x * canvas.width) - half, round(thing.y * canvas.width) - half
    corners = _placed(OUTLINES[thing.shape], thing, radius, half)
    hole = _placed(HOLES[thing.shape], thing, radius, half) if thing.shape in HOLES else []

    mask = Image.new("L", (2 * half + 1, 2 * half + 1))
    pen = ImageDraw.Draw(mask)
    pen.polygon(corners, fill=255)
    if hole:
        pen.polygon(hole, fill=0)
    drop = canvas.width // 90
    canvas.paste((20, 20, 40), (left + drop, top + drop), mask.point(QUARTER))
    colour = COLOUR_RGB[thing.colour]
    canvas.paste(colour, (left, top), mask)
    if thing.pattern != "plain":
        pattern = ImageChops.multiply(mask, _pattern(thing, mask.width, radius))
        pale = (255, 255, 255) if thing.colour != "white" else (150, 150, 160)
        canvas.paste(pale, (left, top), pattern)
    # white is edged in grey, black in a lighter grey: seen on pale and on dark grounds
    edge = tuple(int(0.62 * c) for c in colour) if thing.colour != "black" else (90, 90, 96)
    canvas_pen = ImageDraw.Draw(canvas)
    for line in (corners, hole):
        if line:
            around = [(x + left, y + top) for x, y in [*line, line[0], line[1]]]
            canvas_pen.line(around, fill=edge, width=max(1, canvas.width // 100), joint="curve")


def _placed(points: Points, thing: Thing, radius: float, centre: float) -> Points:
    """Outline points turned by the thing's tilt, in pixels of its own box."""
    turn = math.radians(thing.tilt)
    c, s = radius * math.cos(turn), radius * math.sin(turn)
    return [(centre + c * x - s * y, centre + s * x + c * y) for x, y in points]


def _pattern(thing: Thing, width: int, radius: float) -> Image.Image:
    """Stripes or spots over a thing's box, as a mask."""
    mask = Image.new("L", (width, width))
    pen = ImageDraw.Draw(mask)
    step = max(0.1 * width, 0.42 * radius)
    count = math.ceil(width / step) + 1
    if thing.pattern == "striped":
        for i in range(count):
            x = i * step
            pen.line([(x - 0.3 * width, width), (x + 0.3 * width, 0)], 255, round(0.42 * step))
    else:
        r = 0.24 * step
        for i in range(count):
            for j in range(count):
                x, y = (i + 0.5 * (j % 2)) * step, j * step
                pen.ellipse([x - r, y - r, x + r, y + r], fill=255)
    return mask
