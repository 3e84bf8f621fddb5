"""Flickr8k and Flickr30k: token files, lists of splits, and Kaggle's tables of the same."""

from __future__ import annotations

import re
from pathlib import Path

from vse_exp.data.annotations.records import Reading, Record
from vse_exp.errors import UserError
from vse_exp.files import read_text

_TOKEN = re.compile(r"([^\t]+)#\d+\t(.*)")
_TAGGED = re.compile(r"(\S+\.\w+)#([a-z]+)#\d+[ \t](.*)")
SPLIT_FILES = {
    "train": ("Flickr_8k.trainImages.txt", "train.txt", "flickr30k_train.txt"),
    "dev": ("Flickr_8k.devImages.txt", "dev.txt", "val.txt", "flickr30k_val.txt"),
    "test": ("Flickr_8k.testImages.txt", "test.txt", "flickr30k_test.txt"),
}
"""Lists of a split's pictures that are looked for beside the captions."""


def is_token_file(first_line: str) -> bool:
    """`1000268201_693b08cb0e.jpg#0 <tab> A child in a pink dress …`, or Flickr8k-CN's
    `667626_18933d713e.jpg#zhc#0 <blank> 一个穿着泳装的女人…`"""
    return bool(_TOKEN.match(first_line) or _TAGGED.match(first_line))


def read_tokens(path: Path) -> Reading:
    """`Flickr8k.token.txt`, `results_20130124.token`: image#number, tab, caption;
    `flickr8kzhc.caption.txt` (Li et al. 2016): image#language#number, blank, caption."""
    records, malformed = [], []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.rstrip("\r")
        if tagged := _TAGGED.fullmatch(line):
            image, language, caption = tagged.groups()
            records.append(Record(image, caption, language=language))
        elif found := _TOKEN.fullmatch(line):
            records.append(Record(found[1].strip(), found[2]))
        elif line.strip():
            malformed.append(f"{path.name} line {number}: not image#number, tab, caption")
    return Reading(str(path), "tokens", records, malformed)


def find_split_lists(folder: Path) -> dict[str, Path]:
    """Lists of the splits' pictures that lie in `folder`, under the names they are shipped with."""
    found = {}
    for split, names in SPLIT_FILES.items():
        there = [folder / name for name in names if (folder / name).is_file()]
        if there:
            found[split] = there[0]
    return found


def read_split_lists(lists: dict[str, Path]) -> dict[str, str]:
    """The split of each listed picture. UserError: a missing or empty list, a picture in two."""
    split_of: dict[str, str] = {}
    for split, path in lists.items():
        if not path.is_file():
            raise UserError(f"No file {path} (splits.{split}): correct the path.")
        names = [line.strip() for line in read_text(path).split("\n") if line.strip()]
        if not names:
            raise UserError(f"{path} (splits.{split}) is empty: it needs an image's name a line.")
        for name in names:
            if split_of.setdefault(name, split) != split:
                raise UserError(f"{path}: {name} is in the splits {split_of[name]} and {split}.")
    return split_of
