"""The torchmetrics.Metric: any order, duplicates, and two processes against one."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vse_exp.errors import UserError
from vse_exp.evaluation.metrics import retrieval_metrics
from vse_exp.evaluation.ranks import retrieval_ranks
from vse_exp.evaluation.torchmetric import RetrievalMetric


def problem() -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    images = normalize(torch.randn(9, 8, generator=random))
    mapping = torch.cat([torch.arange(9), torch.randint(9, (14,), generator=random)])
    captions = normalize(images[mapping] + torch.randn(23, 8, generator=random) / 2)
    return images, captions, mapping


def expected() -> dict[str, float]:
    images, captions, mapping = problem()
    return retrieval_metrics(*retrieval_ranks(images, captions, mapping))


def feed(metric: RetrievalMetric, image_rows: Tensor, caption_rows: Tensor) -> None:
    images, captions, mapping = problem()
    for rows in image_rows.split(4):
        metric.update_images(images[rows], rows)
    for rows in caption_rows.split(5):
        metric.update_captions(captions[rows], rows, mapping[rows])


def test_any_order_and_duplicates() -> None:
    metric = RetrievalMetric()
    for _ in range(2):  # again after reset
        feed(metric, torch.randperm(9), torch.randperm(23))
        feed(metric, torch.tensor([0, 8, 3]), torch.tensor([22, 1, 1, 0]))
        assert metric.compute() == expected()
        metric.reset()


def test_both_sides_at_once_with_gaps_in_the_ids() -> None:
    images, captions, mapping = problem()
    metric = RetrievalMetric()
    metric.update(images.half(), torch.arange(9) * 10, captions, torch.arange(23), mapping * 10)
    found = metric.compute()
    exact = retrieval_ranks(images.half(), captions, mapping)
    assert found == retrieval_metrics(*exact)


def test_what_is_missing_is_told() -> None:
    metric = RetrievalMetric()
    with pytest.warns(UserWarning, match="before"), pytest.raises(UserError, match="No images"):
        metric.compute()
    feed(metric, torch.arange(8), torch.arange(23))
    with pytest.raises(UserError, match="image 8 were evaluated without it"):
        metric.compute()


def _process(rank: int, folder: str, shares: list) -> list[dict[str, float]]:
    """The metric of this process's share of each of several evaluations."""
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(minutes=3),
    )
    try:
        metric = RetrievalMetric()
        results = []
        for images, captions in shares:
            feed(metric, torch.tensor(images[rank]).long(), torch.tensor(captions[rank]).long())
            results.append(metric.compute())
            metric.reset()
        torch.distributed.barrier()  # gloo of torch 2.6 may wait for ever for one who has left
    finally:
        torch.distributed.destroy_process_group()
    return results


def _second_process(folder: str, shares: list) -> None:
    torch.set_num_threads(1)
    Path(folder, "second.json").write_text(json.dumps(_process(1, folder, shares)))


@pytest.mark.filterwarnings("ignore")  # a process that is given nothing is warned of it
def test_two_processes_see_what_one_sees(tmp_path: Path) -> None:
    everything = list(range(9)), list(range(23))
    shares = [
        # as a distributed sampler deals them, padded with duplicates
        [([0, 2, 4, 6, 8], [1, 3, 5, 7, 0]), (list(range(12)), [*range(12, 23), 0])],
        # unequal, and one process without images
        [([], everything[0]), (list(range(20)), [20, 21, 22])],
        # one process without anything
        [(everything[0], []), (everything[1], [])],
    ]
    second = torch.multiprocessing.get_context("forkserver").Process(
        target=_second_process, args=(str(tmp_path), shares)
    )
    second.start()
    try:
        found = _process(0, str(tmp_path), shares)
    finally:
        second.join(180)
    assert found == [expected()] * len(shares)
    assert json.loads((tmp_path / "second.json").read_text()) == found
