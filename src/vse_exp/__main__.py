"""`vse_exp VERB …`, the same as `python -m vse_exp.VERB …`."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from vse_exp.cli import config_dir, mistakes_told
from vse_exp.errors import UserError

VERBS = {
    "prepare": "annotations of any usual format to captions and image lists",
    "extract": "pictures to image features",
    "train": "train a model",
    "sweep": "search hyperparameters with Optuna",
    "summarize": "one table over runs, grouped over seeds, and plots",
    "evaluate": "recalls and ranks of a model",
    "compare": "do two runs differ by more than chance?",
    "report": "a static page of every result on a split",
    "embed": "vectors of sentences, image features or pictures",
    "index": "embed a collection into a gallery",
    "retrieve": "search a gallery with a sentence or a picture",
    "photos": "from a folder of photos to a search box: all of these in one",
    "demo": "a page to search with sentences and pictures",
    "export": "a model as a folder to share, with its card",
    "convert": "other programs' models to ours and back",
}


def main(arguments: Sequence[str] | None = None) -> int | None:
    with mistakes_told():
        verb, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
        if verb in ("-h", "--help"):
            print(_overview())
        elif verb == "--version":
            print(f"vse_exp {version('vse_exp')}")
        elif verb in VERBS:
            return import_module(f"vse_exp.{verb}").main(rest)
        else:
            close = difflib.get_close_matches(verb, VERBS, n=1)
            hint = f"did you mean {close[0]}" if close else f"there are {', '.join(VERBS)}"
            raise UserError(
                f"Unknown verb {verb}: {hint}?" if close else f"Unknown verb {verb}: {hint}."
            )


def _overview() -> str:
    lines = [f"  {verb:<10} {what}" for verb, what in VERBS.items()]
    return "\n".join([
        "Usage: vse_exp VERB KEY=VALUE …, or python -m vse_exp.VERB … (each answers --help)",
        "", *lines, "", f"Every key stands with a comment in {config_dir()}.",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
