"""Reading any image file as an upright 8-bit RGB picture, or saying in a few words why not."""

from __future__ import annotations

import functools
import io
import math
import os
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vse_exp.errors import UserError

MAX_PIXELS = 100_000_000
"""Pictures of more pixels are refused before they are decoded (decompression bombs)."""
MAX_BYTES = 256 << 20
"""Larger files are refused before they are read."""
FORMATS = tuple("AVIF BMP GIF ICO JPEG JPEG2000 PNG PPM TGA TIFF WEBP".split())
"""What Pillow may try, judged by content. Pixel formats only: no EPS, which starts a program."""

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .gif .bmp .webp .tif .tiff .avif .jp2 .ppm .pgm .tga".split()
)
"""By which files in folders and archives are taken for pictures."""


class UnreadableImage(Exception):
    """An image that cannot be used; the message is the reason, fit for a list."""


Picture = Image.Image | bytes | str | os.PathLike[str]
"""An open picture, the content of an image file, or its path."""


def open_picture(picture: Picture) -> Image.Image:
    """A picture in RGB. UserError where it cannot be read."""
    try:
        if isinstance(picture, Image.Image):
            return to_rgb(picture)
        content = picture if isinstance(picture, bytes) else read_image_file(picture)
        return decode_image(content)
    except UnreadableImage as error:
        shown = "" if isinstance(picture, (Image.Image, bytes)) else f" {picture}"
        raise UserError(f"Cannot read the picture{shown}: {error}.") from error


def is_picture_name(name: str) -> bool:
    """Whether a path is named like a picture and not hidden."""
    base = os.path.basename(name)
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in SUFFIXES


def read_image_file(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file; UnreadableImage where it is none, empty or too large."""
    path = Path(path)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableImage("not a regular file")
        check_size(found.st_size, max_bytes)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableImage("no such file") from error
    except (OSError, ValueError) as error:  # a NUL byte in a name is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableImage(reason.lower()) from error


def check_size(size: int, max_bytes: int = MAX_BYTES) -> None:
    """UnreadableImage for a file of no bytes or more than `max_bytes`."""
    if size <= 0:
        raise UnreadableImage("empty file")
    if size > max_bytes:
        raise UnreadableImage(f"file of {size} bytes, more than the {max_bytes} allowed")


def decode_image(
    content: bytes, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> Image.Image:
    """Decode an image file's content to RGB, turned upright as its EXIF data say.

    The first frame of an animation; transparency over white; 16-bit values scaled to 8 bits.
    Raises UnreadableImage for everything else, whatever the decoder made of it.
    """
    check_size(len(content))
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and odd metadata; sizes are checked here
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content), formats=_known(formats))
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise UnreadableImage(
                    f"{image.width}x{image.height} pixels, more than the {max_pixels} allowed"
                )
            image.load()
            return to_rgb(_upright(image))
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError as error:
        raise UnreadableImage("not an image file of a known format") from error
    except Image.DecompressionBombError as error:
        raise UnreadableImage(f"more pixels than the {max_pixels} allowed") from error
    except Exception as error:  # decoders raise whatever they like on damaged content
        raise UnreadableImage(_reason(error)) from error


def is_readable(content: bytes) -> bool:
    """Whether a file's content begins like a picture; nothing is decoded."""
    try:
        check_size(len(content))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(io.BytesIO(content), formats=_known(FORMATS))
    except Exception:  # decoders raise whatever they like
        return False
    return True


def to_rgb(image: Image.Image) -> Image.Image:
    """An open picture of any mode as 8-bit RGB; UnreadableImage for values of no known range."""
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


@functools.cache
def _known(formats: tuple[str, ...]) -> list[str]:
    Image.init()  # loads what this Pillow can read
    return [name for name in formats if name in Image.OPEN]


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF data say nothing about the pixels
        return image


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of 16 or 32 bits, or floats, scaled to 0..255 by the range they must have."""
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UnreadableImage("pixel values that are not finite")
    top = 65535.0
    if values.dtype.kind == "f":
        top = 1.0 if high <= 1 else 255.0
    elif values.dtype.itemsize > 2 and high <= 255:
        top = 255.0  # 8-bit values in wide integers
    if low < 0 or high > top:
        raise UnreadableImage(f"pixel values from {low:g} to {high:g}, of no known range")
    return np.round(values * (255.0 / top)).astype(np.uint8)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"damaged: {text[:200]}"
