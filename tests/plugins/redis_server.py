"""A real redis-server for tests, on a free port, keeping nothing. Knows its command line."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.interop.processes import Child, eventually, free_port, installed, listening

HOST = "127.0.0.1"


class Redis(Child):
    """`port`: where it listens once `ready()` has fired."""

    def __init__(self, test: TestCase, *more: str, port: int = 0) -> None:
        program = installed("redis-server", "redis-server")
        self.port = port or free_port(HOST)
        arguments = ["--port", str(self.port), "--bind", HOST, "--save", "", "--appendonly", "no", *more]
        super().__init__(test, "redis-server", [program, *arguments])

    async def ready(self) -> Redis:
        await eventually(lambda: listening("tcp", HOST, self.port), "redis-server listens")
        return self
