"""A model exported: its folder, and the model card that says what it is and how good."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import vse_exp
from vse_exp.compat.loading import load_file
from vse_exp.errors import UserError
from vse_exp.evaluation.rank_files import read_ranks
from vse_exp.evaluation.statistics import bootstrap_intervals
from vse_exp.files import new_folder, read_json, write_json
from vse_exp.models.checkpoint import share_model
from vse_exp.models.onnx_export import write_onnx
from vse_exp.models.sharing import published
from vse_exp.models.towers.writing import write_library_folder
from vse_exp.models.vse import VSE
from vse_exp.pages.writing import markdown
from vse_exp.runs.folder import RunFolder, is_watched
from vse_exp.runs.reading import flatten, mapping_of, read_mapping
from vse_exp.similarity import Logit

FOLDER = {"vse_exp": "", "transformers": "hf:", "open_clip": "openclip:local-dir:"}
HUB = {"vse_exp": "hf:", "transformers": "hf:", "open_clip": "openclip:hf-hub:"}
"""What stands before the name of a folder, or of a repository, to load it."""
RECORD = "vse_exp.json"
"""What the card says, for programs; and by it a folder is known to be an export."""
COLUMNS = ("aR@1", "aR@5", "aR@10", "aMedr", "sR@1", "sR@5", "sR@10", "sMedr", "rsum")
TRAINING = {
    "data.name": "data set", "experiment": "recipe", "model.encoder._target_": "sentence encoder",
    "model.image_encoder._target_": "image encoder", "model.encoder.model": "started from",
    "loss._target_": "loss", "optimizer._target_": "optimiser", "lrate": "learning rate",
    "data.batch_size": "batch", "max_epochs": "epochs at most", "seed": "seed",
}  # fmt: skip
"""Keys of a run's config that the card tells, and what it calls them."""


def export_model(
    checkpoint: str,
    output: str,
    *,
    trust: Sequence[str] = (),
    as_library: bool = False,
    onnx: bool = False,
    results: Sequence[str] = (),
    licence: str | None = None,
    address: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the folder `output` of a model's file, adapters of low rank merged, with a card of what
    its run, and files of `evaluate` (`results`), recorded; returns it. `address`: the repository of
    the hub that it is for.

    UserError for files that are none of these, and where `output` exists.
    """
    model = load_file(checkpoint, trust=trust)
    model.merge_adapters()
    extra = model.recorded
    with new_folder(output, overwrite, mark=RECORD) as folder:
        if as_library:
            logit = extra.get("logit")
            library = write_library_folder(model, folder, Logit(**logit) if logit else None)
        else:
            library = "vse_exp"
            share_model(model, folder)
        if onnx:
            write_onnx(model, folder / "onnx")
        facts: dict[str, Any] = {**_facts(Path(checkpoint), extra), "license": licence}
        facts["figures"] += [_figures_of(one) for one in map(read_json, results)]
        facts = published(facts)
        write_json(folder / RECORD, {"version": 1, "vse_exp": vse_exp.__version__, **facts})
        name = address or Path(output).resolve().name
        where = HUB[library] if address else FOLDER[library]
        text = _card(model, name, where + name, library, facts)
        (folder / "README.md").write_text(text, encoding="utf-8")
        mode = (folder / RECORD).stat().st_mode
        for path in filter(Path.is_file, folder.iterdir()):
            path.chmod(mode)  # safetensors writes files for their owner alone
    return Path(output)


def _facts(checkpoint: Path, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a checkpoint's training, of itself and of its run's folder."""
    run = RunFolder(checkpoint.resolve().parent.parent)
    config = flatten(mapping_of(extra.get("config_yaml", "{}"), f"config_yaml in {checkpoint}"))
    facts: dict[str, Any] = {
        "source": checkpoint.name,
        "training": _told(config),
        "command": None,
        "figures": [],
    }
    if checkpoint.resolve() != run.best.resolve() or not run.config.is_file():
        if dev := extra.get("dev"):
            facts["figures"] = [_figures(dev, f"{config.get('data.name', 'data')} dev")]
        return facts
    overrides = run.overrides().items()
    asked = [published(f"{key}={value}") for key, value in overrides if not is_watched(key)]
    facts["command"] = shlex.join(["python", "-m", "vse_exp.train", *asked])
    about = read_mapping(run.about)
    facts["training"]["packages"] = ", ".join(
        f"{name} {version}" for name, version in about.get("packages", {}).items() if version
    )
    finished = run.finished() or {}
    for split in ("test", "dev"):
        if metrics := finished.get(split):
            protocol = metrics["protocol"]
            ranks = run.path / f"{split}_ranks.npz"
            intervals = bootstrap_intervals(read_ranks(ranks)) if ranks.is_file() else {}
            facts["figures"].append(_figures(metrics, protocol, intervals))
    return facts


def _told(config: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: config[key] for key, name in TRAINING.items() if config.get(key) is not None}
    # parts by the name of their class
    return {
        name: value.rpartition(".")[2] if isinstance(value, str) and name != "started from"
        else value for name, value in found.items()
    }  # fmt: skip


def _figures(
    metrics: Mapping[str, Any],
    protocol: str,
    intervals: Mapping[str, Sequence[float]] | None = None,
) -> dict[str, Any]:
    known = {key: metrics[key] for key in COLUMNS if key in metrics}
    within = {key: list(pair) for key, pair in (intervals or {}).items() if key in known}
    return {"protocol": protocol, "metrics": known, "intervals": within}


def _figures_of(evaluated: Any) -> dict[str, Any]:
    """Those of a file of `evaluate output=FILE.json`."""
    if not isinstance(evaluated, dict) or "protocol" not in evaluated:
        raise UserError("results=… takes files of `python -m vse_exp.evaluate … output=FILE.json`.")
    return _figures(evaluated, evaluated["protocol"], evaluated.get("intervals"))


def _card(model: VSE, name: str, address: str, library: str, facts: Mapping[str, Any]) -> str:
    images = model.preprocessing
    made = flatten(published(model.provenance or {})) if images is None else images.to_dict()
    return markdown(
        "card.md.j2",
        **{key: facts[key] for key in ("training", "command", "source")},
        metadata=_metadata(name, library, facts),
        name=name,
        address=address,
        library=library,
        version=vse_exp.__version__,
        dim=model.dim,
        dim_image=model.dim_image,
        kind=type(model.sentence_encoder).__name__,
        image_kind=type(model.image_encoder).__name__,
        parameters=f"{sum(one.numel() for one in model.parameters()) / 1e6:.1f}",
        similarity=type(model.similarity).__name__.lower(),
        takes_pictures=model.takes_pictures,
        images=made,
        vocabulary=f"{type(model.vocabulary).__name__} of {len(model.vocabulary):,} entries.",
        figures=[
            {"protocol": one["protocol"], "columns": list(one["metrics"]), "cells": _cells(one)}
            for one in facts["figures"]
        ],
        intervals=any(one["intervals"] for one in facts["figures"]),
        licence=facts["license"],
    )


def _cells(figures: Mapping[str, Any]) -> list[str]:
    cells = []
    for key, value in figures["metrics"].items():
        digits = 0 if key.endswith("Medr") else 1
        within = "–".join(f"{end:.{digits}f}" for end in figures["intervals"].get(key, ()))
        cells.append(f"{value:.{digits}f}" + (f" [{within}]" if within else ""))
    return cells


def _metadata(name: str, library: str, facts: Mapping[str, Any]) -> str:
    """The header that the hub reads, YAML; with the figures as its `model-index`."""
    data = facts["training"].get("data set")
    metadata: dict[str, Any] = {
        "license": facts["license"],
        "library_name": library,
        "pipeline_tag": None if library == "vse_exp" else "zero-shot-image-classification",
        "tags": ["image-text-retrieval", "visual-semantic-embedding", "vse_exp"],
        "model-index": [
            {
                "name": name.rpartition("/")[2],
                "results": [
                    {
                        "task": {"type": "image-text-retrieval"},
                        "dataset": {"name": one["protocol"], "type": data or "other"},
                        "metrics": [
                            {"type": key, "name": key, "value": round(float(value), 3)}
                            for key, value in one["metrics"].items()
                        ],
                    }
                    for one in facts["figures"]
                ],
            }
        ],
    }  # fmt: skip
    if not facts["figures"]:
        del metadata["model-index"]
    kept = {key: value for key, value in metadata.items() if value is not None}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
