"""Training steps beside the time of their matrix products, and encoding beside torch's modules.

    python -m benchmarks.encoders                      # on Flickr8k's captions, where they lie
    python -m benchmarks.encoders --encoder bow gru --dim-image 1280 --steps 20
    python -m benchmarks.encoders --threads 1          # CPU time of one thread: for a busy machine

The floor of a step is the time of its matrix products, forward and backward, by `torch.mm` on the
same shapes: word vectors and states of all positions, images, and the scores of the loss. Steps and
floors take turns batch by batch, so that a machine that is busy elsewhere slows both. With several
threads it slows the one with more hand-overs between them most: measure those on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vse_exp.data.buckets import LengthBuckets
from vse_exp.losses.hinge import HingeLoss
from vse_exp.models.bow import BagOfWords
from vse_exp.models.feature_encoders import LinearImageEncoder
from vse_exp.models.rnn import GRU, LSTM, Recurrent
from vse_exp.models.vse import VSE
from vse_exp.models.words import WordEncoder
from vse_exp.text.vocabulary import TokenizedCaptions, Vocabulary

MAKERS: dict[str, Any] = {"bow": BagOfWords, "gru": GRU, "lstm": LSTM}
BATCH, DIM, DIM_WORD = 128, 1024, 300
BLOCK = 5000
"""Captions that are encoded at a time."""
ENCODERS = ("gru", "lstm", "bow")
TRAINING = "training step"


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and return rows: benchmark, case, ours, reference, ratio, unit, notes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoders")
    parser.add_argument("--encoder", nargs="+", default=ENCODERS, choices=ENCODERS)
    parser.add_argument("--dim-image", type=int, nargs="+", default=[4096, 1280])
    parser.add_argument("--steps", type=int, default=15, help="of each kind")
    parser.add_argument("--captions", type=int, nargs="+", default=[5000], help="to encode")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    captions = flickr8k_captions()
    vocabulary = Vocabulary.build(captions)
    tokenized = vocabulary.encode(captions)
    rows: list[dict[str, Any]] = []

    def report(case: str, ours: float, reference: float, notes: str) -> None:
        row = {"benchmark": "encoders", "case": case, "ours": ours, "reference": reference}
        rows.append(row | {"ratio": ours / reference, "unit": "captions/s", "notes": notes})
        print(f"{case:44} {ours:10.0f} {reference:10.0f} {ours / reference:8.3f}  {notes}")

    print(f"{'case':44} {'ours':>10} {'reference':>10} {'ratio':>8}")
    for encoder in options.encoder:
        for dim_image in options.dim_image:
            _training(report, encoder, dim_image, vocabulary, tokenized, options.steps)
    for encoder in options.encoder:
        for count in options.captions:
            many = (captions * -(-count // len(captions)))[:count]
            _encoding(report, encoder, vocabulary, many)
    return rows


def flickr8k_captions() -> list[str]:
    """Training captions of Flickr8k, or as many random ones of about the same lengths."""
    file = Path(os.environ.get("VSE_DATA_DIR", "data")) / "f8k" / "f8k_train_caps.txt"
    if file.is_file():
        return file.read_text(encoding="utf-8").splitlines()
    random = np.random.default_rng(0)
    lengths = random.normal(11.8, 3.8, size=30_000).clip(3, 35).astype(int)
    words = random.zipf(1.3, size=int(lengths.sum())) % 8000
    ends = lengths.cumsum()
    return [
        " ".join(map(str, words[end - size : end])) for end, size in zip(ends, lengths, strict=True)
    ]


def build(encoder: str, dim_image: int, vocabulary: Vocabulary, **options: Any) -> VSE:
    return VSE(
        vocabulary,
        dim_image,
        encoder=MAKERS[encoder],
        image_encoder=LinearImageEncoder,
        **{"dim": DIM, **options},
    )


@dataclass
class Step:
    """A training step: forward, loss, backward, and the optimiser where there is one."""

    model: VSE
    optimizer: torch.optim.Optimizer | None = None

    def __call__(self, tokens: Tensor, images: Tensor, lengths: Tensor | None = None) -> None:
        self.model.zero_grad()
        captions = self.model.embed_captions(tokens, lengths)
        loss = HingeLoss()(self.model.embed_images(images), captions)
        loss.backward()
        if self.optimizer is not None:
            self.optimizer.step()


def _training(
    report: Callable[..., None],
    encoder: str,
    dim_image: int,
    vocabulary: Vocabulary,
    tokenized: TokenizedCaptions,
    steps: int,
) -> None:
    torch.manual_seed(0)
    model = build(encoder, dim_image, vocabulary)
    assert isinstance(model.sentence_encoder, WordEncoder)
    model.sentence_encoder.embedding.sparse = True  # as LazyAdam sets it
    dense = build(encoder, dim_image, vocabulary)
    kinds: dict[str, Callable[[Tensor, Tensor], None]] = {
        "bare": Step(model),
        "dense gradients": Step(dense),
        "dense gradients, fused Adam": Step(
            dense, torch.optim.Adam(dense.parameters(), lr=2e-4, fused=True)
        ),
    }
    if encoder != "bow":
        plain = build(encoder, dim_image, vocabulary)
        by_torch = plain.sentence_encoder
        assert isinstance(by_torch, Recurrent)
        by_torch.on_cpu_in_full_precision = lambda: False
        kinds[f"torch's own nn.{encoder.upper()}"] = Step(plain)
    sampler = LengthBuckets(
        tokenized.lengths, np.arange(len(tokenized)) // 5, BATCH, bucket_width=1
    )
    batches = [batch for batch in sampler if len(batch) > BATCH // 2][: steps + 2]
    seconds: dict[str, list[float]] = {kind: [] for kind in ("floor", *kinds)}
    sizes = []
    for number, batch in enumerate(batches):
        tokens, _ = tokenized.batch(batch)
        images = nn.functional.normalize(torch.randn(len(batch), dim_image), dim=1)
        runs = {"floor": Floor(encoder, tokens.shape, dim_image)}
        runs |= {kind: partial(step, tokens, images) for kind, step in kinds.items()}
        times = {kind: _seconds(run) for kind, run in runs.items()}
        if number < 2:  # warm-up
            continue
        sizes.append(len(batch))
        for kind, time_taken in times.items():
            seconds[kind].append(time_taken)
    floor = sum(sizes) / sum(seconds["floor"])
    flops = sum(Floor(encoder, tokenized.batch(b)[0].shape, dim_image).flops for b in batches[2:])
    for kind in kinds:
        shares = [ours / own for ours, own in zip(seconds["floor"], seconds[kind], strict=True)]
        share = median(shares)
        note = f"{kind}; reference: the floor, {1e-9 * flops / sum(seconds['floor']):.0f} GFLOP/s"
        report(f"{TRAINING} {encoder}, {dim_image}-d images", share * floor, floor, note)


class Floor:
    """The matrix products of a training step, on random numbers."""

    def __init__(self, encoder: str, shape: Sequence[int], dim_image: int, dim: int = DIM) -> None:
        batch, longest = shape
        self.products: list[tuple[Tensor, Tensor]] = []
        self.flops = 0
        self._map(batch, dim_image, dim, into_input=False)
        # scores of the loss
        self._map(batch, dim, batch)
        if encoder == "bow":
            return
        gates = (3 if encoder == "gru" else 4) * dim
        self._map(batch * longest, DIM_WORD, gates)
        for _ in range(longest):
            self._product(batch, dim, gates)
            self._product(batch, gates, dim)
        self._product(gates, batch * longest, dim)

    @classmethod
    def of_encoding(cls, encoder: str, words: int) -> Floor:
        """Only what encoding so many words needs, in batches of 1,024."""
        floor = cls.__new__(cls)
        floor.products, floor.flops = [], 0
        gates = (3 if encoder == "gru" else 4) * DIM
        for _ in range(words // 1024 if encoder != "bow" else 0):
            floor._product(1024, DIM_WORD, gates)
            floor._product(1024, DIM, gates)
        return floor

    def _map(self, rows: int, size: int, out: int, into_input: bool = True) -> None:
        """A linear map forward, and backward to its weights and its input."""
        self._product(rows, size, out)
        self._product(out, rows, size)
        if into_input:
            self._product(rows, out, size)

    def _product(self, rows: int, inner: int, columns: int) -> None:
        self.flops += 2 * rows * inner * columns
        self.products.append((_numbers(rows, inner), _numbers(inner, columns)))

    def __call__(self) -> None:
        for left, right in self.products:
            torch.mm(left, right)


_POOL: dict[tuple[int, int], Tensor] = {}


def _numbers(rows: int, columns: int) -> Tensor:
    """Random numbers; the same for each product of that shape, as weights are in a step."""
    if (rows, columns) not in _POOL:
        _POOL[rows, columns] = torch.randn(rows, columns)
    return _POOL[rows, columns]


def _encoding(
    report: Callable[..., None], encoder: str, vocabulary: Vocabulary, captions: list[str]
) -> None:
    """`encode_sentences` beside batches of 128 of a length through torch's module, and the floor.

    In blocks, as a stream; the references work on the first ones.
    """
    torch.manual_seed(0)
    model = build(encoder, 8, vocabulary).eval()
    ours, plain, floor, done = [], [], [], 0
    for number, start in enumerate(range(0, len(captions), BLOCK)):
        part = captions[start : start + BLOCK]
        ours.append(_seconds(partial(model.encode_sentences, part)))
        if number < 3:
            done += len(part)
            plain.append(_seconds(partial(encode_plainly, model, part)))
            words = int(vocabulary.encode(part).lengths.sum())
            floor.append(_seconds(Floor.of_encoding(encoder, words)))
    speed, case = len(captions) / sum(ours), f"encode {len(captions):,} captions, {encoder}"
    report(case, speed, done / sum(plain), "reference: batches of 128 through torch's module")
    if encoder != "bow":
        report(case, speed, done / sum(floor), "reference: the floor, all positions")


@torch.inference_mode()
def encode_plainly(model: VSE, captions: list[str]) -> np.ndarray:
    """As the original does it: batches of 128 captions of one length."""
    tokenized = model.vocabulary.encode(captions)
    rows = np.empty((len(captions), DIM), dtype=np.float32)
    encoder = model.sentence_encoder
    assert isinstance(encoder, WordEncoder)
    for length in np.unique(tokenized.lengths):
        members = np.flatnonzero(tokenized.lengths == length)
        for start in range(0, len(members), BATCH):
            chosen = members[start : start + BATCH]
            words = encoder.embedding(tokenized.batch(chosen)[0])
            if isinstance(encoder, Recurrent):
                vectors = encoder.recurrence(words)[0][:, -1]
            else:
                vectors = words.sum(1)
            rows[chosen] = nn.functional.normalize(vectors, dim=1).numpy()
    return rows


def _seconds(run: Callable[[], Any]) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return clock() - start


if __name__ == "__main__":
    main()
