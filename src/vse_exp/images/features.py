"""Image features on disk: checked, memory-mapped, and read by rows."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor

from vse_exp.device import fits
from vse_exp.errors import UserError
from vse_exp.images.augmentation import Augmentation
from vse_exp.images.rows import Images

CHUNK_BYTES = 64 << 20


class ImageFeatures(Images):
    """Rows of image features, `(n_images, dim_image)` or `(n_images, n_regions, dim_image)`.

    `array` may be a memory map: rows are copied only when asked for. `repeats` says how many equal
    rows of `array` stand for each image (the original repeats an image's row for its captions).
    """

    def __init__(self, array: np.ndarray, repeats: int = 1, normalize: bool = False) -> None:
        self.array = array[::repeats]
        self.normalize = normalize
        self.preprocessing = None
        self.block_rows = _rows_of(CHUNK_BYTES, array)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dim(self) -> int:
        """Size of one feature vector, `dim_image`."""
        return self.array.shape[-1]

    def rows(self, indices: np.ndarray | slice) -> Tensor:
        """Features of the given images as float32; of unit norm where `normalize` is set."""
        return self.arrived(self.stored(indices))

    def stored(self, indices: np.ndarray | slice) -> Tensor:
        """The given rows as they are on disk, float32 or float16."""
        if isinstance(indices, slice):
            rows = np.array(self.array[indices])
        elif self.array.flags.c_contiguous:  # else it would first copy all
            rows = np.asarray(self.array).take(indices, 0)  # quicker than by []
        else:
            rows = np.asarray(self.array[indices])
        return torch.from_numpy(rows.astype(np.float32) if rows.itemsize > 4 else rows)

    def arrived(self, rows: Tensor) -> Tensor:
        rows = rows.float()
        return torch.nn.functional.normalize(rows, dim=-1) if self.normalize else rows

    def training(self, augmentation: Augmentation, seed: int) -> Images:
        return StoredFeatures(self)

    def load(self) -> ImageFeatures:
        """The same with all rows in memory, each image once."""
        return ImageFeatures(np.array(self.array), normalize=self.normalize)


class StoredFeatures(Images):
    """Features for training, which become float32 and of unit norm on its device."""

    def __init__(self, features: ImageFeatures) -> None:
        self.features = features

    @property
    def shape(self) -> tuple[int, ...]:
        return self.features.shape

    def rows(self, indices: np.ndarray | slice) -> Tensor:
        return self.features.stored(indices)

    def arrived(self, rows: Tensor) -> Tensor:
        return self.features.arrived(rows)

    def on_device(self, device: torch.device, share: float | None) -> Images | None:
        if share is not None and not fits(self.features.array.nbytes, device, share):
            return None
        return ResidentFeatures(self.features, device)


class ResidentFeatures(StoredFeatures):
    """Features that lie on a device: a batch brings the numbers of its rows there."""

    fetched = False

    def __init__(self, features: ImageFeatures, device: torch.device) -> None:
        super().__init__(features)
        dtype = features.stored(slice(0, 1)).dtype
        self.table = torch.empty(features.shape, dtype=dtype, device=device)
        for part in row_chunks(features.array):
            self.table[part] = features.stored(part).to(device)

    def rows(self, indices: np.ndarray | slice) -> Tensor:
        return torch.from_numpy(np.arange(len(self))[indices])

    def arrived(self, rows: Tensor) -> Tensor:
        return self.features.arrived(self.table.index_select(0, rows))


def _rows_of(size: int, array: np.ndarray) -> int:
    """How many rows of `array` take about `size` bytes."""
    return max(1, size // max(1, array.itemsize * int(np.prod(array.shape[1:]))))


def row_chunks(array: np.ndarray) -> list[slice]:
    """Slices over the rows of `array` of about CHUNK_BYTES each."""
    step = _rows_of(CHUNK_BYTES, array)
    return [slice(start, start + step) for start in range(0, len(array), step)]


def open_features(path: str | os.PathLike[str], single: bool = False) -> np.ndarray:
    """Memory-map a `.npy` of features; `single` also takes one vector, as one row.

    UserError: missing, truncated, wrong dtype or shape.
    """
    if not os.path.isfile(path):
        raise UserError(f"No feature file {path}: give a .npy with one row an image.")
    array = load_array(path)
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise UserError(
            f"{path} holds {array.dtype}, and features are float16, float32 or float64: convert it."
        )
    if single and array.ndim == 1:
        array = array[None]
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise UserError(
            f"{path} has shape {array.shape}, and features are (n_images, dim_image) or "
            "(n_images, n_regions, dim_image)."
        )
    return array


def load_array(path: str | os.PathLike[str]) -> np.ndarray:
    """Memory-map the array in a `.npy`, never by pickle. UserError where it is none."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"No file {path}: give a .npy.") from None
    except Exception as error:  # numpy reads the header as Python, and raises what that raises
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is no complete .npy file ({reason}): write it again.") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path} holds several arrays: give a .npy with one.")
    return array


def check_rows(array: np.ndarray, path: str | os.PathLike[str]) -> bool:
    """Check that all rows are finite and none is zero; return whether all have unit norm.

    UserError names the first bad row (0-based) of the file `path`.
    """
    unit = True
    # float16 keeps 11 bits: norms of unit rows are then off by up to some 1e-3
    tolerance = 5e-3 if array.dtype == np.float16 else 1e-3
    for part in row_chunks(array):
        vectors = torch.from_numpy(np.array(array[part], dtype=np.float32))
        norms = vectors.norm(dim=-1).reshape(len(vectors), -1)
        finite = norms.isfinite().all(1)
        if not bool(finite.all()):
            row = part.start + int((~finite).nonzero()[0])
            raise UserError(f"{path} row {row} holds NaN or Inf: make that row again.")
        empty = (norms == 0).all(1)
        if bool(empty.any()):
            row = part.start + int(empty.nonzero()[0])
            raise UserError(f"{path} row {row} is all zero: make that row again.")
        unit = unit and bool(((norms - 1).abs() < tolerance).all())
    return unit


def equal_runs(array: np.ndarray, size: int) -> bool:
    """Whether the rows of `array` are equal in consecutive groups of `size`."""
    step = max(1, _rows_of(CHUNK_BYTES, array) // size) * size
    for start in range(0, len(array), step):
        block = np.asarray(array[start : start + step])
        groups = block.reshape(len(block) // size, size, -1)
        if not np.array_equal(groups[:, 1:], np.broadcast_to(groups[:, :1], groups[:, 1:].shape)):
            return False
    return True
