"""The built-in pictures as a source of picture files that are drawn when they are read."""

from __future__ import annotations

import io
from collections.abc import Sequence

from vse_exp.data.scenes.drawing import SIZE, draw
from vse_exp.data.scenes.sampling import named_scene
from vse_exp.images.decoding import UnreadableImage


class DrawnPictures:
    """The built-in pictures `names`, `size` pixels wide, where other sources
    (`vse_exp.images.sources`) read files."""

    def __init__(self, names: Sequence[str], size: int = SIZE) -> None:
        self.names = names
        self.size = size

    def read(self, index: int) -> bytes:
        scene = named_scene(self.names[index])
        if scene is None:
            raise UnreadableImage("no picture of the built-in data set")
        content = io.BytesIO()
        draw(scene, self.size).save(content, "BMP")
        return content.getvalue()
