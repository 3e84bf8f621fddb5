"""From a decoded picture to what a backbone takes: views cut in uint8, normalised on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vse_exp.errors import UserError

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
VIEWS = ("crop", "ten_crop", "squash")
_LONGEST = 16
"""Pictures more than so many times as long as wide are cut to that first, about their middle:
a 1x10000 strip would be resized to millions of pixels."""


class Preparation(Protocol):
    """How a model has pictures made into what it takes. It travels to worker processes."""

    @property
    def squares(self) -> bool:
        """Whether it is a Preprocessing, whose squares can be kept and varied."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """That of a row, as far as it is always the same."""
        ...

    def prepare(self, pictures: Sequence[Image.Image]) -> Any:
        """A batch of RGB pictures for the model: a tensor (B, …), or what else has a `to`."""
        ...


@dataclass(frozen=True)
class Preprocessing:
    """How pictures are resized, cut and normalised. `mean` and `std` are in pixel values 0..255."""

    resize: int
    """Length of the shorter side after resizing (`view` crop and ten_crop)."""
    crop: int
    """Side of the square that the backbone gets."""
    interpolation: str = "bilinear"
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    """Subtracted from each channel, in the order red, green, blue."""
    std: tuple[float, ...] = (58.395, 57.12, 57.375)
    """Divides each channel after that."""
    bgr: bool = False
    """The backbone takes blue first (`mean` and `std` stay red first)."""
    view: str = "crop"
    """`crop`: the middle. `ten_crop`: middle and corners, also mirrored; the features are averaged.
    `squash`: the whole picture squeezed into the square."""
    mirror: bool = False
    """Each view also mirrored, left for right; these come behind the others."""

    @property
    def squares(self) -> bool:
        return True

    def __post_init__(self) -> None:
        if self.view == "frame":  # its name in records and commands of before
            object.__setattr__(self, "view", "squash")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """From what `to_dict` gave."""
        given = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**dict[str, Any](given))

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def changed(self, changes: Mapping[str, Any]) -> Preprocessing:
        """The same with the keys in `changes` that are not None. UserError for impossible ones.

        `size` stands for `crop`, with `resize` in the proportion that it had.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        size = given.pop("size", None)
        if size is not None:
            given.setdefault("crop", size)
            given.setdefault("resize", round(size * self.resize / self.crop))
        known = {field.name for field in fields(self)}
        for key in given:
            if key not in known:
                raise UserError(
                    f"Unknown key transform.{key}: known are size, {', '.join(sorted(known))}."
                )
        for key in ("mean", "std"):
            if key in given:
                given[key] = _channels(key, given[key])
        result = replace(self, **given)
        result._check()
        return result

    def _check(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            raise UserError(
                f"Unknown transform.interpolation={self.interpolation}: choose one of "
                f"{', '.join(INTERPOLATIONS)}."
            )
        if self.view not in VIEWS:
            raise UserError(f"Unknown view={self.view}: choose one of {', '.join(VIEWS)}.")
        if self.mirror and self.view == "ten_crop":
            raise UserError("view=ten_crop has mirrored views already: set mirror=false.")
        if not 1 <= self.crop <= 4096 or (self.view != "squash" and not self.crop <= self.resize):
            raise UserError(
                f"transform.crop={self.crop} must lie between 1 and transform.resize="
                f"{self.resize}, which must not pass 4096."
            )
        if self.resize > 4096:
            raise UserError(f"transform.resize={self.resize} must not pass 4096.")
        if any(value <= 0 for value in self.std):
            raise UserError(f"transform.std={list(self.std)} must be above zero.")
        if max(self.mean) <= 1 and max(self.std) <= 1:
            raise UserError(
                "transform.mean and transform.std are in pixel values 0 to 255: multiply those of "
                "a 0-to-1 range by 255."
            )

    @property
    def n_views(self) -> int:
        """Views a picture."""
        return 10 if self.view == "ten_crop" else 1 + self.mirror

    def mirrored(self, number: int) -> bool:
        """Whether view `number`, 0-based, is a mirrored one."""
        return number >= self.n_views / 2 and self.n_views > 1

    @property
    def shape(self) -> tuple[int, ...]:
        return (3, self.crop, self.crop)

    def prepare(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Pictures uint8 (B, 3, crop, crop)."""
        return torch.cat([self.views_of(picture) for picture in pictures])

    def views_of(self, image: Image.Image) -> Tensor:
        """The views of an RGB picture, uint8 (views, 3, crop, crop)."""
        cut = self._cut(image)
        if self.mirror:
            cut = np.concatenate([cut, cut[:, :, ::-1]])
        return torch.from_numpy(np.ascontiguousarray(cut.transpose(0, 3, 1, 2)))

    def _cut(self, image: Image.Image) -> np.ndarray:
        method = INTERPOLATIONS[self.interpolation]
        if self.view == "squash":
            return np.asarray(image.resize((self.crop, self.crop), method))[None]
        pixels = np.asarray(resize_shorter(image, self.resize, method))
        if self.view == "crop":
            return center_crop(pixels, self.crop)[None]
        return np.stack([*self._five(pixels), *self._five(pixels[:, ::-1])])

    def _five(self, pixels: np.ndarray) -> list[np.ndarray]:
        """The corners and the middle of (H, W, 3)."""
        size = self.crop
        upper, lower = pixels[:size], pixels[-size:]
        corners = [upper[:, :size], upper[:, -size:], lower[:, :size], lower[:, -size:]]
        return [*corners, center_crop(pixels, size)]

    def normalize(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 or float (…, 3, H, W) in 0..255 to the float values the backbone takes."""
        return normalize_pixels(pixels, self.mean, self.std, self.bgr)


def normalize_pixels(
    pixels: Tensor, mean: Sequence[float], std: Sequence[float], bgr: bool = False
) -> Tensor:
    """`(pixels - mean) / std` by channel of (…, 3, H, W), with the channels turned for `bgr`."""
    pixels = pixels.float()
    values = (pixels - _by_channel(mean, pixels)) / _by_channel(std, pixels)
    return values.flip(-3) if bgr else values


def _by_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """(3, 1, 1), made where `like` lies: a copy from the host would keep a GPU waiting."""
    return torch.stack([like.new_full((1, 1), value) for value in values])


def resize_shorter(image: Image.Image, size: int, method: Image.Resampling) -> Image.Image:
    """Resize so that the shorter side is `size`; the longer one is rounded down (torchvision's)."""
    image = _not_too_long(image)
    width, height = image.size
    if width <= height:
        return image.resize((size, int(size * height / width)), method)
    return image.resize((int(size * width / height), size), method)


def center_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """The middle square of (H, W, 3); half pixels are rounded as torchvision's."""
    top = round((pixels.shape[0] - size) / 2.0)
    left = round((pixels.shape[1] - size) / 2.0)
    return pixels[top : top + size, left : left + size]


def _not_too_long(image: Image.Image) -> Image.Image:
    width, height = image.size
    longest = _LONGEST * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))


def _channels(key: str, value: Any) -> tuple[float, ...]:
    values = [value] * 3 if isinstance(value, (int, float)) else list(value)
    if len(values) != 3 or not all(isinstance(number, (int, float)) for number in values):
        raise UserError(f"transform.{key}={value} must be one number, or one each for R, G, B.")
    return tuple(float(number) for number in values)
