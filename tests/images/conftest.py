"""Picture files of all kinds, whole and damaged, and a network small enough for any test."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from vse_exp.images.backbones import Backbone
from vse_exp.images.preprocessing import Preprocessing


def picture(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A smooth colourful picture, (width, height)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int, height: int, bits: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG written by hand: `rows` are the filtered lines, `extra` more chunks."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def good_files() -> dict[str, bytes]:
    """Odd files that must be read."""
    rgb = picture()
    grey = rgb.convert("L")
    alpha = rgb.copy()
    alpha.putalpha(128)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    deep = np.asarray(grey, dtype=np.uint16) * 257
    rgb16 = b"".join(b"\0" + struct.pack(">12H", *range(0, 60000, 5000)) for _ in range(4))
    frames = [picture(seed) for seed in range(3)]
    floats = Image.fromarray(np.asarray(grey, dtype=np.float32) / 255)
    return {
        "plain.jpg": encoded(rgb, "JPEG"),
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "grey.jpg": encoded(grey, "JPEG"),
        "turned.jpg": encoded(rgb, "JPEG", exif=exif),
        "broken_exif.jpg": encoded(rgb, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\0"),
        "trailing.jpg": encoded(rgb, "JPEG") + b"rubbish" * 100,
        "palette.png": encoded(rgb.quantize(8), "PNG"),
        "palette_clear.png": encoded(rgb.quantize(8), "PNG", transparency=0),
        "rgba.png": encoded(alpha, "PNG"),
        "grey_alpha.png": encoded(alpha.convert("LA"), "PNG"),
        "clear_colour.png": encoded(rgb, "PNG", transparency=(255, 255, 255)),
        "bilevel.png": encoded(grey.convert("1"), "PNG"),
        "grey16.png": encoded(Image.fromarray(deep), "PNG"),
        "rgb16.png": png(4, 4, 16, 2, rgb16),
        "float.tif": encoded(floats, "TIFF"),
        "int32.tif": encoded(grey.convert("I"), "TIFF"),
        "pages.tif": encoded(rgb, "TIFF", save_all=True, append_images=frames),
        "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "animated.png": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "picture.bmp": encoded(rgb, "BMP"),
        "really_a_png.jpg": encoded(rgb, "PNG"),
        "one_pixel.png": encoded(rgb.resize((1, 1)), "PNG"),
        "strip.png": encoded(rgb.resize((3000, 1)), "PNG"),
    }


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Files that must be skipped, with a part of the reason."""
    rgb = picture(size=(200, 150))
    whole_jpeg, whole_png = encoded(rgb, "JPEG"), encoded(rgb, "PNG")
    crc = bytearray(whole_png)
    crc[len(crc) // 2] ^= 0xFF
    text_bomb = png_chunk(b"zTXt", b"key\0\0" + zlib.compress(b"x" * (80 << 20)))
    nan = Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32))
    wide = Image.fromarray(np.array([[-5, 3_000_000]], dtype=np.int32))
    return {
        "empty.jpg": (b"", "empty file"),
        "text.jpg": (b"this is no picture\n", "not an image file"),
        "page.jpg": (b"<!DOCTYPE html><title>404 Not Found</title>", "not an image file"),
        "vector.png": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image file"),
        "postscript.jpg": (encoded(rgb, "EPS"), "not an image file"),
        "truncated.jpg": (whole_jpeg[: len(whole_jpeg) // 2], "truncated"),
        "truncated.png": (whole_png[: len(whole_png) // 2], "damaged"),
        "head_only.jpg": (whole_jpeg[:20], "damaged|not an image file"),
        "damaged.png": (bytes(crc), "damaged"),
        "bomb.png": (png(60_000, 60_000, 8, 0, b"\0" * 60_001), "pixels, more than|more pixels"),
        "large.png": (png(11_000, 10_000, 8, 0, b"\0" * 11_001), "11000x10000 pixels, more than"),
        "text_bomb.png": (png(1, 1, 8, 0, b"\0\0", text_bomb), "damaged"),
        "nan.tif": (encoded(nan, "TIFF"), "not finite"),
        "range.tif": (encoded(wide, "TIFF"), "no known range"),
    }


@pytest.fixture(scope="session")
def good() -> dict[str, bytes]:
    return good_files()


@pytest.fixture(scope="session")
def bad() -> dict[str, tuple[bytes, str]]:
    return bad_files()


@pytest.fixture
def odd_folder(tmp_path: Path, bad) -> Path:
    """A folder of good and bad pictures, and things that only look like pictures."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for number in range(5):
        (folder / f"photo{number}.jpg").write_bytes(encoded(picture(number), "JPEG"))
    (folder / "below" / "deep.png").write_bytes(encoded(picture(9), "PNG"))
    for name in ("empty.jpg", "truncated.jpg"):
        (folder / name).write_bytes(bad[name][0])
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_bytes(b"")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Callable[[int], Path]:
    """Make a folder of that many readable pictures."""

    def make(count: int) -> Path:
        folder = tmp_path / "many"
        folder.mkdir()
        for number in range(count):
            content = encoded(picture(number), "JPEG")
            (folder / f"{number:03d}.jpg").write_bytes(content)
        return folder

    return make


def tiny_backbone(view: str = "crop", mirror: bool = False, grid: int | None = None) -> Backbone:
    """Random features of 6 values from 8x8 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    preprocessing = Preprocessing(resize=10, crop=8, view=view, mirror=mirror)
    return Backbone("tiny", module.eval(), preprocessing, "random", grid=grid)


@pytest.fixture
def tiny_net() -> Callable[..., Backbone]:
    return tiny_backbone
