"""The demo as a web application (Starlette, extra `demo`).

Plain requests instead of an application framework of widgets: an upload is the body of a request
that is held in memory and counted while it comes in, so that nothing is written to disk, and images
are asked for by their row, so that no path of a request is ever opened. (Gradio keeps uploads as
files, whose paths come back in later requests.)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vse_exp.errors import UserError
from vse_exp.pages.demo import Demo, Limits
from vse_exp.pages.guard import Guard
from vse_exp.pages.writing import page, source

DROPPED = 4
"""Times the limit of bytes that are read of an upload that is too large."""
UPLOADS = ("application/octet-stream", "image/jpeg", "image/png", "image/gif", "image/webp")
"""Types of an upload. A page of another site can send none of them without asking first."""


def build_app(demo: Demo, hosts: set[str] | None) -> Starlette:
    """The application. `hosts`: names it may be called by, None for any (see Guard)."""

    async def index(request: Request) -> Response:
        return Response(start, media_type="text/html")

    async def about(request: Request) -> Response:
        return JSONResponse(demo.about())

    async def search(request: Request) -> Response:
        return await _answer(demo.sentence, request.query_params.get("q", ""), _count(request))

    async def image(request: Request) -> Response:
        return await _answer(demo.image, _row(request), *_words(request), _count(request))

    async def picture(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in UPLOADS:
            raise HTTPException(415, "Send the picture itself as the body, with its type.")
        content = await _body(request, demo.limits)
        return await _answer(demo.picture, content, *_words(request), _count(request))

    async def thumbnail(request: Request) -> Response:
        content = await run_in_threadpool(demo.thumbnail, _row(request))
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
        Route("/api/image/{row}", image),
        Route("/api/picture", picture, methods=["POST"]),
        Route("/pictures/{row}.jpg", thumbnail),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse})
    app.add_middleware(Guard, hosts=hosts)
    return app


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


async def _body(request: Request, limits: Limits) -> bytes:
    """The body, as long as it is not too large and comes in time.

    What is too large by a little is read to its end and dropped, since a client that is still
    sending may lose the answer.
    """
    limit = limits.upload_bytes
    too_large = HTTPException(413, f"Pictures may have {limit / 1e6:g} MB: choose a smaller one.")
    declared = _number(request.headers.get("content-length", "0"))
    if declared is None or declared > DROPPED * limit:
        raise too_large
    content, received = bytearray(), 0
    try:
        async with asyncio.timeout(limits.upload_seconds):
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


def _row(request: Request) -> int:
    """The row of an image, as an address has it."""
    row = _number(request.path_params["row"])
    if row is None:
        raise HTTPException(404, "There is no such image.")
    return row


def _count(request: Request) -> int:
    """How many results are asked for."""
    count = _number(request.query_params.get("k", "12"))
    if count is None:
        raise HTTPException(400, "k must be a number.")
    return count


def _number(text: str) -> int | None:
    """A whole number as clients write it, none with more than twelve digits."""
    return int(text) if re.fullmatch("[0-9]{1,12}", text) else None
