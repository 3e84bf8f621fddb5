"""What dashboards show beside curves: queries with their answers, ranks, the best model."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from vse_exp.data.layouts import Split
from vse_exp.errors import UserError
from vse_exp.evaluation.embed import embed_split
from vse_exp.evaluation.neighbours import best_captions, best_images
from vse_exp.evaluation.protocols import evaluate_embeddings
from vse_exp.files import write_text
from vse_exp.models.vse import VSE

log = logging.getLogger(__name__)

MODES = ("online", "offline", "disabled")
QUERIES = 16
TOP = 5


def wandb_logger(
    run_dir: str,
    mode: str,
    project: str,
    entity: str | None,
    name: str,
    group: str | None,
    job_type: str,
    tags: Sequence[str],
) -> WandbLogger:
    """A W&B run whose id is kept in the run folder, so that a resumed run draws on the same curves.

    Raises UserError for an unknown mode.
    """
    if mode not in MODES:
        raise UserError(f"Unknown logger.wandb.mode={mode}: choose one of {', '.join(MODES)}.")
    import wandb

    folder = Path(run_dir)
    id_file = folder / "wandb_id"
    if not id_file.is_file():
        write_text(id_file, secrets.token_hex(4))
    return WandbLogger(
        save_dir=str(folder),
        project=project,
        entity=entity,
        name=name.rpartition("/")[2],
        id=id_file.read_text().strip(),
        group=group,
        job_type=job_type,
        tags=list(tags),
        mode=mode,
        resume="allow",
        settings=wandb.Settings(silent=True),
    )


def finish_wandb(loggers: Sequence[Logger]) -> None:
    """End the W&B run, also after an error: else the next job of a sweep would write into it."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish()


def log_config(loggers: Sequence[Logger], config: dict[str, Any]) -> None:
    """The resolved config to every logger; the summaries of W&B are those of the best rsum."""
    for logger in loggers:
        logger.log_hyperparams(config)
        if isinstance(logger, WandbLogger):
            logger.experiment.define_metric("val/rsum", summary="max")
            logger.experiment.log_code(str(Path(__file__).resolve().parents[1]))


def log_answers(
    loggers: Sequence[Logger],
    model: VSE,
    split: Split,
    pictures: Callable[[int], Any] | None,
    best: Path,
    metrics: dict[str, float],
    step: int,
) -> None:
    """Tables of queries with their answers, rank histograms, and the best model as an artifact.

    `pictures(row)` gives the PIL picture of an image, where pictures are at hand.
    """
    shown = [one for one in loggers if isinstance(one, (WandbLogger, TensorBoardLogger))]
    if not shown:
        return
    images, captions = (torch.from_numpy(rows) for rows in embed_split([model], split))
    mapping = torch.from_numpy(split.caption_image)
    result = evaluate_embeddings(images, captions, mapping, similarity=model.config.similarity)
    annotation = annotation_rows(images, captions, split, model.config.similarity)
    search = search_rows(images, captions, split, model.config.similarity)
    for logger in shown:
        if isinstance(logger, WandbLogger):
            _to_wandb(logger, annotation, search, pictures, best, metrics)
            _wandb_histograms(logger, result.annotation_ranks, result.search_ranks)
        else:
            _to_tensorboard(logger, annotation, search, pictures, step)
            for name, ranks in (("a", result.annotation_ranks), ("s", result.search_ranks)):
                logger.experiment.add_histogram(f"ranks/{name}", ranks, step)


def _queries(count: int) -> Tensor:
    """Evenly spread rows."""
    return torch.linspace(0, count - 1, min(QUERIES, count)).long()


def annotation_rows(
    images: Tensor, captions: Tensor, split: Split, similarity: str
) -> list[list[Any]]:
    """Image row, then the TOP captions, each marked right or wrong with its score."""
    asked = _queries(len(images))
    scores, found = best_captions(images[asked], captions, TOP, similarity)
    return [
        [
            image,
            *(
                f"{_mark(split.caption_image[row] == image)} {split.captions[row]} ({score:.2f})"
                for row, score in zip(rows, values, strict=True)
            ),
        ]
        for image, rows, values in zip(asked.tolist(), found.tolist(), scores.tolist(), strict=True)
    ]


def search_rows(images: Tensor, captions: Tensor, split: Split, similarity: str) -> list[list[Any]]:
    """Caption, then the rows of the TOP images with a mark and score each."""
    asked = _queries(len(captions))
    scores, found = best_images(images, captions[asked], TOP, similarity)
    return [
        [
            split.captions[caption],
            *(
                (row, f"{_mark(split.caption_image[caption] == row)} {score:.2f}")
                for row, score in zip(rows, values, strict=True)
            ),
        ]
        for caption, rows, values in zip(
            asked.tolist(), found.tolist(), scores.tolist(), strict=True
        )
    ]


def _mark(right: bool) -> str:
    return "✓" if right else "✗"


def _to_wandb(
    logger: WandbLogger,
    annotation: list[list[Any]],
    search: list[list[Any]],
    pictures: Callable[[int], Any] | None,
    best: Path,
    metrics: dict[str, float],
) -> None:
    import wandb

    def picture(row: int, caption: str = "") -> Any:
        if pictures is None:
            return f"image {row} {caption}".strip()
        return wandb.Image(pictures(row), caption=caption)

    columns = [f"{place}." for place in range(1, TOP + 1)]
    logger.log_table(
        "answers/annotation",
        columns=["image", *columns[: len(annotation[0]) - 1]],
        data=[[picture(row), *answers] for row, *answers in annotation],
    )
    logger.log_table(
        "answers/search",
        columns=["caption", *columns[: len(search[0]) - 1]],
        data=[[caption, *(picture(*one) for one in found)] for caption, *found in search],
    )
    run = logger.experiment
    for name, value in metrics.items():
        run.summary[f"best/{name}"] = value
    artifact = wandb.Artifact(f"model-{run.id}", type="model", metadata=dict(metrics))
    artifact.add_file(str(best))
    run.log_artifact(artifact, aliases=["best"])


def _wandb_histograms(logger: WandbLogger, annotation: Tensor, search: Tensor) -> None:
    import wandb

    logger.experiment.log(
        {
            "ranks/annotation": wandb.Histogram(annotation.tolist()),
            "ranks/search": wandb.Histogram(search.tolist()),
        }
    )


def _to_tensorboard(
    logger: TensorBoardLogger,
    annotation: list[list[Any]],
    search: list[list[Any]],
    pictures: Callable[[int], Any] | None,
    step: int,
) -> None:
    writer = logger.experiment
    for number, (row, *answers) in enumerate(annotation):
        writer.add_text(f"answers/annotation/{number}", "\n\n".join(map(str, answers)), step)
        if pictures is not None:
            tensor = _picture_tensor(pictures(row))
            writer.add_image(f"answers/annotation/{number}", tensor, step)
    for number, (caption, *found) in enumerate(search):
        lines = [caption, *(f"image {row}: {mark}" for row, mark in found)]
        writer.add_text(f"answers/search/{number}", "\n\n".join(lines), step)


def _picture_tensor(picture: Any) -> Tensor:
    from torchvision.transforms.functional import pil_to_tensor

    return pil_to_tensor(picture.convert("RGB"))
