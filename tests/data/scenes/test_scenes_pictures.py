"""Pictures show their scenes, and features tell of the pictures what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vse_exp.data.scenes import captions, describe, draw, sample_scene
from vse_exp.data.scenes.descriptor import COLOURS, DIM, GRID, HARMONICS, THINGS
from vse_exp.data.scenes.drawing import COLOUR_RGB, SIZE
from vse_exp.data.scenes.world import CORE

SCENES = [sample_scene(0, "dev", index) for index in range(60)]


@pytest.mark.parametrize("size", [SIZE, 33, 200])
def test_pictures_have_the_size_asked_for_and_are_the_same_each_time(size):
    for scene in SCENES[:10]:
        picture = draw(scene, size)
        assert picture.mode == "RGB"
        assert picture.size == (size, size)
        assert picture.tobytes() == draw(scene, size).tobytes()


def test_the_front_thing_has_its_colour_at_its_place():
    seen = 0
    for scene in SCENES:
        thing = scene.things[-1]
        if thing.pattern == "plain" and thing.shape in CORE:  # those that are full at the middle
            at = (round(thing.x * SIZE), round(thing.y * SIZE))
            assert draw(scene).getpixel(at) == COLOUR_RGB[thing.colour]
            seen += 1
    assert seen > 20


def test_pictures_are_smooth():
    """Along the edge of a dark shape on a pale ground there are shades between the two."""
    grey = np.asarray(draw(next(s for s in SCENES if s.setting == "paper")).convert("L"))
    assert len(np.unique(grey)) > 40


def test_features_are_finite_unit_rows_and_do_not_depend_on_the_batch():
    pictures = [draw(scene) for scene in SCENES[:11]]
    rows = describe(pictures)
    assert rows.shape == (11, DIM)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    for picture, row in zip(pictures, rows, strict=True):
        np.testing.assert_allclose(describe([picture])[0], row, atol=1e-4)
    assert describe([]).shape == (0, DIM)


def parts(row: np.ndarray) -> list[np.ndarray]:
    """Layout (colour, row, column), edge length, harmonics (colour, k), compactness."""
    cells = COLOURS * GRID**2
    layout, length, harmonics, compactness = np.split(
        row, [cells, cells + THINGS, cells + THINGS * (1 + HARMONICS)]
    )
    return [
        layout.reshape(COLOURS, GRID, GRID),
        length,
        harmonics.reshape(THINGS, HARMONICS),
        compactness,
    ]


def polygon(corners: int, radius: float = 24, turn: float = 0, at: float = 48) -> Image.Image:
    """A red regular polygon on a pale ground."""
    image = Image.new("RGB", (3 * SIZE, 3 * SIZE), (222, 226, 230))
    shape = (3 * at, 3 * at, 3 * radius)
    pen = ImageDraw.Draw(image)
    pen.regular_polygon(shape, corners, rotation=turn, fill=COLOUR_RGB["red"])
    return image.reduce(3)


@pytest.mark.parametrize("corners", [3, 4, 5, 6])
@pytest.mark.parametrize("turn", [0, 17])
def test_harmonics_count_the_sides_of_a_polygon(corners, turn):
    """The edge directions of a regular polygon are n-fold symmetric: other orders cancel out.

    Order 8 is left out: the grid of pixels has a share in it.
    """
    red = list(COLOUR_RGB).index("red")
    harmonics = parts(describe([polygon(corners, turn=turn)])[0])[2][red, :7] ** 2
    orders = np.arange(1, 8)
    multiples = orders % corners == 0
    assert harmonics[multiples].min() > 3 * harmonics[~multiples].max()


def test_a_flat_picture_has_no_edges_and_still_a_unit_row():
    row = describe([Image.new("RGB", (SIZE, SIZE), COLOUR_RGB["blue"])])[0]
    layout, length, harmonics, _ = parts(row)
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
    assert not length.any()
    assert not harmonics.any()
    assert layout.sum(axis=(1, 2)).argmax() == list(COLOUR_RGB).index("blue")


def test_the_layout_says_where_a_colour_is():
    red = list(COLOUR_RGB).index("red")
    layout = parts(describe([polygon(4, radius=10, at=12)])[0])[0][red]
    assert layout.argmax() == 0
    assert layout[0, 0] ** 2 > 5 * layout[1:, 1:].max() ** 2


def test_other_pictures_are_made_to_fit():
    picture = draw(SCENES[0], 3 * SIZE)
    small = describe([draw(SCENES[0])])[0]
    assert describe([picture])[0] @ small > 0.95
    assert describe([picture.convert("RGBA"), picture.convert("P")]).shape == (2, DIM)


def test_features_tell_captions_apart():
    """A ridge regression from features to words finds captions far better than chance."""
    train = [sample_scene(0, "train", index) for index in range(300)]
    told = [captions(scene) for scene in [*train, *SCENES]]
    words = sorted({word for scene in told[:300] for caption in scene for word in caption.split()})
    column = {word: i for i, word in enumerate(words)}

    def bag(caption):
        row = np.zeros(len(words))
        for word in caption.split():
            if word in column:
                row[column[word]] += 1
        return row / np.linalg.norm(row)

    bags = np.array([[bag(caption) for caption in scene] for scene in told])
    mean = bags[:300].mean((0, 1))
    features = describe([draw(scene) for scene in [*train, *SCENES]]).astype(np.float64)
    centred = features - features[:300].mean(0)
    x, y = centred[:300], bags[:300].mean(1) - mean
    weights = np.linalg.solve(x.T @ x + 0.3 * np.eye(DIM), x.T @ y)
    scores = np.einsum("iw,jcw->ijc", centred[300:] @ weights, bags[300:] - mean)
    own = np.einsum("iic->ic", scores)
    ranks = (scores >= own[None]).sum(0) - 1  # of the image, for each caption
    assert (ranks < 1).mean() > 10 / 60  # chance: one in sixty
    assert np.median(ranks) < 10
