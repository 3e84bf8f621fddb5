"""Thumbnails of a gallery's images out of folders, archives and the built-in set."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from vse_exp.data.scenes.sampling import scene_name
from vse_exp.retrieval.pictures import THUMBNAIL, open_thumbnails
from vse_exp.split_files import SplitFiles


def png(width: int = 400, height: int = 100, mode: str = "RGB") -> bytes:
    content = io.BytesIO()
    Image.new(mode, (width, height), 90).save(content, "PNG")
    return content.getvalue()


def size_of(jpeg: bytes | None) -> tuple[int, int]:
    assert jpeg is not None
    with Image.open(io.BytesIO(jpeg)) as picture:
        assert picture.format == "JPEG"
        return picture.size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "grey é.png").write_bytes(png(20, 30, "L"))
    (tmp_path / "broken.png").write_bytes(png()[:50])
    return tmp_path


NAMES = ["a.png", "grey é.png", "broken.png", "missing.png"]


def check(jpegs: list[bytes | None]) -> None:
    assert size_of(jpegs[0]) == (THUMBNAIL, THUMBNAIL // 4)
    assert size_of(jpegs[1]) == (20, 30)  # never larger than it is
    assert jpegs[2:] == [None, None]


def test_of_a_folder(folder: Path) -> None:
    thumbnails = open_thumbnails(str(folder), NAMES)
    assert thumbnails is not None
    check([thumbnails.jpeg(row) for row in range(4)])


def test_of_a_tar(folder: Path) -> None:
    with tarfile.open(folder / "images_test.tar", "w") as archive:
        for name in NAMES[:3]:
            archive.add(folder / name, f"somewhere/{name}")
    thumbnails = open_thumbnails(str(folder / "images_test.tar"), NAMES)
    assert thumbnails is not None
    check([thumbnails.jpeg(row) for row in range(4)])


def test_of_the_built_in_set() -> None:
    thumbnails = open_thumbnails("scenes", [scene_name(0, "test", 3), "no scene.png"])
    assert thumbnails is not None
    assert size_of(thumbnails.jpeg(0)) == (THUMBNAIL, THUMBNAIL)
    assert thumbnails.jpeg(1) is None


def test_nothing_at_hand(folder: Path) -> None:
    assert open_thumbnails(None, NAMES) is None
    assert open_thumbnails(str(folder), None) is None
    assert open_thumbnails(str(folder / "elsewhere"), NAMES) is None
    assert open_thumbnails(str(folder), ["other.png"]) is None


def test_beside_a_data_set(tmp_path: Path) -> None:
    files = SplitFiles(tmp_path / "f8k" / "f8k_test")
    assert files.find_pictures("test") is None
    (tmp_path / "f8k" / "images").mkdir(parents=True)
    assert files.find_pictures("test") == str(tmp_path / "f8k" / "images")
    (tmp_path / "f8k" / "images_test.tar").touch()
    assert files.find_pictures("test") == str(tmp_path / "f8k" / "images_test.tar")
    assert files.find_pictures("dev") == str(tmp_path / "f8k" / "images")
