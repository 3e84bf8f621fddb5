"""`python -m vse_exp.retrieve`: search with a sentence or a picture; see conf/retrieve.yaml."""

from __future__ import annotations

import json
import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError, printable
from vse_exp.retrieval.queries import find_target, read_queries, verbatim


@hydra_entry("retrieve")
def _retrieve(cfg: DictConfig) -> None:
    from vse_exp.files import write_json
    from vse_exp.images.provenance import feature_record, require_compatible
    from vse_exp.models.checkpoint import load_model
    from vse_exp.pages.writing import write_results
    from vse_exp.retrieval.captioning import Retriever
    from vse_exp.retrieval.collection import find_gallery
    from vse_exp.retrieval.pictures import gallery_thumbnails

    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    if config["format"] not in ("table", "json"):
        raise UserError(f"Unknown format={config['format']!r}: choose table or json.")
    values = config["query"] if isinstance(config["query"], list) else [config["query"]]
    queries = read_queries(values)
    model = load_model(config["checkpoint"], config["device"])
    for path in [value for value in map(str, values) if value.endswith(".npy")]:
        allow = bool(config["allow_feature_mismatch"])
        require_compatible(model.provenance, feature_record(path), allow)
    gallery = find_gallery(config, model)
    kind = find_target(gallery, queries, config["target"])
    retriever = Retriever(model, gallery, config["weights"])
    asked = [query for _, query in queries]
    hits = retriever.find(asked, kind, config["k"], config["exact"])
    found = [(label, best) for (label, _), best in zip(queries, hits, strict=True)]
    described = [
        {"query": label, "target": kind, "hits": [hit._asdict() for hit in best]}
        for label, best in found
    ]
    if config["output"] is not None:
        write_json(config["output"], described)
    if config["page"] is not None:
        about = f"{len(gallery.items(kind)):,} {kind} of {gallery.about['source']}"
        thumbnails = gallery_thumbnails(gallery, config["pictures"])
        write_results(config["page"], found, kind, about, thumbnails, config["overwrite"])
    if config["format"] == "json":
        print(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        _print_tables(found, kind)


def _print_tables(found: list[tuple[str, list[Any]]], kind: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for label, hits in found:
        # Text, for what is in brackets in a caption is no markup
        table = Table(title=Text(printable(label)), title_justify="left", box=None, pad_edge=False)
        table.add_column("", justify="right", style="dim")
        table.add_column("score", justify="right")
        table.add_column(kind[:-1], overflow="fold")
        for place, hit in enumerate(hits, start=1):
            table.add_row(str(place), f"{hit.score:.3f}", Text(printable(hit.name)))
        console.print(table)


def main() -> None:
    """Read the command line with the query as it was typed: commas and quotes are part of it."""
    sys.argv[1:] = map(verbatim, sys.argv[1:])
    _retrieve()


if __name__ == "__main__":
    main()
