"""`python -m vse_exp.retrieve`: search with a sentence or a picture; see conf/retrieve.yaml."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import Field

from vse_exp.cli import verb
from vse_exp.cli.keys import Collection, Device, ModelCommand, Texts
from vse_exp.errors import printable
from vse_exp.retrieval.queries import find_target, read_queries, verbatim
from vse_exp.schema import Size, Text


class Retrieve(Collection, ModelCommand):
    checkpoint: Text
    gallery: Texts | None
    query: Text | Annotated[list[Text], Field(min_length=1)]
    target: Literal["images", "captions"] | None
    k: Size
    exact: bool
    format: Literal["table", "json"]
    output: Text | None
    page: Text | None
    overwrite: bool
    weights: Text | None
    device: Device


@verb("retrieve", Retrieve, read=verbatim)
def main(cfg: DictConfig) -> None:
    from vse_exp.compat.loading import load_model
    from vse_exp.files import write_json
    from vse_exp.images.provenance import feature_record
    from vse_exp.pages.writing import write_results
    from vse_exp.retrieval.captioning import Retriever
    from vse_exp.retrieval.collection import find_gallery
    from vse_exp.retrieval.pictures import gallery_thumbnails

    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    values = config["query"] if isinstance(config["query"], list) else [config["query"]]
    queries = read_queries(values)
    model = load_model(config["checkpoint"], config["device"], config["trust"])
    for path in [value for value in map(str, values) if value.endswith(".npy")]:
        allow = bool(config["allow_feature_mismatch"])
        model.check_features(feature_record(path), allow)
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


if __name__ == "__main__":
    main()
