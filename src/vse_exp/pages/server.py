"""The demo as a web application (Starlette, extra `demo`).

Plain requests instead of an application framework of widgets: an upload is the body of a request
that is held in memory and counted while it comes in, so that nothing is written to disk, and images
are asked for by their row, so that no path of a request is ever opened. (Gradio keeps uploads as
files, whose paths come back in later requests.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from vse_exp.errors import UserError
from vse_exp.pages.demo import Demo
from vse_exp.pages.writing import page, source

UPLOAD_SECONDS = 60
DROPPED = 4
"""Times the limit of bytes that are read of an upload that is too large."""
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
FORM_TYPES = ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "")
"""What pages of other sites may send unasked: uploads come with a type of their own."""


def build_app(demo: Demo, hosts: set[str] | None) -> Starlette:
    """The application. `hosts`: names it may be called by, None for any; others are refused, so
    that a page of another site cannot reach it under a name of its own (DNS rebinding)."""

    async def index(request: Request) -> Response:
        return Response(start, media_type="text/html")

    async def about(request: Request) -> Response:
        return JSONResponse(demo.about())

    async def search(request: Request) -> Response:
        return await _answer(demo.sentence, request.query_params.get("q", ""), _count(request))

    async def image(request: Request) -> Response:
        row = request.path_params["row"]
        return await _answer(demo.image, row, *_words(request), _count(request))

    async def picture(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() in FORM_TYPES:
            raise HTTPException(415, "Send the picture itself as the body, with its type.")
        content = await _body(request, demo.limits.upload_bytes)
        return await _answer(demo.picture, content, *_words(request), _count(request))

    async def thumbnail(request: Request) -> Response:
        content = await run_in_threadpool(demo.thumbnail, request.path_params["row"])
        if content is None:
            raise HTTPException(404, "No such picture.")
        return Response(content, media_type="image/jpeg", headers={"cache-control": "max-age=3600"})

    described = demo.about()
    counts = " and ".join(f"{count:,} {kind}" for kind, count in described["counts"].items())
    origin = f" of {described['source']}" if described["source"] else ""
    start = page("demo.html.j2", title="Images and sentences", collection=counts + origin)
    routes = [
        Route("/", index),
        Route("/style.css", _constant(source("style.css"), "text/css")),
        Route("/demo.js", _constant(source("dom.js", "demo.js"), "text/javascript")),
        Route("/api/about", about),
        Route("/api/search", search),
        Route("/api/image/{row:int}", image),
        Route("/api/picture", picture, methods=["POST"]),
        Route("/pictures/{row:int}.jpg", thumbnail),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse})
    app.add_middleware(_Guard, hosts=hosts)
    return app


class _Guard:
    """Refuses unknown hosts and requests from other sites, and adds the headers to each answer."""

    def __init__(self, app: ASGIApp, hosts: set[str] | None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.encode() not in given
                    ),
                ]
            await send(message)

        refusal = self._refusal(request)
        answer = self.app if refusal is None else JSONResponse({"error": refusal}, 403)
        await answer(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> str | None:
        if self.hosts is not None and request.url.hostname not in self.hosts:
            return "The demo is not called by this name: add it to hosts=[…]."
        elsewhere = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if elsewhere and request.url.path != "/":  # a link may open the page, and nothing more
            return "Requests from other sites are refused."
        return None


def _constant(text: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return Response(text, media_type=media_type)

    return serve


async def _answer(work: Callable[..., dict[str, Any]], *arguments: Any) -> Response:
    try:
        return JSONResponse(await run_in_threadpool(work, *arguments))
    except UserError as error:
        raise HTTPException(400, str(error)) from error


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # what is left of an upload that is refused before its end is not waited for
    headers = {"connection": "close"} if error.status_code in (408, 413) else None
    return JSONResponse({"error": error.detail}, error.status_code, headers)


async def _body(request: Request, limit: int) -> bytes:
    """The body, as long as it has at most `limit` bytes and comes in time.

    What is too large by a little is read to its end and dropped, since a client that is still
    sending may lose the answer.
    """
    too_large = HTTPException(413, f"Pictures may have {limit / 1e6:g} MB: choose a smaller one.")
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > DROPPED * limit:
        raise too_large
    content, received = bytearray(), 0
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for part in request.stream():
                received += len(part)
                if received <= limit:
                    content += part
                elif received > DROPPED * limit:
                    raise too_large
    except TimeoutError as error:
        raise HTTPException(408, "The upload took too long.") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The upload broke off.") from error
    if received > limit:
        raise too_large
    return bytes(content)


def _words(request: Request) -> tuple[str, str]:
    return request.query_params.get("minus", ""), request.query_params.get("plus", "")


def _count(request: Request) -> int:
    """How many results are asked for."""
    text = request.query_params.get("k", "12")
    if not text.isdecimal() or len(text) > 4:
        raise HTTPException(400, "k must be a number.")
    return int(text)
