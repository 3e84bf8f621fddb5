"""`python -m vse_exp.evaluate`: recalls and ranks of a model; see conf/evaluate.yaml."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import verb
from vse_exp.cli.keys import Data, Device, Judging, judged
from vse_exp.errors import UserError
from vse_exp.files import write_json, write_text
from vse_exp.parts import Node
from vse_exp.schema import Size, Text, form

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from vse_exp.data.layouts import Split
    from vse_exp.evaluation.answers import Relevance
    from vse_exp.evaluation.metrics import Metric
    from vse_exp.models.dual import DualEncoder


class Evaluate(Judging):
    data: Data
    split: Text
    protocol: Literal["full", "folds", "first_n", "karpathy", "clip_benchmark", "mteb"]
    n_images: Size
    metrics: Literal["standard", "all"] | list[Node]
    relevance: Text | None
    judgements: Text | list[Text] | None
    order: bool
    choices: Text | None
    rerank: Literal["csls", "nnn", "inverted_softmax", "dual_softmax", "query_bank"] | None
    bank: Text | None
    intervals: bool
    hubness: bool
    eccv: bool | None
    output: Annotated[str, form(r"\.(json|csv)$", "a file that ends in .json or .csv")] | None
    ranks: Text | None
    device: Device


@verb("evaluate", Evaluate)
def main(cfg: DictConfig) -> None:
    from rich.console import Console

    from vse_exp.evaluation.eccv import eccv_metrics
    from vse_exp.evaluation.embed import embed_split
    from vse_exp.evaluation.evaluator import embed_bank, load_split_for, open_judged
    from vse_exp.evaluation.neighbours import hubness
    from vse_exp.evaluation.published import evaluate_as
    from vse_exp.evaluation.rank_files import write_ranks
    from vse_exp.evaluation.rerank import find_rerank
    from vse_exp.evaluation.statistics import bootstrap_intervals
    from vse_exp.evaluation.tables import eccv_table, further_table, results_table

    data: Any = OmegaConf.to_container(cfg.data, resolve=True)
    if cfg.bank is not None and cfg.rerank is None:
        raise UserError(f"bank={cfg.bank} is for re-ranking: say rerank=… too, or leave it out.")
    model, split, source = open_judged(judged(cfg), data, cfg.split, cfg.device, cfg.trust)
    bank = cfg.bank and embed_bank(
        model, load_split_for(model, data, cfg.bank), f"{cfg.data.name} {cfg.bank}"
    )
    ids = _coco_ids(cfg, split)
    images, captions = embed_split(model, split)
    similarity = model.similarity
    wanted = _metrics(cfg.metrics)
    result = evaluate_as(
        cfg.protocol,
        images,
        captions,
        split.caption_image,
        split.captions,
        metrics=wanted,
        similarity=similarity,
        n_images=cfg.n_images,
        rerank=cfg.rerank and find_rerank(cfg.rerank, bank),
        relevance=cfg.relevance and _relevance(cfg.relevance, split),
    )
    metrics: dict[str, Any] = dict(result.metrics)
    protocol = f"{source}, {result.protocol}"
    if cfg.relevance:
        protocol += f", right answers of {Path(cfg.relevance).name} too"
    rows = {cfg.split: result.metrics}
    if cfg.intervals:
        metrics["intervals"] = bootstrap_intervals(result.ranks, metrics=result.reported)
        for side, name in enumerate(("from", "to")):
            rows[name] = {key: pair[side] for key, pair in metrics["intervals"].items()}
    if cfg.hubness:
        metrics |= hubness(images, captions, similarity=similarity)
    console = Console()
    console.print(results_table(rows))
    if further := further_table(result.metrics, metrics.get("intervals", {})):
        console.print(further)
    if ids is not None:
        of_coco = eccv_metrics(images, captions, *ids, similarity)
        metrics |= of_coco
        console.print(eccv_table(of_coco))
    for name, table, figures in _further(cfg, model, split, images, captions):
        metrics[name] = figures
        console.print(table)
    notes = [protocol]
    if cfg.intervals:
        notes.append("from, to: 95 % bootstrap intervals over images")
    if cfg.hubness:
        notes.append(
            f"hubness: captions {metrics['aHubness']:.2f}, images {metrics['sHubness']:.2f}"
        )
    for note in notes:
        console.print(note, style="dim", highlight=False)
    if cfg.output is not None:
        _write(Path(cfg.output), metrics | {"protocol": protocol})
    if cfg.ranks is not None:
        write_ranks(cfg.ranks, result, protocol)


def _metrics(wanted: Any) -> Sequence[Metric]:
    """What `metrics` names: standard, all, or the standard ones and a list of one's own."""
    from vse_exp.evaluation.metrics import EVERY, STANDARD
    from vse_exp.parts import build

    if isinstance(wanted, str):
        return STANDARD if wanted == "standard" else EVERY
    nodes: Any = OmegaConf.to_container(wanted, resolve=True)
    return (*STANDARD, *(build(node, where=f"metrics[{i}]") for i, node in enumerate(nodes)))


def _relevance(path: str, split: Split) -> tuple[Relevance, Relevance]:
    from vse_exp.evaluation.relevance import Ids, read_relevance

    return read_relevance(path, Ids.of(split.image_names, split.caption_image), split.caption_image)


def _further(
    cfg: DictConfig, model: DualEncoder, split: Split, images: np.ndarray, captions: np.ndarray
) -> Iterator[tuple[str, Table, dict[str, Any]]]:
    """Names, tables and figures of what else was asked for."""
    from dataclasses import asdict

    from vse_exp.evaluation.choices import answer_questions, order_tests, read_questions
    from vse_exp.evaluation.judgements import agreement, read_judgements
    from vse_exp.evaluation.languages import by_language, translations
    from vse_exp.evaluation.relevance import Ids
    from vse_exp.evaluation.tables import (
        agreement_table,
        choice_table,
        results_table,
        translation_table,
    )

    similarity, encode = model.similarity, model.encode_sentences
    ids = Ids.of(split.image_names, split.caption_image)
    for path in [cfg.judgements] if isinstance(cfg.judgements, str) else cfg.judgements or []:
        judgements = read_judgements(path, ids, split.caption_image)
        figures, intervals = agreement(
            judgements, images, captions, similarity, 1000 if cfg.intervals else 0
        )
        table = agreement_table(figures, intervals, judgements.describe())
        yield judgements.kind, table, figures | {"intervals": intervals}
    languages = split.languages or []
    if len(set(languages)) > 1:
        of = split.caption_image, languages, similarity
        each = by_language(images, captions, *of)
        yield "languages", results_table(each, "each language, the whole split"), each
        if across := translations(captions, *of):
            yield "translations", translation_table(across), across
    if cfg.order:
        found = order_tests(
            images, captions, split.captions, split.caption_image, encode, similarity
        )
        results = {name: asdict(one) for name, one in found.items()}
        yield "order", choice_table(found, "captions against themselves changed"), results
    if cfg.choices is not None:
        questions = read_questions(cfg.choices, ids.images)
        found = answer_questions(questions, images, encode, similarity)
        results = {name: asdict(one) for name, one in found.items()}
        yield "choices", choice_table(found, str(cfg.choices)), results


def _coco_ids(cfg: DictConfig, split: Split) -> tuple[np.ndarray, np.ndarray] | None:
    """What ECCV Caption's figures need, where they are asked for or can be had unasked."""
    from vse_exp.evaluation.eccv import coco_ids, eccv_applies

    if cfg.eccv and cfg.rerank is not None:
        raise UserError("eccv=true is of scores as they are: leave out rerank, or eccv.")
    unasked = cfg.eccv is None and cfg.rerank is None and eccv_applies(cfg.data.name, split)
    if not cfg.eccv and not unasked:
        return None
    try:
        return coco_ids(split)
    except UserError as error:
        if cfg.eccv:
            raise
        print(f"No figures of ECCV Caption (eccv=false says nothing): {error}", file=sys.stderr)
        return None


def _write(path: Path, metrics: dict[str, Any]) -> None:
    if path.suffix == ".json":
        write_json(path, metrics)
    else:
        flat = dict(_flat(metrics))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(flat), lineterminator="\n")
        writer.writeheader()
        writer.writerow(flat)
        write_text(path, text.getvalue())


def _flat(metrics: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of a row: `expert_tau_c`, `order_words_accuracy`, `aR@1_low` …"""
    for key, value in metrics.items():
        if key == "intervals":
            for name, (low, high) in value.items():
                yield from ((f"{name}_low", low), (f"{name}_high", high))
        elif isinstance(value, dict):
            inner = before if key in ("expert", "crowd") else f"{before}{key}_"
            yield from _flat(value, inner)
        else:
            yield f"{before}{key}", value


if __name__ == "__main__":
    main()
