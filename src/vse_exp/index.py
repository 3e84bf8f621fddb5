"""`python -m vse_exp.index`: embed a collection into a gallery; see conf/index.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from vse_exp.cli import plain, verb
from vse_exp.cli.keys import (
    Checkpoints,
    Collection,
    Device,
    ModelCommand,
    Precision,
    ShardOf,
    judged,
)
from vse_exp.errors import UserError
from vse_exp.schema import Keys, Runtime, Size, Text
from vse_exp.sharding import Shard


class Ann(Keys):
    kind: Literal["hnsw", "ivf"] | None
    n_lists: Size | None
    n_probe: Size
    links: Size
    ef_construction: Size
    ef_search: Size


class Index(Collection, ModelCommand):
    checkpoint: Checkpoints | None
    images: Text | None
    caption_image: Text | None
    output: Text
    overwrite: bool
    half: bool
    format: Literal["gallery", "parquet"]
    ann: Ann
    shard: ShardOf
    merge: bool
    device: Device
    runtime: Runtime
    precision: Precision


@verb("index", Index)
def main(cfg: DictConfig) -> None:
    from vse_exp.compat.loading import load_model
    from vse_exp.retrieval.collection import (
        gallery_from_config,
        gallery_of_vectors,
        share_from_config,
    )
    from vse_exp.retrieval.parquet import write_parquet

    config = plain(cfg)
    checkpoint, shard = judged(cfg), Shard.of(cfg.shard)
    if cfg.images is not None:
        if shard is not None:
            raise UserError("Vectors that are made already are not dealt: leave out shard=….")
        gallery = gallery_of_vectors(config, checkpoint, cfg.output)
    else:
        model = load_model(checkpoint, cfg.device, cfg.trust, cfg.runtime)
        model.embed_in(cfg.precision)
        if shard is None:
            gallery = gallery_from_config(config, model, cfg.output)
        else:
            gallery = share_from_config(config, model, cfg.output, shard)
    if gallery is None:
        print(f"{cfg.output}: share {shard} is done; the last to end puts them together")
        return
    for kind in gallery.kinds:
        items = gallery.items(kind)
        print(f"{len(items):,} {kind} of {items.vectors.shape[1]} dimensions")
        if items.index is not None:
            about = items.index.about
            print(
                f"  {about['kind']}: recall@10 {about['recall@10']:.3f} of exact search, "
                f"{1e3 * about['seconds_a_query']:.2f} ms a query "
                f"(exact: {1e3 * about['exact_seconds_a_query']:.2f} ms)"
            )
    if cfg.format == "parquet":
        write_parquet(gallery, Path(cfg.output) / "gallery.parquet")
    print(f"Gallery: {cfg.output}")


if __name__ == "__main__":
    main()
