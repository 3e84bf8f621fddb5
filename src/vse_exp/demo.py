"""`python -m vse_exp.demo`: a page to search with sentences and pictures; see conf/demo.yaml."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry


@hydra_entry("demo")
def main(cfg: DictConfig) -> None:
    from vse_exp.pages.demo import open_demo
    from vse_exp.pages.serving import LOCAL, listen, serve

    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    host, hosts = config["host"], config["hosts"]
    with listen(host, config["port"], config["public"]) as listener:
        anything = config["public"] and hosts is None
        serve(open_demo(config), listener, None if anything else (*LOCAL, host, *(hosts or ())))


if __name__ == "__main__":
    main()
