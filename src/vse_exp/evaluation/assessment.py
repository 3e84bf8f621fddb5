"""All that can be asked of a model on a split, or of vectors: figures, and tables for people."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from torch import Tensor

from vse_exp.alive import doing
from vse_exp.data.layouts import Split
from vse_exp.errors import UserError
from vse_exp.evaluation import tables
from vse_exp.evaluation.choices import Choice, answer_questions, order_tests, read_questions
from vse_exp.evaluation.eccv import coco_ids, eccv_applies, eccv_metrics
from vse_exp.evaluation.embed import embed_split
from vse_exp.evaluation.evaluator import Judged, open_bank
from vse_exp.evaluation.judgements import agreement, read_judgements
from vse_exp.evaluation.keys import Asked
from vse_exp.evaluation.languages import by_language, translations
from vse_exp.evaluation.metrics import EVERY, STANDARD, Metric
from vse_exp.evaluation.neighbours import hubness
from vse_exp.evaluation.protocols import Evaluation
from vse_exp.evaluation.published import evaluate_as
from vse_exp.evaluation.relevance import Ids, read_relevance
from vse_exp.evaluation.rerank import find_rerank
from vse_exp.evaluation.statistics import bootstrap_intervals
from vse_exp.files import write_json, write_text
from vse_exp.models.dual import DualEncoder
from vse_exp.parts import build


@dataclass(frozen=True)
class Assessment:
    """What was found: `figures` for a file, `tables` and `notes` for people."""

    result: Evaluation
    protocol: str
    figures: dict[str, Any]
    tables: list[Table]
    notes: list[str]


def assess(asked: Asked, judged: Judged, data: Mapping[str, Any], name: str) -> Assessment:
    """Rank the split of `judged` (`name`, of the config `data`) and answer all that is `asked`.

    UserError for files that are missing or of other images, and for what a protocol has not.
    """
    model, split, _, source = judged
    bank = asked.bank and open_bank(asked.bank, model, data)
    coco = _coco_ids(asked, data["name"], split)
    images, captions = embed_split(model, split)
    doing("ranking")
    ids = Ids.of(split.image_names, split.caption_image)
    result = evaluate_as(
        asked.protocol,
        images,
        captions,
        split.caption_image,
        split.captions,
        metrics=_chosen(asked.metrics),
        similarity=model.similarity,
        n_images=asked.n_images,
        rerank=asked.rerank and find_rerank(asked.rerank, bank or None),
        relevance=asked.relevance and read_relevance(asked.relevance, ids, split.caption_image),
    )
    protocol = f"{source}, {result.protocol}"
    if asked.relevance:
        protocol += f", right answers of {Path(asked.relevance).name} too"
    figures: dict[str, Any] = dict(result.metrics)
    rows, notes = {name: result.metrics}, [protocol]
    if asked.intervals:
        figures["intervals"] = bootstrap_intervals(result.ranks, metrics=result.reported)
        for side, heading in enumerate(("from", "to")):
            rows[heading] = {key: pair[side] for key, pair in figures["intervals"].items()}
        notes.append("from, to: 95 % bootstrap intervals over images")
    if asked.hubness:
        found = hubness(images, captions, similarity=model.similarity)
        figures |= found
        notes.append(f"hubness: captions {found['aHubness']:.2f}, images {found['sHubness']:.2f}")
    shown = [tables.results_table(rows)]
    if further := tables.further_table(result.metrics, figures.get("intervals", {})):
        shown.append(further)
    if coco is not None:
        of_coco = eccv_metrics(images, captions, *coco, model.similarity)
        figures |= of_coco
        shown.append(tables.eccv_table(of_coco))
    for title, table, values in _answers(asked, model, split, ids, images, captions):
        figures[title] = values
        shown.append(table)
    return Assessment(result, protocol, figures | {"protocol": protocol}, shown, notes)


def _chosen(wanted: str | list[dict[str, Any]]) -> Sequence[Metric]:
    """Metrics by name: standard, all, or the standard ones and a list of one's own."""
    if isinstance(wanted, str):
        return STANDARD if wanted == "standard" else EVERY
    own = enumerate(wanted)
    return (*STANDARD, *(build(node, where=f"metrics[{i}]") for i, node in own))


def _coco_ids(asked: Asked, name: str, split: Split) -> tuple[np.ndarray, np.ndarray] | None:
    """What ECCV Caption's figures need, where they are asked for or can be had unasked."""
    unasked = asked.eccv is None and asked.rerank is None and eccv_applies(name, split)
    if not asked.eccv and not unasked:
        return None
    try:
        return coco_ids(split)
    except UserError as error:
        if asked.eccv:
            raise
        print(f"No figures of ECCV Caption (eccv=false says nothing): {error}", file=sys.stderr)
        return None


def _answers(
    asked: Asked,
    model: DualEncoder,
    split: Split,
    ids: Ids,
    images: Tensor,
    captions: Tensor,
) -> Iterator[tuple[str, Table, dict[str, Any]]]:
    """Names, tables and figures of what is asked beside recalls."""
    similarity, encode = model.similarity, model.encode_sentences
    paths = [asked.judgements] if isinstance(asked.judgements, str) else asked.judgements or []
    for path in paths:
        judgements = read_judgements(path, ids, split.caption_image)
        figures, intervals = agreement(
            judgements, images, captions, similarity, 1000 if asked.intervals else 0
        )
        table = tables.agreement_table(figures, intervals, judgements.describe())
        yield judgements.kind, table, figures | {"intervals": intervals}
    languages = split.languages or []
    if len(set(languages)) > 1:
        of = split.caption_image, languages, similarity
        each = by_language(images, captions, *of)
        yield "languages", tables.results_table(each, "each language, the whole split"), each
        if across := translations(captions, *of):
            yield "translations", tables.translation_table(across), across
    if asked.order:
        found = order_tests(
            images, captions, split.captions, split.caption_image, encode, similarity
        )
        title = "captions against themselves changed"
        yield "order", tables.choice_table(found, title), _plain(found)
    own = split.files.choices
    if path := asked.choices or (own if own.is_file() else None):
        questions = read_questions(path, ids.images)
        found = answer_questions(questions, images, encode, similarity)
        yield "choices", tables.choice_table(found, Path(path).name), _plain(found)


def _plain(found: Mapping[str, Choice]) -> dict[str, Any]:
    return {name: asdict(one) for name, one in found.items()}


def write_figures(path: str | Path, figures: Mapping[str, Any]) -> None:
    """The figures of an assessment as `.json`, else as one row of `.csv`."""
    if Path(path).suffix == ".json":
        write_json(path, figures)
        return
    flat = dict(_flat(figures))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(flat), lineterminator="\n")
    writer.writeheader()
    writer.writerow(flat)
    write_text(path, text.getvalue())


def _flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of a row: `expert_tau_c`, `order_words_accuracy`, `aR@1_low` …"""
    for key, value in figures.items():
        if key == "intervals":
            for name, (low, high) in value.items():
                yield from ((f"{name}_low", low), (f"{name}_high", high))
        elif isinstance(value, Mapping):
            yield from _flat(value, before if key in ("expert", "crowd") else f"{before}{key}_")
        else:
            yield f"{before}{key}", value
