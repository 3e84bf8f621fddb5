"""Penn Treebank words, as VSE++ cuts captions (NLTK's `word_tokenize` on one lower-cased line).

First the marks that stand alone are found where they are, then the clitics at the end of what lies
between them, then words that are two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ALONE = re.compile(
    r"""
      (?P<double> " | '' )
    | [«“‘„»”’]                         # other quotes
    | ``?
    | (?<! \w ) ' (?= \w ) (?! (?: re | ve | ll | [mtsdn] ) \b )   # opens a quotation
    | (?<! ' ) ' (?= [ ;@#$%&?!«“‘„`‒–—―] | [:,] (?! \d ) | \.\. )  # and ends one
    | (?P<comma> [:,] (?! \d ) ) (?P<second> [:,] )?
    | \.{2,}
    | (?<= [^.] ) \. (?= (?: [])}>"'»”’] | [ ] (?! " | '' ) )* \s* \Z )   # the last period
    | -- | [‒–—―]
    | [][(){}<>;@#$%&?!*]
    """,
    re.VERBOSE,
)
_OPENS = frozenset(" ([{<«“‘„`")
"""What stands before a double quote that opens."""
_CLITICS = (
    re.compile(r"(.*[^'])('[smd]?)", re.DOTALL),
    re.compile(r"(.*[^'])('ll|'re|'ve|n't)", re.DOTALL),
)
_TWO_WORDS = {
    "cannot": 3, "d'ye": 1, "gimme": 3, "gonna": 3, "gotta": 3, "lemme": 3, "more'n": 4, "wanna": 3
}  # fmt: skip
"""Words that are written as one, and where the second begins."""
_FUSED = re.compile(rf"\b(?:{'|'.join(_TWO_WORDS)})\b".replace("wanna", r"wanna(?=\Z)"))


def ptb_tokenize(text: str) -> list[str]:
    """Lower-cased Treebank tokens: punctuation, clitics ("n't", "'s") and quotes (`` and '') stand
    alone, and a period only at the very end.
    """
    text = text.lower()
    tokens: list[str] = []
    for piece in _pieces(text):
        if piece in ("``", "''"):
            tokens.append(piece)
        else:
            tokens += _words(piece)
    return tokens


def _pieces(text: str) -> Iterator[str]:
    """Cut at white space and around marks that stand alone; double quotes by their direction."""
    start = 0
    for mark in _ALONE.finditer(text):
        begin, end = mark.span()
        yield from text[start:begin].split()
        start = end
        if mark["double"]:
            yield "``" if _opens(text, begin) else "''"
        elif mark["second"]:
            # the second of two commas belongs to what follows
            yield mark["comma"]
            start = mark.start("second")
        else:
            yield mark[0]
    yield from text[start:].split()


def _opens(text: str, quote: int) -> bool:
    """Whether the double quote at that place opens a quotation."""
    if quote == 0:
        return text[0] == '"'
    return text[quote - 1] in _OPENS or (quote == 1 and text[0] == '"')


def _words(piece: str) -> Iterator[str]:
    clitics: list[str] = []
    for pattern in _CLITICS:
        match = pattern.fullmatch(piece)
        if match:
            piece, clitic = match.groups()
            clitics.insert(0, clitic)
    start = 0
    for match in _FUSED.finditer(piece):
        middle = match.start() + _TWO_WORDS[match[0]]
        parts = (piece[start : match.start()], piece[match.start() : middle])
        yield from (part for part in (*parts, piece[middle : match.end()]) if part)
        start = match.end()
    if piece[start:]:
        yield piece[start:]
    yield from clitics
