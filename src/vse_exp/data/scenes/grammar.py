"""Captions of scenes: five of different length and detail, some of a part of the scene only."""

from __future__ import annotations

from vse_exp.data.scenes.dice import Dice
from vse_exp.data.scenes.sampling import SPLITS, TWINS, VERSION
from vse_exp.data.scenes.world import Relation, Scene, Thing

CAPTIONS_PER_IMAGE = 5
LONGEST = 20
"""Words a caption has at most; at least three."""

# the usual word first; the others stand in for it now and then
WORDS = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "diamond": ("diamond", "rhombus"),
    "cross": ("cross", "plus"),
    "ring": ("ring", "hoop"),
    "moon": ("moon", "crescent"),
    "red": ("red", "crimson"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "small": ("small", "little", "tiny"),
    "large": ("large", "big", "huge"),
    "striped": ("striped", "stripy"),
    "spotted": ("spotted", "dotted"),
}
FORWARD = {
    "left of": ("to the left of", "left of", "on the left of", "next to"),
    "above": ("above", "over", "higher than"),
    "inside": ("inside", "within", "enclosed by"),
    "overlapping": ("in front of", "partly covering", "overlapping"),
}
BACKWARD = {
    "left of": ("to the right of", "right of", "on the right of", "beside"),
    "above": ("below", "under", "beneath"),
    "inside": ("around", "surrounding"),
    "overlapping": ("behind", "partly behind", "half hidden by"),
}
SETTING_WORDS = {
    "meadow": ("on a meadow", "among green hills", "in the grass"),
    "sea": ("by the sea", "on the water", "at the seaside"),
    "desert": ("in the desert", "on the sand", "among the dunes"),
    "night": ("at night", "in the dark", "in the night sky"),
    "sunset": ("at sunset", "in the evening", "while the sun goes down"),
    "snow": ("in the snow", "on a snowy day", "in winter"),
    "paper": ("on lined paper", "on a sheet of paper", "on a page"),
    "checks": ("on a checkered cloth", "on grey tiles", "on a checkered floor"),
}
OPENINGS = ("there is", "a picture of", "a drawing of", "we see", "here is", "this shows")
VERBS = ("is", "sits", "floats", "lies", "hangs")
COUNTS = {1: "one", 2: "two", 3: "three"}


def captions(scene: Scene) -> list[str]:
    """Five different true captions of a scene, in random order: lower case, no punctuation.

    Of one of `twins` one, which has the words of its twin's: "a red circle and a blue square".
    """
    if scene.key[1] == SPLITS.index(TWINS):
        return [" and ".join(f"{_article(t.colour)} {t.colour} {t.shape}" for t in scene.things)]
    dice = Dice(VERSION, *scene.key, 1)
    # shortest and longest, then the kinds between; what a scene cannot have becomes another kind
    kinds = [_brief, _everything, _related, _placed, dice.pick((_listed, _counted))]
    found: list[str] = []
    for kind in kinds:
        while True:
            caption = kind(dice, scene)
            if 3 <= len(caption.split()) <= LONGEST and caption not in found:
                break
        found.append(caption)
    return dice.shuffled(found)


def _brief(dice: Dice, scene: Scene) -> str:
    """A thing or two in a few words: "a small red star", "blue ring and star"."""
    if len(scene.things) == 1 or dice.chance(0.4):
        return _noun(dice, scene, _any(dice, scene), colour=1, size=0.8, pattern=0.8)
    first, second = dice.shuffled(range(len(scene.things)))[:2]
    return f"{_noun(dice, scene, first, 0.8)} and {_noun(dice, scene, second, 0.8)}"


def _everything(dice: Dice, scene: Scene) -> str:
    """All things with their looks, how they relate, and mostly where they are."""
    if len(scene.things) == 1:
        return _placed(dice, scene, detail=1.0)
    if len(scene.things) == 2:
        return _related(dice, scene, detail=0.8)
    between = _between(scene)
    if between and dice.chance(0.6):
        middle, one, other = between
        outer = dice.shuffled((one, other))
        names = [_noun(dice, scene, i, 1, 0.4, 0.3) for i in (middle, *outer)]
        return _with_setting(dice, scene, f"{names[0]} between {names[1]} and {names[2]}", 0.4)
    chain = dice.shuffled(scene.relations)[:2]
    if len(chain) < 2:
        return _listed(dice, scene)
    shared = {chain[0].first, chain[0].second} & {chain[1].first, chain[1].second}
    subject = shared.pop()  # of three things, two pairs have one in common
    clauses = [_predicate(dice, scene, relation, subject, 0.3) for relation in chain]
    name = _noun(dice, scene, subject, 1, 0.4, 0.3)
    return _with_setting(dice, scene, f"{name} {clauses[0]} and {clauses[1]}", 0.4)


def _related(dice: Dice, scene: Scene, detail: float = 0.3) -> str:
    """Two things and what one is to the other."""
    if not scene.relations:
        return _placed(dice, scene)
    relation = dice.pick(scene.relations)
    subject = dice.pick((relation.first, relation.second))
    name = _noun(dice, scene, subject, 0.9, detail, detail)
    clause = _predicate(dice, scene, relation, subject, detail)
    return _with_setting(dice, scene, _sentence(dice, name, clause), detail)


def _placed(dice: Dice, scene: Scene, detail: float = 0.4) -> str:
    """One thing and its place in the picture, or at least the setting."""
    index = _any(dice, scene)
    name = _noun(dice, scene, index, 0.9, detail, detail)
    place = _place(dice, scene.things[index])
    if place is None:
        return f"{name} {dice.pick(SETTING_WORDS[scene.setting])}"
    return _with_setting(dice, scene, _sentence(dice, name, place), 0.5 * detail)


def _listed(dice: Dice, scene: Scene) -> str:
    """Some or all of the things, and the setting."""
    named = dice.shuffled(range(len(scene.things)))[: dice.pick((2, 3))]
    names = " and ".join(_noun(dice, scene, i, 0.8, 0.25, 0.2) for i in named)
    opening = f"{dice.pick(OPENINGS)} " if dice.chance(0.4) else ""
    return f"{opening}{names} {dice.pick(SETTING_WORDS[scene.setting])}"


def _counted(dice: Dice, scene: Scene) -> str:
    """How many things there are, perhaps one of them by name, and the setting."""
    count = len(scene.things)
    setting = dice.pick(SETTING_WORDS[scene.setting])
    thing = _noun(dice, scene, _any(dice, scene), 0.9, 0.2)
    if count == 1:
        return f"{dice.pick(('only', 'just', 'nothing but'))} {thing} {setting}"
    noun = dice.pick(("shapes", "things", "objects"))
    some = dice.pick((f"{COUNTS[count]} {noun}", f"a group of {COUNTS[count]} {noun}"))
    if dice.chance(0.3):
        return f"{some} {setting}"
    return f"{some} {setting} {dice.pick(('one of them', 'and one is'))} {thing}"


def _any(dice: Dice, scene: Scene) -> int:
    return dice.pick(range(len(scene.things)))


def _sentence(dice: Dice, subject: str, predicate: str) -> str:
    """With a verb, with an opening, or bare: as captions of photographs are."""
    if dice.chance(0.4):
        return f"{subject} {dice.pick(VERBS)} {predicate}"
    opening = f"{dice.pick(OPENINGS)} " if dice.chance(0.4) else ""
    return f"{opening}{subject} {predicate}"


def _with_setting(dice: Dice, scene: Scene, caption: str, probability: float) -> str:
    if not dice.chance(probability):
        return caption
    return f"{caption} {dice.pick(SETTING_WORDS[scene.setting])}"


def _predicate(dice: Dice, scene: Scene, relation: Relation, subject: int, detail: float) -> str:
    """The relation seen from `subject`: "to the left of a red star"."""
    forward = subject == relation.first
    words = dice.pick((FORWARD if forward else BACKWARD)[relation.kind])
    other = relation.second if forward else relation.first
    return f"{words} {_noun(dice, scene, other, 0.9, detail, detail)}"


def _noun(
    dice: Dice, scene: Scene, index: int, colour: float, size: float = 0.0, pattern: float = 0.0
) -> str:
    """A name for a thing with its article; colour, size and pattern by these probabilities.

    The colour is always told where the scene has two things of that shape.
    """
    thing = scene.things[index]
    alike = sum(other.shape == thing.shape for other in scene.things)
    words = []
    if dice.chance(size if thing.size != "medium" else 0.2 * size):
        words.append(_word(dice, thing.size))
    if thing.pattern != "plain" and dice.chance(pattern):
        words.append(_word(dice, thing.pattern))
    if dice.chance(colour) or alike > 1:
        words.append(_word(dice, thing.colour))
    words.append(_word(dice, thing.shape))
    return " ".join([_article(words[0]), *words])


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _word(dice: Dice, meaning: str) -> str:
    words = WORDS.get(meaning, (meaning,))
    return words[0] if dice.chance(0.5) else dice.pick(words)


def _place(dice: Dice, thing: Thing) -> str | None:
    """Where in the picture a thing is, or None where no word would be clear."""
    column = "left" if thing.x < 0.36 else "right" if thing.x > 0.64 else None
    row = "top" if thing.y < 0.36 else "bottom" if thing.y > 0.64 else None
    if column and row:
        return dice.pick((f"in the {row} {column} corner", f"at the {row} {column}"))
    if column:
        return dice.pick((f"on the {column}", f"on the {column} side"))
    if row:
        return dice.pick((f"at the {row}", f"near the {row}"))
    if max(abs(thing.x - 0.5), abs(thing.y - 0.5)) < 0.1:
        return dice.pick(("in the middle", "in the centre"))
    return None


def _between(scene: Scene) -> tuple[int, int, int] | None:
    """Of three things the one between the others in a row or column, and those, or None."""
    for kind in ("left of", "above"):
        pairs = [(r.first, r.second) for r in scene.relations if r.kind == kind]
        for first, middle in pairs:
            for other, last in pairs:
                if middle == other:
                    return middle, first, last
    return None
