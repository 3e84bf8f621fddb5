"""`python -m vse_exp.embed`: vectors of sentences, features or pictures; see conf/embed.yaml."""

from __future__ import annotations

from typing import Annotated

from omegaconf import DictConfig

from vse_exp.cli import plain, verb
from vse_exp.cli.keys import Checkpoints, Device, ModelCommand, Precision, ShardOf
from vse_exp.schema import Runtime, Size, Text, form
from vse_exp.sharding import Shard


class Embed(ModelCommand):
    checkpoint: Checkpoints
    captions: Text | None
    features: Text | None
    pictures: Text | None
    normalize_features: bool
    allow_feature_mismatch: bool
    output: Annotated[str, form(r"\.npy$", "a file that ends in .npy")]
    block: Size
    batch_size: Size
    shard: ShardOf
    device: Device
    runtime: Runtime
    precision: Precision


@verb("embed", Embed)
def main(cfg: DictConfig) -> None:
    from vse_exp.compat.loading import load_model
    from vse_exp.evaluation.embed import embed_files

    config = plain(cfg)
    shard = Shard.of(cfg.shard)
    model = load_model(config["checkpoint"], cfg.device, cfg.trust, cfg.runtime)
    model.embed_in(cfg.precision)
    count = embed_files(model, config, shard)
    if count is None:
        print(f"{cfg.output}: share {shard} is done; the last to end puts them together")
    else:
        print(f"{cfg.output}: {count:,} vectors")


if __name__ == "__main__":
    main()
