"""Per-query ranks on disk: what two runs are compared by."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vse_exp.errors import UserError
from vse_exp.files import atomic_path

if TYPE_CHECKING:
    from vse_exp.evaluation.protocols import Evaluation

KEYS = ("annotation_ranks", "search_ranks", "caption_image")


@dataclass(frozen=True)
class Ranks:
    """0-based ranks int64: of images (n_images,) and of captions (n_captions,), and their map."""

    annotation: np.ndarray
    search: np.ndarray
    caption_image: np.ndarray
    protocol: str = ""

    @classmethod
    def of(cls, evaluation: Evaluation) -> Ranks:
        """Those of an evaluation."""
        return cls(
            evaluation.annotation_ranks.numpy(),
            evaluation.search_ranks.numpy(),
            evaluation.caption_image.numpy(),
            evaluation.protocol,
        )

    def __post_init__(self) -> None:
        mapping, n_images = self.caption_image, len(self.annotation)
        if len(self.search) != len(mapping):
            raise UserError(
                f"{len(self.search)} search ranks and a caption_image of {len(mapping)} rows do "
                "not fit: both have one entry a caption."
            )
        counts = np.bincount(mapping, minlength=n_images) if mapping.min(initial=0) >= 0 else []
        if not len(mapping) or len(counts) != n_images or not np.all(counts):
            raise UserError(
                f"caption_image does not map captions onto the {n_images} images that have "
                "annotation ranks: write the ranks again with `python -m vse_exp.evaluate`."
            )


def write_ranks(
    path: str | os.PathLike[str], evaluation: Evaluation, protocol: str | None = None
) -> None:
    """Write the ranks of an evaluation as `.npz`, with its protocol or the one given."""
    with atomic_path(Path(path).with_suffix(".npz")) as temporary:
        np.savez(
            temporary,
            annotation_ranks=evaluation.annotation_ranks.numpy(),
            search_ranks=evaluation.search_ranks.numpy(),
            caption_image=evaluation.caption_image.numpy(),
            protocol=np.array(evaluation.protocol if protocol is None else protocol),
        )


def read_ranks(path: str | os.PathLike[str], split: str = "test") -> Ranks:
    """Ranks of a `.npz` file, or of `{split}_ranks.npz` in a run folder. UserError otherwise."""
    path = Path(path)
    file = path / f"{split}_ranks.npz" if path.is_dir() else path
    if not file.is_file():
        raise UserError(
            f"No ranks {file}: write them with `python -m vse_exp.evaluate checkpoint=… "
            f"split={split} ranks={file}`."
        )
    try:
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            missing = [key for key in KEYS if key not in arrays.files]
            if missing:
                raise UserError(f"{file} holds no {', '.join(missing)}: it is no file of ranks.")
            annotation, search, caption_image = (arrays[key] for key in KEYS)
            protocol = str(arrays["protocol"]) if "protocol" in arrays.files else ""
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{file} is no complete .npz file of ranks: write it again.") from error
    for key, array in zip(KEYS, (annotation, search, caption_image), strict=True):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise UserError(
                f"{key} in {file} is {array.dtype} of shape {array.shape}, and should be whole "
                "numbers in one dimension."
            )
    return Ranks(
        annotation.astype(np.int64),
        search.astype(np.int64),
        caption_image.astype(np.int64),
        protocol,
    )
