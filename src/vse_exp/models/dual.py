"""What every model is to the commands: sentences and images in, rows of one space out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vse_exp.device import smaller
from vse_exp.errors import UserError
from vse_exp.images.pictures import given_images
from vse_exp.images.preprocessing import Preparation
from vse_exp.images.provenance import require_compatible
from vse_exp.images.rows import Images, require_finite
from vse_exp.images.weights import weights_hash
from vse_exp.progress import track
from vse_exp.runtime import Runtime
from vse_exp.similarity import Similarity


class Tokenized(Protocol):
    """Captions as a sentence encoder takes them."""

    @property
    def lengths(self) -> np.ndarray:
        """Tokens a caption, (n,)."""
        ...

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Some captions: ids (B, T), and what says where each ends (lengths, or a mask), or None
        where all are T long."""
        ...


AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class _Rows:
    """Embeddings as float32 on the CPU, by `embed`, which is given numbers of items: of all items
    of a batch at once, or in parts where the device's memory does not hold what that takes."""

    def __init__(self, embed: Callable[[Any], Tensor], what: str) -> None:
        self.embed, self.what = embed, what
        self.size: int | None = None

    def __call__(self, items: np.ndarray | range) -> Tensor:
        size = len(items) if self.size is None else min(self.size, len(items))
        return smaller(lambda size: self._in_parts(items, size), size, self.what)

    def _in_parts(self, items: np.ndarray | range, size: int) -> Tensor:
        parts = (items[start : start + size] for start in range(0, len(items), size))
        rows = torch.cat([self.embed(part).float().cpu() for part in parts])
        self.size = size
        return rows


class DualEncoder(nn.Module):
    """An encoder of sentences and one of images into a common space of `dim` values.

    A model of one's own gives `dim`, `similarity`, and either `tokenize`, `embed_captions` and
    `embed_images`, which are called batch by batch, or `encode_sentences` and `image_blocks`
    themselves.
    """

    dim: int
    similarity: Similarity
    name: str = ""
    """What it was loaded from, as typed."""
    provenance: dict[str, Any] | None = None
    """How the features it was trained on were made; None where not known, and for pictures."""
    logit_scale: float | None = None
    """What training multiplied similarities with, where the model has learnt that."""
    encodes_anything = True
    """Whether it takes other sentences and images than those of one split."""
    runtime: Runtime = "torch"
    """What computes its rows."""
    autocast: torch.dtype | None = None
    """What it embeds in, under autocast; None: in float32 (`embed_in`)."""
    captions_at_once, features_at_once, pictures_at_once = 1024, 4096, 64

    @property
    def preprocessing(self) -> Preparation | None:
        """How pictures are resized and cut for a model that takes them; None: it takes features."""
        return None

    @property
    def takes_pictures(self) -> bool:
        """Whether its images are pictures instead of features."""
        return self.preprocessing is not None

    def tokenize(self, captions: Sequence[str]) -> Tokenized:
        raise NotImplementedError

    def embed_captions(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What `Tokenized.batch` gives, to rows (B, dim)."""
        raise NotImplementedError

    def embed_images(self, images: Any) -> Tensor:
        """What `Images.rows` gives, features or pictures, to rows (B, dim)."""
        raise NotImplementedError

    def embed_in(self, precision: str) -> None:
        """`32-true`, or under autocast `bf16-mixed` or `16-mixed`, as Lightning names them."""
        self.autocast = AUTOCAST[precision]

    def remember(self, captions: Sequence[str], cache: Path) -> None:
        """Told what it will be asked for, where reading can be spared by files in `cache`."""

    @torch.inference_mode()
    def encode_sentences(
        self, captions: Sequence[str], batch_size: int | None = None, verbose: bool = False
    ) -> np.ndarray:
        """Unit rows, float32 (n, dim), in the order of `captions`.

        Works through the captions sorted by length, so that no batch is padded by much; `verbose`
        shows progress.
        """
        if isinstance(captions, str):
            raise UserError("encode_sentences takes a list of captions: put the string in a list.")
        tokenized, size = self.tokenize(captions), batch_size or self.captions_at_once
        by_length = np.argsort(tokenized.lengths, kind="stable")
        result = np.empty((len(captions), self.dim), dtype=np.float32)
        device = self.device

        def embed(chosen: np.ndarray) -> Tensor:
            tokens, lengths = tokenized.batch(chosen)
            lengths = None if lengths is None else lengths.to(device)
            return self.embed_captions(tokens.to(device), lengths)

        rows = _Rows(embed, "captions")
        with self.evaluating():
            for start in track(range(0, len(captions), size), "encoding captions", verbose):
                chosen = by_length[start : start + size]
                result[chosen] = rows(chosen).numpy()
        return result

    @torch.inference_mode()
    def encode_images(
        self, images: Any, batch_size: int | None = None, verbose: bool = False
    ) -> np.ndarray:
        """Unit rows, float32 (n, dim), of image features (n, dim_image): an array, tensor or
        ImageFeatures. A memory-mapped array is read in blocks.

        A model that `takes_pictures` gets these instead: a list of open pictures, paths or contents
        of files, or an array (n, 3, side, side) in 0..255, cut as `preprocessing` says.
        `batch_size` None: 4096 features, or 64 pictures. Raises UserError for what does not fit the
        model, for pictures that cannot be read, and for NaN or Inf with the row.
        """
        images = given_images(images, self.preprocessing)
        result, done = np.empty((len(images), self.dim), dtype=np.float32), 0
        for rows in self.image_blocks(images, batch_size, verbose):
            result[done : done + len(rows)] = rows
            done += len(rows)
        return result

    @torch.inference_mode()
    def image_blocks(
        self, images: Images, batch_size: int | None = None, verbose: bool = False
    ) -> Iterator[np.ndarray]:
        """The rows of `encode_images`, block by block."""
        self.check_images(images)
        size = batch_size or self.images_at_once

        def embed(numbers: range) -> Tensor:
            given = images.rows(slice(numbers.start, numbers.stop))
            return self.embed_images(given.to(self.device))

        rows, numbers = _Rows(embed, "images"), range(len(images))
        with self.evaluating():
            for start in track(range(0, len(images), size), "encoding images", verbose):
                found = rows(numbers[start : start + size])
                require_finite(found, "Image features", images.first + start)
                yield found.numpy()

    @torch.inference_mode()
    def measured_dim(self) -> int:
        """Size of the rows, of a caption that is embedded."""
        with self.evaluating():
            return self.embed_captions(*self.tokenize(["a"]).batch(np.zeros(1, int))).shape[1]

    def check_images(self, images: Images) -> None:
        """UserError for images of another size or kind than the model takes."""
        if images.preprocessing != self.preprocessing:
            wanted = "pictures: give a list of them" if self.takes_pictures else "image features"
            raise UserError(f"{self.name or self.kind} takes {wanted}.")

    def check_features(
        self, record: dict[str, Any] | None, allow: bool, key: str = "allow_feature_mismatch"
    ) -> None:
        """UserError where features of this record are not made as those it was trained on; a
        warning if `allow`, the value of the config's `key`."""
        require_compatible(self.provenance, record, allow, key)

    def fingerprint(self) -> str:
        """SHA-256 over the names, shapes, types and values of all weights, in hexadecimal."""
        return weights_hash(self, "{name} {shape} {dtype}", counters=True)

    def describe(self) -> str:
        """Name, kind and size, for people."""
        size = sum(weights.numel() for weights in self.parameters())
        return f"{self.name} ({self.kind}, {size / 1e6:.1f} million parameters)"

    @property
    def images_at_once(self) -> int:
        return self.pictures_at_once if self.takes_pictures else self.features_at_once

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return type(self).__name__

    @property
    def device(self) -> torch.device:
        return next((weights.device for weights in self.parameters()), torch.device("cpu"))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """A context in which dropout is off, and of `autocast`; the mode before it is restored."""
        was_training, dtype = self.training, self.autocast
        self.eval()
        try:
            with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
                yield
        finally:
            self.train(was_training)
