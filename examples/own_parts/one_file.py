"""A layout: all splits of a data set in one JSON file, `{split: [[captions, features], …]}`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vse_exp.data.layout import Layout
from vse_exp.data.layouts import Split
from vse_exp.images.features import ImageFeatures
from vse_exp.images.preprocessing import Preparation
from vse_exp.split_files import SplitFiles


class OneFile(Layout):
    """Features in memory, a row an image."""

    def __init__(self, *, path: str) -> None:
        self.path = Path(path)

    def split(self, name: str, preprocessing: Preparation | None, normalize: bool = False) -> Split:
        pairs = json.loads(self.path.read_text(encoding="utf-8"))[name]
        counts = [len(captions) for captions, _ in pairs]
        rows = np.array([features for _, features in pairs], np.float32)
        return Split(
            name,
            [caption for captions, _ in pairs for caption in captions],
            np.repeat(np.arange(len(pairs)), counts),
            ImageFeatures(rows, normalize=normalize),
            None,
            SplitFiles(self.path),
            normalize,
        )
