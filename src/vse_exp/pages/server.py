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
        given, count = request.query_params, _count(request)
        if request.method == "POST":
            content = await _upload(request, demo.limits)
            return await _answer(demo.picture, _gallery(request), content, *_words(request), count)
        if "image" in given:
            row = _row(given["image"])
            return await _answer(demo.image, _gallery(request), row, *_words(request), count)
        return await _answer(demo.sentence, _gallery(request), given.get("q", ""), count)

    async def reasons(request: Request) -> Response:
        given = request.query_params
        posted = request.method == "POST"
        image = await _upload(request, demo.limits) if posted else _row(given.get("image", ""))
        return await _answer(demo.reasons, _gallery(request), given.get("q", ""), image)

    async def thumbnail(request: Request) -> Response:
        row = _row(request.path_params["row"])
        try:
            content = await run_in_threadpool(demo.thumbnail, _gallery(request), row)
        except UserError as error:
            raise HTTPException(404, str(error)) from error
        if content is None:
            raise HTTPException(404, "No such picture.")
        return Response(content, media_type="image/jpeg", headers={"cache-control": "max-age=3600"})

    start = page("demo.html.j2", title="Images and sentences", galleries=demo.about()["galleries"])
    both = ["GET", "POST"]
    routes = [
        Route("/", index),
        Route("/style.css", _constant(source("style.css"), "text/css")),
        Route("/demo.js", _constant(source("dom.js", "why.js", "demo.js"), "text/javascript")),
        Route("/api/about", about),
        Route("/api/search", search, methods=both),
        Route("/api/reasons", reasons, methods=both),
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


async def _upload(request: Request, limits: Limits) -> bytes:
    """The picture that is the body of a request."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in UPLOADS:
        raise HTTPException(415, "Send the picture itself as the body, with its type.")
    return await _body(request, limits)


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


def _gallery(request: Request) -> str:
    return request.query_params.get("gallery", "")


def _row(text: str) -> int:
    """The row of an image, as an address has it."""
    row = _number(text)
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
