"""What operators may ask of a running engine: the table of it, and what each does.

Knows the engine by what is asked of it here; no socket and no line.
"""

from __future__ import annotations

from typing import Any, Callable

from calltrack.errors import InvalidField, NoSuchObject

HUNG_UP = "operator"  # why a call ended, in its record


class Commands:
    """`do(request)` for each request. `engine`: CallEngine; `tracer`: Tracer; `facts()`: what `/health` tells; `reload()`:
    reads the configuration again and says what came of it; `leave()`: ends the process once no call is left."""

    def __init__(
        self,
        engine: Any,
        tracer: Any,
        facts: Callable[[], dict[str, Any]],
        reload: Callable[[], dict[str, Any]],
        leave: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._tracer = tracer
        self._facts = facts
        self._reload = reload
        self._leave = leave

    def do(self, request: dict[str, Any]) -> Any:
        """What is answered. Raises CalltrackError with what is wrong."""
        name = request.pop("do", None)
        if name not in _TABLE:
            raise InvalidField("do", f"{name!r} is none of {', '.join(_TABLE)}")
        work, allowed = _TABLE[name]
        for key, value in request.items():
            if key not in allowed or not isinstance(value, allowed[key]):
                raise InvalidField(key, f"{name} takes {', '.join(allowed) or 'nothing'}")
        return work(self, **request)

    def status(self) -> dict[str, Any]:
        return {**self._facts(), "draining": self._engine.draining, "tracing": self._tracer.kept}

    def calls(self) -> list[dict[str, Any]]:
        """The calls of this moment, oldest first."""
        now = self._engine.timers.now()
        return [_published(call, now) for call in self._engine.calls.values()]

    def hang_up(self, call: str = "", all: bool = False) -> dict[str, Any]:
        if bool(call) == all:
            raise InvalidField("call", "name one call, or all of them")
        chosen = list(self._engine.calls.values()) if all else [self._engine.calls.get(call)]
        if chosen == [None]:
            raise NoSuchObject(f"call {call} is not in progress")
        for one in chosen:
            one.hang_up(HUNG_UP)
        return {"hung_up": [one.id for one in chosen]}

    def trace(self, on: bool | None = None) -> dict[str, Any]:
        if on is not None:
            self._tracer.kept = on
        return {"tracing": self._tracer.kept, "lost": self._tracer.lost}

    def drain(self, on: bool = True, stop: bool = False) -> dict[str, Any]:
        if stop and not on:
            raise InvalidField("stop", "an engine that takes calls does not stop")
        self._engine.drain(on)
        if stop:
            self._leave()
        return {"draining": on, "stops": stop, "calls": len(self._engine.calls)}

    def reload(self) -> dict[str, Any]:
        return self._reload()


_TABLE: dict[str, tuple[Callable[..., Any], dict[str, type]]] = {
    "status": (Commands.status, {}),
    "calls": (Commands.calls, {}),
    "hangup": (Commands.hang_up, {"call": str, "all": bool}),
    "trace": (Commands.trace, {"on": bool}),
    "drain": (Commands.drain, {"on": bool, "stop": bool}),
    "reload": (Commands.reload, {}),
}


def _published(call: Any, now: float) -> dict[str, Any]:
    times, route = call.times, call.route
    return {
        "id": call.id,
        "state": call.state,
        "project": route.project if route is not None else None,
        "caller": call.admission.caller,
        "callee": call.admission.dialled,
        "target": call.target,
        "trunk": call.admission.trunk.name,
        "seconds": round(now - times.born, 1),
        "talked": round(now - times.answered, 1) if times.answered is not None else None,
        "recorded": call.recorded is not None,
    }
