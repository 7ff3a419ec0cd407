"""What load balancers and operators ask first: is the process alive (`/health`), and does it do its work (`/ready`).
Knows HTTP and a function for each."""

from __future__ import annotations

from typing import Any, Awaitable, Callable

import msgspec
from klein import Klein
from twisted.web.iweb import IRequest


class HealthPage:
    """`GET /health`: 200 and the facts that `facts()` gives, as a JSON object."""

    app = Klein()

    def __init__(self, facts: Callable[[], dict[str, Any]]) -> None:
        self._facts = facts

    @app.route("/health", methods=["GET"])
    def health(self, request: IRequest) -> bytes:
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"cache-control", b"no-store")
        return msgspec.json.encode({"status": "ok", **self._facts()})


class ReadyPage:
    """`GET /ready`: 200, or 503 when a part is not ready; `parts` says by name what is wrong with each, "" = nothing."""

    app = Klein()

    def __init__(self, parts: Callable[[], Awaitable[dict[str, str]]]) -> None:
        self._parts = parts

    @app.route("/ready", methods=["GET"])
    async def ready(self, request: IRequest) -> bytes:
        parts = await self._parts()
        ready = not any(parts.values())
        request.setResponseCode(200 if ready else 503)
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"cache-control", b"no-store")
        return msgspec.json.encode({"ready": ready, "parts": parts})
