"""Archives and names that lie: a sentence or a reason, and no more memory than was declared."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from vse_exp.errors import UserError
from vse_exp.images.decoding import UnreadableImage
from vse_exp.images.features import open_features
from vse_exp.images.sources import open_pictures


def jpeg() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(content, "JPEG")
    return content.getvalue()


def test_a_zip_that_lies_about_sizes(tmp_path):
    """200 MB of zeros that declare themselves as 100 bytes."""
    path = tmp_path / "lie.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(200 << 20))
    content = path.read_bytes()
    true, lie = struct.pack("<L", 200 << 20), struct.pack("<L", 100)
    assert content.count(true) == 2
    path.write_bytes(content.replace(true, lie))
    source = open_pictures(path)
    tracemalloc.start()
    with pytest.raises(UnreadableImage, match="damaged in the archive"):
        source.read(0)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_bound_are_refused(tmp_path, method):
    path = tmp_path / "rare.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.jpg", jpeg())
    with pytest.raises(UnreadableImage, match="pack it again"):
        open_pictures(path).read(0)


def test_an_honest_zip(tmp_path):
    path = tmp_path / "fine.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", jpeg())
    assert open_pictures(path).read(0) == jpeg()


@pytest.mark.parametrize("size", [b"77777777777", b"\xff" * 12, b"-1         "])
def test_absurd_sizes_in_a_tar(tmp_path, size):
    path = tmp_path / "lie.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.size = len(jpeg())
        archive.addfile(info, io.BytesIO(jpeg()))
    content = bytearray(path.read_bytes())
    content[124 : 124 + len(size)] = size
    content[148:156] = b" " * 8
    content[148:155] = b"%06o\0" % sum(content[:512])
    path.write_bytes(content)
    with pytest.raises((UnreadableImage, UserError)):
        open_pictures(path).read(0)


def test_names_that_lead_out_of_a_folder(tmp_path):
    """Neither an absolute name nor one that climbs reads what lies elsewhere."""
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg())
    for name in (str(tmp_path / "secret.jpg"), "../secret.jpg"):
        pictures = open_pictures(folder, ["a.jpg", name])
        assert pictures.read(0) == jpeg()
        with pytest.raises(UnreadableImage, match="no such file"):
            pictures.read(1)


def test_a_nul_byte_in_a_list(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a\0.jpg\n")
    with pytest.raises(UnreadableImage, match=r"null (byte|character)"):
        open_pictures(tmp_path / "list.txt").read(0)


def test_flipped_bits_in_the_header_of_features(tmp_path):
    """Whatever numpy makes of the header is one sentence or rows."""
    path = tmp_path / "x.npy"
    np.save(path, np.ones((3, 4), np.float32))
    whole = path.read_bytes()
    for bit in range(8 * 128):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with suppress(UserError):
            open_features(path)


def test_a_folder_where_features_should_be(tmp_path):
    os.mkdir(tmp_path / "x.npy")
    with pytest.raises(UserError, match="No feature file"):
        open_features(tmp_path / "x.npy")
