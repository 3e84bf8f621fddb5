"""The pages of the documentation as a browser has them, where they have been built."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from browser import chromium

SITE = Path(__file__).parents[1] / "docs/_build/html"
PAGES = ("index", "tutorial", "keys/train", "search")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.skipif(not SITE.is_dir(), reason="python -m sphinx docs docs/_build/html has not run")
def test_the_site_for_all_who_read_it():
    """axe finds nothing, light and dark; no word on the console, no request to another host."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    told: list[str] = []
    try:
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(120_000)
            page.on("console", lambda message: told.append(message.text))
            page.on("pageerror", lambda error: told.append(str(error)))
            page.on("request", lambda asked: told.append(asked.url))
            for name in PAGES:
                page.goto(f"{address}{name}.html")
                for scheme in ("light", "dark"):
                    page.emulate_media(color_scheme=scheme)
                    found = axe.Axe().run(page)
                    assert found.violations_count == 0, (
                        f"{name}, {scheme}: {found.generate_report()}"
                    )
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    assert [one for one in told if not one.startswith(address)] == []
