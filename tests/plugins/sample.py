"""Backends for tests: honest ones, and one for each way to be broken. Found through modules made in memory."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Callable

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.plugin import IPlugin
from zope.interface import implementer

from calltrack.interfaces import IBackend, ILocationStore
from calltrack.storage.memory_accounts import MemoryLocations


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str
    size: int = 5

    def __post_init__(self) -> None:
        if self.size > 100:
            raise ValueError("size: more than 100 does not fit")


@implementer(IPlugin, IBackend)
class Sample:
    """A backend; `gives` is what it makes."""

    version = "1.2"
    provides = ILocationStore
    settings: type | None = None

    def __init__(self, name: str = "sample", gives: Callable[..., Any] = MemoryLocations, **attributes: Any) -> None:
        self.name = name
        self.gives = gives
        self.__dict__.update(attributes)

    def make(self, context: Any, settings: Any) -> Any:
        return self.gives()


@implementer(ILocationStore)
class Liar:
    """Says that it is a location store."""


@implementer(ILocationStore)
class Slow:
    """Answers when it is told to, or never."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Any]] = []

    def write(self, saved: list, removed: list, events: Any = ()) -> Deferred[None]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def list(self, project: int | None = None) -> Deferred[list]:
        return fail(ZeroDivisionError("a bug"))

    def forget(self, project: int) -> Deferred[None]:
        raise ZeroDivisionError("a bug at once")


class Part:
    """Something with a life and a health, both as told."""

    def __init__(self, health: Any = "") -> None:
        self.said = health
        self.life: list[str] = []

    def health(self) -> Any:
        if isinstance(self.said, Exception):
            return fail(self.said)
        return self.said if isinstance(self.said, Deferred) else succeed(self.said)


def module(name: str, **values: Any) -> tuple[str, str, Callable[[], ModuleType]]:
    """A plugin file with these values."""

    def load() -> ModuleType:
        made = ModuleType(f"twisted.plugins.{name}")
        vars(made).update(values)
        return made

    return f"twisted.plugins.{name}", f"/plugins/{name}.py", load


def broken(name: str, error: BaseException) -> tuple[str, str, Callable[[], ModuleType]]:
    """A plugin file that cannot be imported."""

    def load() -> ModuleType:
        raise error

    return f"twisted.plugins.{name}", f"/plugins/{name}.py", load
