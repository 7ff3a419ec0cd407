"""What load balancers and operators ask first: is the process alive (`/health`). Knows HTTP and a function."""

from __future__ import annotations

from typing import Any, Callable

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
