"""Serving the demo: where it listens, what it may be called, and how long it waits for a client."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from vse_exp.alive import rest
from vse_exp.errors import UserError
from vse_exp.pages.demo import Demo, Limits

LOCAL = ("localhost", "127.0.0.1", "::1")
ANSWER_SECONDS = 120.0
"""After which a client that does not take its answer is left."""


def listen(host: str, port: int, public: bool = False) -> socket.socket:
    """A socket that listens there; UserError where that cannot be, and for an address that other
    machines reach, unless `public` says that this is wanted."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and public is not True:
        raise UserError(
            f"host={host} lets other machines in, and the demo has no passwords: "
            "leave it at 127.0.0.1, or say public=true."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Cannot listen on {host} port {port} ({reason}): give port=….") from error


def serve(demo: Demo, listener: socket.socket, names: Iterable[str] | None = LOCAL) -> None:
    """Answer until Ctrl-C. `names`: what the demo may be called by in addresses, None for
    anything."""
    server = build_server(demo, names)
    address = listener.getsockname()
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    threading.Thread(target=demo.warm_up, daemon=True).start()
    print(f"http://{host}:{address[1]} (Ctrl-C ends it)", flush=True)
    with rest(), suppress(KeyboardInterrupt):  # uvicorn raises it again when it has shut down
        server.run(sockets=[listener])


def build_server(demo: Demo, names: Iterable[str] | None = LOCAL) -> Any:
    """A uvicorn.Server of the demo, not yet started. UserError without the extra `demo`."""
    try:
        import uvicorn

        from vse_exp.pages.server import build_app
    except ImportError as error:
        raise UserError(f"The demo needs {error.name}: pip install 'vse_exp[demo]'.") from error
    settings = uvicorn.Config(
        build_app(demo, None if names is None else {name.lower() for name in names}),
        http=_protocol(demo.limits),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=10,
        limit_concurrency=256,
    )
    return uvicorn.Server(settings)


def _protocol(limits: Limits) -> type[asyncio.Protocol]:
    """uvicorn's, which waits for ever for the rest of a request, with a deadline for each."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Timed(H11Protocol):
        deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self.stop_waiting()
            super().connection_lost(exc)

        def wait(self) -> None:
            self.stop_waiting()
            self.deadline = self.loop.call_later(limits.head_seconds, self.give_up)

        def stop_waiting(self) -> None:
            if self.deadline is not None:
                self.deadline.cancel()

        def give_up(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()  # no whole head has come
            else:
                self.deadline = self.loop.call_later(ANSWER_SECONDS, self.transport.abort)

    return Timed
