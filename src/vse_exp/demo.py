"""`python -m vse_exp.demo`: a page to search with sentences and pictures; see conf/demo.yaml."""

from __future__ import annotations

from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field

from vse_exp.cli import plain, verb
from vse_exp.cli.keys import Checkpoints, Data, Device, ModelCommand, Texts
from vse_exp.schema import Runtime, Text


class DemoKeys(ModelCommand):
    data: Data | None = None
    checkpoint: Checkpoints
    gallery: Texts | None
    split: Text
    pictures: Text | None
    provenance: Text | None
    allow_feature_mismatch: bool
    weights: Text | None
    device: Device
    runtime: Runtime
    host: Text
    port: Annotated[int, Field(ge=0, le=65535)]
    public: bool
    hosts: list[Text] | None
    max_upload_mb: Annotated[float, Field(gt=0, le=10_000)]
    max_upload_megapixels: Annotated[float, Field(gt=0, le=10_000)]


@verb("demo", DemoKeys, timed=False)
def main(cfg: DictConfig) -> None:
    from vse_exp.pages.demo import open_demo
    from vse_exp.pages.serving import LOCAL, listen, serve

    config = plain(cfg)
    host, hosts = config["host"], config["hosts"]
    with listen(host, config["port"], config["public"]) as listener:
        anything = config["public"] and hosts is None
        serve(open_demo(config), listener, None if anything else (*LOCAL, host, *(hosts or ())))


if __name__ == "__main__":
    main()
