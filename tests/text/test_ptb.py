"""Treebank words; the expected ones are what NLTK 3.10 gives for the lower-cased line."""

from __future__ import annotations

import pytest

from vse_exp.text.ptb import ptb_tokenize

CASES = {
    "": [],
    "   ": [],
    ".": ["."],
    "A dog .": ["a", "dog", "."],
    "A dog runs.": ["a", "dog", "runs", "."],
    "A dog runs... and stops.": ["a", "dog", "runs", "...", "and", "stops", "."],
    "wait ... what": ["wait", "...", "what"],
    "Mr. Smith went to the U.S. today.": [
        "mr.",
        "smith",
        "went",
        "to",
        "the",
        "u.s.",
        "today",
        ".",
    ],
    'He said "go".': ["he", "said", "``", "go", "''", "."],
    '"Go," he said.': ["``", "go", ",", "''", "he", "said", "."],
    '(a "quoted" word)': ["(", "a", "``", "quoted", "''", "word", ")"],
    "\"''twice": ["``", "``", "twice"],
    "a ''b'' c": ["a", "``", "b", "''", "c"],
    "`single' ``double''": ["`", "single", "'", "``", "double", "''"],
    "'hello' he said": ["'", "hello", "'", "he", "said"],
    "('yes')": ["(", "'", "yes", "'", ")"],
    "the dog's bone": ["the", "dog", "'s", "bone"],
    "the dogs' bones": ["the", "dogs", "'", "bones"],
    "I can't, won't and couldn't've": [
        "i",
        "ca",
        "n't",
        ",",
        "wo",
        "n't",
        "and",
        "couldn't",
        "'ve",
    ],
    "they'll we've I'd you're I'm": [
        "they",
        "'ll",
        "we",
        "'ve",
        "i",
        "'d",
        "you",
        "'re",
        "i",
        "'m",
    ],
    "n't": ["n't"],
    "cannot gonna gotta gimme lemme wanna": [
        "can",
        "not",
        "gon",
        "na",
        "got",
        "ta",
        "gim",
        "me",
        "lem",
        "me",
        "wan",
        "na",
    ],
    "wanna-be wanna": ["wanna-be", "wan", "na"],
    "d'ye see more'n that": ["d", "'ye", "see", "more", "'n", "that"],
    "'tis 'twas": ["'", "tis", "'", "twas"],
    "o'clock y'all rock 'n' roll": ["o'clock", "y'all", "rock", "'n", "'", "roll"],
    "don’t ‘quoted’ “double”": ["don", "’", "t", "‘", "quoted", "’", "“", "double", "”"],
    "«chevrons» „low“": ["«", "chevrons", "»", "„", "low", "“"],
    "$3.88 and €5 and 50% off": ["$", "3.88", "and", "€5", "and", "50", "%", "off"],
    "R&B #1 @home a*b": ["r", "&", "b", "#", "1", "@", "home", "a", "*", "b"],
    "1,000 at 10:30, and 3.5; 2:1": ["1,000", "at", "10:30", ",", "and", "3.5", ";", "2:1"],
    "a,b c:d e,,f g,": ["a", ",", "b", "c", ":", "d", "e", ",", ",f", "g", ","],
    "one--two---three": ["one", "--", "two", "--", "-three"],
    "an – en, an — em": ["an", "–", "en", ",", "an", "—", "em"],
    "[a] {b} <c>": ["[", "a", "]", "{", "b", "}", "<", "c", ">"],
    "Stop! Why? No?!": ["stop", "!", "why", "?", "no", "?", "!"],
    "the end.)": ["the", "end", ".", ")"],
    'the end."': ["the", "end", ".", "''"],
    'the end. "': ["the", "end.", "``"],
    "the end.'": ["the", "end", ".", "'"],
    "t-shirt half-dressed": ["t-shirt", "half-dressed"],
    "café naïve İ": ["café", "naïve", "i̇"],
    "a/b \\ c": ["a/b", "\\", "c"],
    "tab\there new\nline.": ["tab", "here", "new", "line", "."],
    "it's 's s'": ["it", "'s", "'s", "s", "'"],
    "a's's x''s": ["a's", "'s", "x", "''", "s"],
}


@pytest.mark.parametrize("text", CASES)
def test_is_what_nltk_gives(text: str) -> None:
    assert ptb_tokenize(text) == CASES[text]


def test_nothing_is_lost() -> None:
    text = "a (b) [c], d: e; f! g? 'h' don't cannot 3.5 -- i's."
    assert "".join(ptb_tokenize(text)) == text.replace(" ", "")


def test_captions_of_vsepp_are_cut_so() -> None:
    from vse_exp.text.tokenizers import Treebank
    from vse_exp.text.vocabulary import EOS, FIRST_WORD, UNK, Vocabulary

    vocabulary = Vocabulary(["<start>", "do", "n't"], Treebank(), ("<start>",))
    encoded = vocabulary.encode(["Don't stop"])
    assert encoded.tokens.tolist() == [FIRST_WORD, FIRST_WORD + 1, FIRST_WORD + 2, UNK, EOS]
