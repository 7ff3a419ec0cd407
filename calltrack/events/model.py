"""Every event that calltrack tells: frozen, versioned, one JSON object each.

    {"type": "call.ended", "id": "01a209...baa1998.ended", "at": 1795457009999, "project": 1, "version": 1, ...}

An event's id is made of what it tells of, so the same event told twice has the same id. `version` is that of the type's
layout: fields may be added within a version, never taken away or given another meaning. Knows no stores, no sinks.
"""

from __future__ import annotations

from typing import Any, Literal, Union, get_args

import msgspec

from calltrack.errors import CalltrackError
from calltrack.tracking.model import MediaFigures, Recording, Status


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all events have. `subject` names what events stay in order for: a call, a device, a trunk ..."""

    id: str
    at: int  # milliseconds since the Unix epoch: when it happened
    project: int | None = None  # None: it is nobody's, such as a trunk's
    version: int = 1

    @property
    def type(self) -> str:
        return self.__struct_config__.tag  # type: ignore[return-value]

    @property
    def subject(self) -> str:
        return self.id


class CallEvent(Event, frozen=True, kw_only=True, tag=False):
    """What all events of a call have."""

    call: str  # its id
    caller: str = ""  # digits; "" = withheld
    callee: str = ""  # the number that was dialled, digits
    scenario: int | None = None
    trunk: str = ""
    visit: int | None = None
    marker: str = ""
    attributed: str = ""  # why the call belongs to that visit or marker

    @property
    def subject(self) -> str:
        return self.call


class CallStarted(CallEvent, frozen=True, kw_only=True, tag="call.started"):
    """A call was accepted, and where it goes is known."""


class CallRinging(CallEvent, frozen=True, kw_only=True, tag="call.ringing"):
    """A target is being alerted for the first time."""


class CallAnswered(CallEvent, frozen=True, kw_only=True, tag="call.answered"):
    """A target took the call."""

    target: str
    waiting_time: float  # seconds from the start


class CallEnded(CallEvent, frozen=True, kw_only=True, tag="call.ended"):
    """A call is over, however it ended. Times are milliseconds since the Unix epoch, durations seconds."""

    target: str = ""
    status: Status
    created: int
    ringing: int | None = None
    answered: int | None = None
    duration: float = 0.0
    waiting_time: float = 0.0
    answer_duration: float = 0.0
    hangup: str = ""
    sip_code: int = 0
    q850: int = 0
    reason: str = ""
    target_call: bool = False
    new_caller: bool | None = None
    cost: float | None = None
    currency: str = ""
    media: MediaFigures = MediaFigures()
    recording: Recording | Literal[""] | None = None


class CallMissed(CallEvent, frozen=True, kw_only=True, tag="call.missed"):
    """A call is over and nobody took it; `call.ended` tells the rest."""

    status: Status
    waiting_time: float = 0.0
    reason: str = ""


class AccountRegistered(Event, frozen=True, kw_only=True, tag="account.registered"):
    """A device has logged in to a project's SIP account."""

    user: str
    contact: str
    device: str = ""  # what its User-Agent says
    source: str = ""  # address and port
    transport: str = ""

    @property
    def subject(self) -> str:
        return self.user


class AccountUnregistered(AccountRegistered, frozen=True, kw_only=True, tag="account.unregistered"):
    """A device is gone from a project's SIP account."""

    reason: str = ""  # "expired", "logged out", "connection closed" ...


class VisitStarted(Event, frozen=True, kw_only=True, tag="visit.started"):
    """A visitor came to a site from somewhere. Pages and addresses are the visit's to tell: privacy rules blank them."""

    visit: int
    marker: str = ""

    @property
    def subject(self) -> str:
        return f"visit:{self.project}:{self.visit}"


class NumberLeased(Event, frozen=True, kw_only=True, tag="number.leased"):
    """A number is shown to one visit."""

    number: str
    visit: int
    scenario: int

    @property
    def subject(self) -> str:
        return f"number:{self.number}"


class NumberReleased(NumberLeased, frozen=True, kw_only=True, tag="number.released"):
    """The visit's number is free again."""


class PoolExhausted(Event, frozen=True, kw_only=True, tag="pool.exhausted"):
    """A visit found no free number and is shown the scenario's fallback."""

    scenario: int
    visit: int | None = None
    numbers: int = 0  # in the pool

    @property
    def subject(self) -> str:
        return f"pool:{self.scenario}"


class NumberAlert(Event, frozen=True, kw_only=True, tag="number.alert"):
    """A number of a pool is called by people who were not shown it. `kind`: "never-leased" or "leaked"."""

    kind: str
    number: str
    scenario: int
    callers: int  # different ones, in the last seven days

    @property
    def subject(self) -> str:
        return f"number:{self.number}"


class TrunkUp(Event, frozen=True, kw_only=True, tag="trunk.up"):
    """A trunk answers."""

    trunk: str

    @property
    def subject(self) -> str:
        return f"trunk:{self.trunk}"


class TrunkDown(TrunkUp, frozen=True, kw_only=True, tag="trunk.down"):
    """A trunk does not answer any more."""

    reason: str = ""


class TargetUp(Event, frozen=True, kw_only=True, tag="target.up"):
    """An outside SIP address answers."""

    target: str

    @property
    def subject(self) -> str:
        return f"target:{self.target}"


class TargetDown(TargetUp, frozen=True, kw_only=True, tag="target.down"):
    """An outside SIP address does not answer any more."""

    reason: str = ""


AnyEvent = Union[
    CallStarted, CallRinging, CallAnswered, CallEnded, CallMissed, AccountRegistered, AccountUnregistered, VisitStarted,
    NumberLeased, NumberReleased, NumberAlert, PoolExhausted, TrunkUp, TrunkDown, TargetUp, TargetDown,
]  # fmt: skip

TYPES: dict[str, type[Event]] = {kind.__struct_config__.tag: kind for kind in get_args(AnyEvent)}
CALL_TYPES = tuple(name for name in TYPES if name.startswith("call."))

encode = msgspec.json.Encoder().encode  # event -> bytes
_decoder = msgspec.json.Decoder(AnyEvent)


class UnknownEvent(CalltrackError):
    """Stored by a newer calltrack, or damaged."""


def decode(value: bytes | str) -> AnyEvent:
    """An event from its JSON. Raises UnknownEvent."""
    try:
        return _decoder.decode(value)
    except msgspec.DecodeError as error:
        raise UnknownEvent(f"an event cannot be read: {error}") from error


class Lost(msgspec.Struct, frozen=True):
    """Events that a reader of the log has not taken and never will: they were forgotten."""

    count: int
    first: int  # milliseconds since the Unix epoch: when the oldest of them happened
    last: int  # and the newest

    def __add__(self, other: Lost) -> Lost:
        return Lost(self.count + other.count, min(self.first, other.first), max(self.last, other.last))


class Pruned(msgspec.Struct, frozen=True):
    """What `IEventStore.prune` has forgotten."""

    count: int  # events, and lines of the delivery log
    lost: dict[str, Lost] = {}  # by reader


class Logged(msgspec.Struct, frozen=True):
    """An event with its place in the log, which grows with each event."""

    seq: int
    event: Any  # one of AnyEvent
