"""`python -m vse_exp.demo`: a page to search with sentences and pictures; see conf/demo.yaml."""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import suppress
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vse_exp.cli import hydra_entry
from vse_exp.errors import UserError


@hydra_entry("demo")
def main(cfg: DictConfig) -> None:
    config: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    _check_host(config["host"], config["public"])
    try:
        import uvicorn

        from vse_exp.pages.server import build_app
    except ImportError as error:
        raise UserError(f"The demo needs {error.name}: pip install 'vse_exp[demo]'.") from error

    demo = _build_demo(config)
    listener = _listen(config["host"], config["port"])
    address = listener.getsockname()
    names = {"localhost", "127.0.0.1", "::1", config["host"], *(config["hosts"] or [])}
    app = build_app(demo, None if config["public"] and config["hosts"] is None else names)
    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=10,
        limit_concurrency=256,
    )
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    threading.Thread(target=demo.warm_up, daemon=True).start()
    print(f"http://{host}:{address[1]} (Ctrl-C ends it)", flush=True)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when it has shut down
        uvicorn.Server(settings).run(sockets=[listener])


def _build_demo(config: dict[str, Any]) -> Any:
    from vse_exp.models.checkpoint import load_model
    from vse_exp.pages.demo import Demo, Limits
    from vse_exp.retrieval.captioning import Retriever
    from vse_exp.retrieval.collection import gallery_from_config
    from vse_exp.retrieval.gallery import open_gallery
    from vse_exp.retrieval.pictures import open_thumbnails

    model = load_model(config["checkpoint"], config["device"])
    if config["gallery"] is not None:
        gallery = open_gallery(config["gallery"], model)
    else:
        gallery = gallery_from_config(config, model, None)
    place = config["pictures"] or gallery.about["pictures"]
    thumbnails = open_thumbnails(place, gallery.images.names if gallery.images else None)
    limits = Limits(
        upload_bytes=int(1e6 * config["max_upload_mb"]),
        upload_pixels=int(1e6 * config["max_upload_megapixels"]),
    )
    return Demo(Retriever(model, gallery, config["weights"]), thumbnails, limits)


def _check_host(host: str, public: bool) -> None:
    """UserError for an address that other machines reach, unless that was said to be wanted."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and not public:
        raise UserError(
            f"host={host} lets other machines in, and the demo has no passwords: "
            "leave it at 127.0.0.1, or say public=true."
        )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot listen on {host} port {port} ({reason}): give port=….") from error


if __name__ == "__main__":
    main()
