"""Captions with their words in another order, or with words of a kind exchanged: does a model read?

The first five keep a caption's words, as does `binding`, so a bag of words cannot tell them from
the caption. Yüksekgönül et al. 2023 (ARO) have those of order; theirs of nouns and adjectives needs
a tagger, where `content_words` takes all words but those of a closed class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

Words = list[str]
Perturbation = Callable[[Words, np.random.Generator], Words]

CLOSED = frozenset(
    "a an the this that these those some any each every no his her its their our my your he she it "
    "they we i you him them us me who which what there here in on at by of to from with without "
    "into onto over under above below behind beside between through across along around near off "
    "out up down against towards toward inside outside during while as for and or but nor so than "
    "then is are was were be been being am has have had having do does did can could will would "
    "may might must not 's , . ; : ! ? ' \" - ( )".split()
)
COLOURS = "red orange yellow green blue purple pink brown black white gray grey".split()
NUMBERS = "one two three four five six seven eight nine ten".split()
LEFT_RIGHT = {"left": "right", "right": "left"}
RELATIONS = {
    "in front of": "behind", "behind": "in front of", "above": "below", "below": "above",
    "over": "under", "under": "over", "on": "under", "inside": "outside", "outside": "inside",
    "into": "out of", "out of": "into", "up": "down", "down": "up", "before": "after",
    "after": "before", "with": "without", "without": "with",
}  # fmt: skip


def _shuffled(parts: Sequence, random: np.random.Generator) -> list:
    return [parts[index] for index in random.permutation(len(parts))]


def _chunks(words: Words, size: int) -> list[Words]:
    return [words[start : start + size] for start in range(0, len(words), size)]


def _content_words(words: Words, random: np.random.Generator) -> Words:
    places = [place for place, word in enumerate(words) if word.lower() not in CLOSED]
    changed = list(words)
    for place, word in zip(places, _shuffled([words[p] for p in places], random), strict=True):
        changed[place] = word
    return changed


def _within_trigrams(words: Words, random: np.random.Generator) -> Words:
    return [word for chunk in _chunks(words, 3) for word in _shuffled(chunk, random)]


def _order_of_chunks(size: int) -> Perturbation:
    return lambda words, random: list(chain(*_shuffled(_chunks(words, size), random)))


def _another(kind: Sequence[str]) -> Perturbation:
    """Every word of a kind becomes another of it."""
    return lambda words, random: [
        str(random.choice([other for other in kind if other != word])) if word in kind else word
        for word in words
    ]


def _opposite(of: dict[str, str]) -> Perturbation:
    pattern = re.compile(rf"\b({'|'.join(sorted(of, key=len, reverse=True))})\b")
    return lambda words, _: pattern.sub(lambda found: of[found[1]], " ".join(words)).split()


def _binding(words: Words, random: np.random.Generator) -> Words:
    """Two colours of two things change places; more, and those of one thing, are left alone."""
    places = [place for place, word in enumerate(words) if word in COLOURS]
    if len(places) != 2 or not set(words[places[0] + 1 : places[1]]) - CLOSED:
        return words
    changed = list(words)
    changed[places[0]], changed[places[1]] = words[places[1]], words[places[0]]
    return changed


PERTURBATIONS: dict[str, Perturbation] = {
    "words": _shuffled,
    "content_words": _content_words,
    "within_trigrams": _within_trigrams,
    "pairs": _order_of_chunks(2),
    "trigrams": _order_of_chunks(3),
    "binding": _binding,
    "left_right": _opposite(LEFT_RIGHT),
    "relations": _opposite(RELATIONS),
    "colours": _another(COLOURS),
    "numbers": _another(NUMBERS),
}
TRIES = 10


def perturb(name: str, captions: Sequence[str], seed: int = 0) -> list[str | None]:
    """Each caption changed as `PERTURBATIONS[name]` does; None where it cannot be."""
    random = np.random.default_rng(seed)
    change = PERTURBATIONS[name]
    changed: list[str | None] = []
    for caption in captions:
        words = caption.split()
        tries = (change(words, random) for _ in range(TRIES))
        changed.append(next((" ".join(other) for other in tries if other != words), None))
    return changed
