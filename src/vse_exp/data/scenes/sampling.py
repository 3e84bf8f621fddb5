"""Drawing scenes by lot: each follows from the seed, its split and its number alone."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

from vse_exp.data.scenes.dice import Dice
from vse_exp.data.scenes.world import (
    COLOURS,
    CORE,
    HOLLOW,
    PATTERNS,
    SETTINGS,
    SHAPES,
    SIZES,
    Relation,
    Scene,
    Thing,
)

VERSION = 1
"""Of everything that decides a scene, its picture, captions and features: raise it with any change
there, so that no cached set of before is taken for one of now."""

TWINS = "twins"
SPLITS = ("train", "dev", "test", TWINS)
EDGE = 0.02
GAP = 0.03
TRIES = 30


def sample_scene(seed: int, split: str, index: int) -> Scene:
    """Scene number `index` of a split; in `train` never one with a held-out combination.

    In `twins` 2k and 2k + 1 are one scene of two things but that their colours have changed
    places: what a bag of words says of the one it says of the other. Neither is held out.
    """
    key = (seed, SPLITS.index(split), index // 2 if split == TWINS else index)
    dice = Dice(VERSION, *key)
    while True:
        scene = _try_scene(dice, key)
        if scene is None or (split == "train" and scene.held_out):
            continue
        if split != TWINS:
            return scene
        if _differ(scene) and not (scene.held_out or _exchanged(scene).held_out):
            return _exchanged(scene) if index % 2 else scene


def _differ(scene: Scene) -> bool:
    """Whether it is two things of different shapes and colours."""
    things = scene.things
    return len(things) == len({t.shape for t in things}) == len({t.colour for t in things}) == 2


def _exchanged(scene: Scene) -> Scene:
    first, second = scene.things
    recoloured = replace(first, colour=second.colour), replace(second, colour=first.colour)
    return replace(scene, things=recoloured)


def scene_name(seed: int, split: str, index: int) -> str:
    """File name of a scene's picture, which says all that is needed to draw it."""
    return f"scene_{seed}_{split}_{index:05d}.png"


def named_scene(name: str) -> Scene | None:
    """The scene whose picture has that file name, or None where the name is none of ours."""
    kinds = "|".join(SPLITS)
    found = re.fullmatch(rf"scene_(\d{{1,18}})_({kinds})_(\d{{1,18}})\.png", name, re.ASCII)
    return sample_scene(int(found[1]), found[2], int(found[3])) if found else None


def _try_scene(dice: Dice, key: tuple[int, int, int]) -> Scene | None:
    """One to three things, or None where the lot gave what does not go together."""
    setting = dice.pick(tuple(SETTINGS))
    count = dice.pick((1, 2, 2, 2, 2, 3, 3, 3))
    starts = ["apart", "apart"]
    if count > 1:
        starts += ["inside", "overlapping", "apart" if count == 2 else "in line"]
    start = dice.pick(starts)
    if start == "inside":
        things = _nested(dice, setting)
    elif start == "overlapping":
        things = _overlapping(dice, setting)
    elif start == "in line":
        things = _in_line(dice, setting)
    else:
        things = [_thing(dice, setting, dice.pick(SHAPES), dice.pick(tuple(SIZES)))]
    if not things:
        return None
    for _ in range(TRIES):
        if len(things) == count:
            break
        thing = _thing(dice, setting, dice.pick(SHAPES), dice.pick(tuple(SIZES)))
        if all(_apart(thing, other) for other in things):
            things.append(thing)
    if len({(thing.shape, thing.colour) for thing in things}) < count:
        return None
    relations = [Relation(start, 1, 0)] if start in ("inside", "overlapping") else []
    for first, second in itertools.permutations(range(count), 2):
        direction = _direction(things[first], things[second])
        if direction:
            relations.append(Relation(direction, first, second))
    if count > 1 and not relations:
        return None
    return Scene(key, setting, tuple(things), tuple(relations))


def _thing(
    dice: Dice, setting: str, shape: str, size: str, place: tuple[float, float] | None = None
) -> Thing:
    """A thing at that place, or anywhere in the picture."""
    radius = dice.uniform(*SIZES[size])
    if place is None:
        low = radius + EDGE
        place = (dice.uniform(low, 1 - low), dice.uniform(low, 1 - low))
    return Thing(
        shape,
        dice.pick([colour for colour in COLOURS if colour not in SETTINGS[setting]]),
        size,
        # a pattern on a small thing would be a blur
        dice.pick(PATTERNS) if size != "small" and dice.chance(0.4) else "plain",
        *place,
        radius,
        dice.uniform(-10, 10),
    )


def _near(dice: Dice, place: tuple[float, float], least: float, most: float) -> tuple[float, float]:
    """A point in any direction from `place`, between `least` and `most` away."""
    angle, distance = dice.uniform(0, 2 * math.pi), dice.uniform(least, most)
    return place[0] + distance * math.cos(angle), place[1] + distance * math.sin(angle)


def _nested(dice: Dice, setting: str) -> list[Thing]:
    """A large thing and a small one inside of it; nothing where their colours are the same."""
    outer = _thing(dice, setting, dice.pick(tuple(HOLLOW)), "large")
    room = max(0.0, HOLLOW[outer.shape] * outer.radius - SIZES["small"][1])
    place = _near(dice, (outer.x, outer.y), 0, room)
    inner = _thing(dice, setting, dice.pick(SHAPES), "small", place)
    return [outer, inner] if inner.colour != outer.colour else []


def _overlapping(dice: Dice, setting: str) -> list[Thing]:
    """Two things, the second partly in front of the first; nothing where that went wrong."""
    shapes, sizes = tuple(CORE), ("medium", "large")
    back = _thing(dice, setting, dice.pick(shapes), dice.pick(sizes))
    shape, size = dice.pick(shapes), dice.pick(sizes)
    # the discs within both meet, so the shapes do, and neither hides the middle of the other
    touching = CORE[back.shape] * back.radius + CORE[shape] * SIZES[size][0]
    place = _near(dice, (back.x, back.y), 0.85 * touching, 0.97 * touching)
    front = _thing(dice, setting, shape, size, place)
    low = front.radius + EDGE
    fits = low < front.x < 1 - low and low < front.y < 1 - low
    return [back, front] if fits and front.colour != back.colour else []


def _in_line(dice: Dice, setting: str) -> list[Thing]:
    """Three things in a row or a column; nothing where they are too close."""
    row = dice.chance(0.5)
    level = dice.uniform(0.25, 0.75)
    things: list[Thing] = []
    for step in (0.19, 0.5, 0.81):
        place = _near(dice, (step, level) if row else (level, step), 0, 0.03)
        size = dice.pick(("small", "medium"))
        things.append(_thing(dice, setting, dice.pick(SHAPES), size, place))
        if len(things) > 1 and not _apart(things[-2], things[-1]):
            return []
    return things


def _apart(a: Thing, b: Thing) -> bool:
    return math.dist((a.x, a.y), (b.x, b.y)) > a.radius + b.radius + GAP


def _direction(a: Thing, b: Thing) -> str | None:
    """Whether `a` is clearly "left of" or "above" `b`: apart, and no diagonal."""
    dx, dy = b.x - a.x, b.y - a.y
    if not _apart(a, b):
        return None
    if dx > 1.3 * abs(dy):
        return "left of"
    return "above" if dy > 1.3 * abs(dx) else None
