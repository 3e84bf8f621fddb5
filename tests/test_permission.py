"""What may not be read or written is one sentence, whoever asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vse_exp.data.annotations import find_annotations, read_annotations
from vse_exp.errors import UserError
from vse_exp.files import new_folder, read_json, read_lines, write_rows, write_text
from vse_exp.images.features import open_features
from vse_exp.images.provenance import read_record
from vse_exp.images.sources import open_pictures
from vse_exp.images.tables import table_rows
from vse_exp.retrieval import open_gallery
from vse_exp.split_files import SplitFiles

NOBODY = 65534


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Path]:
    """A folder of files that this process may neither list, read nor write."""
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "mine_train_caps.txt").write_text("a dog\n")
    (folder / "x.csv").write_text("image,caption\na.jpg,a dog\n")
    (folder / "x.json").write_text("{}")
    np.save(folder / "x.npy", np.ones((2, 3), np.float32))
    for path in folder.iterdir():
        path.chmod(0)
    folder.chmod(0)
    if os.geteuid() == 0:  # root may do everything
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        folder.chmod(0o700)


def write_folder(folder: Path) -> None:
    with new_folder(folder / "new", mark="x"):
        pass


@pytest.mark.parametrize(
    "act",
    [
        lambda folder: SplitFiles.find(folder.parent, "locked", "train"),
        lambda folder: SplitFiles.named({"captions": str(folder / "x.csv")}, "train"),
        lambda folder: read_lines(folder / "x.csv"),
        lambda folder: read_json(folder / "x.json"),
        lambda folder: read_record(folder / "x.json"),
        lambda folder: list(table_rows(folder / "x.csv")),
        lambda folder: open_features(folder / "x.npy"),
        lambda folder: open_pictures(folder),
        lambda folder: open_pictures(folder / "x.csv"),
        lambda folder: find_annotations([folder]),
        lambda folder: read_annotations(folder / "x.csv"),
        lambda folder: open_gallery(folder),
        lambda folder: write_text(folder / "x.txt", "text"),
        lambda folder: write_rows(folder / "y.npy", (0, 1), np.dtype("<f4"), []),
        write_folder,
    ],
)
def test_no_permission_is_one_sentence(forbidden, act):
    with pytest.raises(UserError, match="locked"):
        act(forbidden)
