"""`python -m vse_exp.retrieve`: search with a sentence or a picture; see conf/retrieve.yaml."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from omegaconf import DictConfig
from pydantic import Field

from vse_exp.cli import plain, verb
from vse_exp.cli.keys import Checkpoints, Collection, Device, ModelCommand, Texts
from vse_exp.cli.steps import verbatim
from vse_exp.schema import Size, Text


class Retrieve(Collection, ModelCommand):
    checkpoint: Checkpoints
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
    from vse_exp.pages.writing import write_results
    from vse_exp.retrieval.captioning import Retriever
    from vse_exp.retrieval.collection import find_gallery
    from vse_exp.retrieval.pictures import gallery_thumbnails
    from vse_exp.retrieval.queries import check_queries, find_target, read_queries
    from vse_exp.retrieval.results import as_records, print_tables

    config = plain(cfg)
    queries = read_queries(config["query"])
    model = load_model(config["checkpoint"], cfg.device, cfg.trust)
    check_queries(config["query"], model, cfg.allow_feature_mismatch)
    gallery = find_gallery(config, model)
    kind = find_target(gallery, queries, cfg.target)
    retriever = Retriever(model, gallery, cfg.weights)
    hits = retriever.find([query for _, query in queries], kind, cfg.k, cfg.exact)
    found = [(label, best) for (label, _), best in zip(queries, hits, strict=True)]
    records = as_records(found, kind)
    if cfg.output is not None:
        write_json(cfg.output, records)
    if cfg.page is not None:
        about = f"{len(gallery.items(kind)):,} {kind} of {gallery.about['source']}"
        thumbnails = gallery_thumbnails(gallery, cfg.pictures)
        write_results(cfg.page, found, kind, about, thumbnails, cfg.overwrite)
    if cfg.format == "json":
        print(json.dumps(records, indent=2, ensure_ascii=False))
    else:
        print_tables(found, kind)


if __name__ == "__main__":
    main()
