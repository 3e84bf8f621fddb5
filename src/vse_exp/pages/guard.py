"""What the demo lets in: requests that call it by a name of its own, from its own page."""

from __future__ import annotations

import re
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@\[\]]+)(:[0-9]{1,5})?", re.I | re.ASCII)


class Guard:
    """Refuses unknown hosts and requests from other sites, and adds HEADERS to each answer.

    `hosts`: names it may be called by, None for any. Others are refused, so that a page of another
    site cannot reach the demo under a name of its own (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, hosts: set[str] | None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in added if pair[0] not in given),
                ]
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope["path"])
        answer: Any = self.app if refusal is None else JSONResponse({"error": refusal}, 403)
        await answer(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers, path: str) -> str | None:
        host = headers.get("host", "").lower()
        name = HOST.fullmatch(host)
        if self.hosts is not None and (name is None or name[1].strip("[]") not in self.hosts):
            return "The demo is not called by this name: add it to hosts=[…]."
        origin = headers.get("origin")
        foreign = origin is not None and origin.lower().partition("://")[2] != host
        elsewhere = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if foreign or (elsewhere and path != "/"):  # a link may open the page, and nothing more
            return "Requests from other sites are refused."
        return None
