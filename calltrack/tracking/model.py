"""The values of call tracking: projects, numbers, scenarios, targets, routes, call records.

All are frozen and JSON-serialisable by msgspec. Knows no SIP, no SQL, no sockets, no clock.
"""

from __future__ import annotations

from typing import Literal

import msgspec

TargetKind = Literal["account", "sip", "phone"]
RingMode = Literal["in-order", "all"]
RecordingState = Literal["active", "complete", "partial", "interrupted", "failed", "elsewhere", "deleted"]
Status = Literal["ACTIVE", "ANSWER", "BUSY", "NOANSWER", "CANCEL", "CONGESTION", "CHANUNAVAIL"]

DEFAULT_RING_TIME = 20.0  # seconds
DEFAULT_TARGET_CALLS = 15  # calls at once to one target, as in the exchanges this is modelled on
DEFAULT_HOLD = 150.0  # seconds that a number stays with a visit after its last sign of life


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """One tracked business or site."""

    id: int
    name: str
    key: str  # public: names the project in the snippet's address
    sites: tuple[str, ...] = ()
    enabled: bool = True
    max_calls: int = 0  # calls at once; 0 = no limit
    max_rate: float = 0.0  # calls a second; 0 = no limit
    target_call_time: float = 30.0  # seconds of conversation that make a call a target call
    default_target: str = ""  # a target address, for numbers without a scenario; "" = none
    time_zone: str = "UTC"  # IANA name: of days and hours in its reports
    allow_transfer: bool = False  # whether its targets may transfer callers, to its other targets, by REFER
    marker_rules: tuple[str, ...] = ()  # how visits get their markers (`tracking.sources`); empty = as usual


class Addressing(msgspec.Struct, frozen=True, kw_only=True):
    """A target's addressing profile: where the forwarded INVITE carries the dialled number."""

    request_user: Literal["address", "dialled"] = "address"
    dialled_in: tuple[Literal["to", "diversion", "p-called-party-id"], ...] = ()
    caller_id: tuple[Literal["p-asserted-identity", "remote-party-id"], ...] = ()  # beside From


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A forwarding target: where a call may ring."""

    kind: TargetKind
    address: str  # sip: "sip:office@example.com:5062;transport=tcp"; phone: "+74951234567"; account: ""
    ring_time: float = DEFAULT_RING_TIME  # seconds
    max_calls: int = DEFAULT_TARGET_CALLS  # calls at once; 0 = no limit
    max_rate: float = 0.0  # calls a second; 0 = no limit
    allow: tuple[str, ...] = ()  # codec names in order of preference; empty = as offered
    addressing: Addressing = Addressing()

    @property
    def label(self) -> str:
        """How records and limits name the target: ``sip:office@example.com``, ``phone:+7495…``, ``account``."""
        if self.kind == "phone":
            return "phone:" + self.address
        return self.address if self.kind == "sip" else "account"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """How a project's numbers are shown and where their calls go."""

    id: int
    project: int
    name: str
    kind: Literal["static", "dynamic"] = "static"
    marker: str = ""  # the channel's marker, of a static scenario
    targets: tuple[Target, ...] = ()
    ring: RingMode = "in-order"
    enabled: bool = True
    record: bool = False  # whether its calls are recorded
    # How its numbers are shown on the project's pages. Without selectors and replaceable numbers: not at all.
    segments: tuple[str, ...] = ()  # conditions as `tracking.segments` reads them, one of which a visit must meet
    selectors: tuple[str, ...] = ()  # CSS selectors of elements whose text becomes the number
    replace: tuple[str, ...] = ()  # digits of the numbers on the page that become the number
    mask: str = ""  # as "8 (XXX) XXX-XX-XX"; "" = the international spelling
    fallback: str = ""  # digits of what is shown when no number is free, of a dynamic scenario; "" = nothing
    hold: float = DEFAULT_HOLD  # seconds, of a dynamic scenario


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """A substitution number: digits of its E.164 form without the plus."""

    number: str
    project: int
    scenario: int | None = None


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One visitor's session on a site. Written once, when it starts; privacy rules may blank single fields later."""

    project: int
    number: int  # unique in its project
    secret: str  # hexadecimal; the second half of the cookie: who knows it is this visit's browser
    started: int  # milliseconds since the Unix epoch, UTC
    marker: str
    previous: int | None = None  # the same browser's visit before
    landing_page: str = ""
    referrer: str = ""
    utm: dict[str, str] = {}  # utm_source, utm_medium ... as they came, cleaned
    click_id: str = ""  # gclid or yclid
    address: str = ""  # of the browser
    user_agent: str = ""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A number held for one visit. `(number, begun)` names it; begun once, ended once, never changed otherwise."""

    number: str  # digits
    begun: int  # milliseconds since the Unix epoch, UTC
    ended: int | None = None  # None = active; equal to `begun` = it was never shown
    project: int
    scenario: int
    visit: int
    marker: str  # the visit's
    confirmed: bool = False  # the visitor stayed; known at the end

    @property
    def id(self) -> str:
        return f"{self.number}.{self.begun}"


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """A visitor who stayed and for whom no number was free."""

    project: int
    scenario: int
    visit: int
    at: int  # milliseconds since the Unix epoch, UTC


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """What a page shows for one scenario."""

    scenario: int
    number: str  # digits
    tel: str  # for links: "+" and the digits
    text: str  # for people, by the scenario's mask
    selectors: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a browser; as JSON it is what docs/architecture.md section 9 says."""

    visit: str = ""  # the cookie's value "NUMBER.SECRET"; "" = no visit is kept
    number: int | None = None  # the visit's
    beat: float = 20.0  # seconds from one sign of life to the next
    confirm: float = 3.0  # seconds until the first
    swaps: tuple[Swap, ...] = ()


class PoolExhausted(msgspec.Struct, frozen=True, kw_only=True):
    """No number was free for a visitor who stayed; told once for each time that a pool runs empty."""

    project: int
    scenario: int
    visit: int
    at: int  # milliseconds since the Unix epoch, UTC
    numbers: int  # in the pool


class NumberAlert(msgspec.Struct, frozen=True, kw_only=True):
    """A number of a pool is called by people who were not shown it."""

    kind: Literal["never-leased", "leaked"]
    number: str
    project: int
    scenario: int
    at: int  # milliseconds since the Unix epoch, UTC
    callers: int  # different ones, without an active lease, in the last seven days


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A visit or channel that a call may belong to, and why."""

    visit: int | None = None
    marker: str = ""
    reason: str = ""


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """Which visit or channel a call belongs to, with the candidates and the reason."""

    visit: int | None = None
    marker: str = ""
    reason: str = ""  # "static channel", "exact lease", "lookup failed: timeout" ...
    candidates: tuple[Candidate, ...] = ()

    @property
    def channel(self) -> str:
        """What `x-roistat` says: the visit number, or of a static channel its marker."""
        return str(self.visit) if self.visit is not None else self.marker


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario source says of one dialled number. No targets: known, but nowhere to go."""

    dialled: str  # digits
    project: int
    scenario: int | None = None
    targets: tuple[Target, ...] = ()
    ring: RingMode = "in-order"
    attribution: Attribution = Attribution()
    project_max_calls: int = 0
    project_max_rate: float = 0.0
    target_call_time: float = 30.0
    header_prefix: str = "x-roistat"
    record: bool = False
    transfers: tuple[Target, ...] = ()  # to whom a target may transfer the caller; empty = to nobody


class StreamFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one party sent us in one stream kind (audio, or all streams together)."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0  # by sequence numbers, RFC 3550 A.3
    jitter_ms: float = 0.0  # interarrival jitter, RFC 3550 A.8
    strangers: int = 0  # packets dropped because they came from another source


class MediaFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Media of a call by party. `verdict`: "both-ways", "caller-silent", "target-silent", "none"."""

    caller: StreamFigures = StreamFigures()
    target: StreamFigures = StreamFigures()
    verdict: str = "none"


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of the sound of a call. Names are those of files below the directory of recordings.

    States: "active" (the file grows), "complete", "partial" (it ended before the call did, `reason` says why),
    "interrupted" (the engine died; the file was finished at the next start), "failed" (there is no file, `reason`
    says why), "elsewhere" (the relay records by itself, `name` is its own), "deleted" (its time was over).
    """

    name: str = ""  # what people play: a WAV; of a call without G.711 the capture; "" when it failed
    capture: str = ""  # the RTP of what the WAV cannot hold, as a pcap; "" unless there was any
    seconds: float = 0.0
    state: RecordingState = "active"
    reason: str = ""  # in words
    began: int | None = None  # milliseconds since the Unix epoch: the first sample


class LadderStep(msgspec.Struct, frozen=True, array_like=True):
    """One SIP message of a call: when, between whom, which."""

    at_ms: int  # milliseconds since the call was created
    side: str  # "caller", "target-1", "target-2" ...
    sent: bool  # True: calltrack sent it; False: received
    text: str  # "INVITE", "200 OK (INVITE)" ...
    sdp: bool = False


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The one record that a call leaves. Times are milliseconds since the Unix epoch, UTC."""

    id: str
    project: int | None = None
    scenario: int | None = None
    caller: str = ""
    callee: str = ""  # the dialled number, digits
    target: str = ""  # label of the target that answered, or of the last one tried
    trunk: str = ""
    created: int
    ringing: int | None = None
    answered: int | None = None
    ended: int | None = None
    duration: float = 0.0  # seconds, created to ended
    waiting_time: float = 0.0  # seconds, created to answered (or to ended)
    answer_duration: float = 0.0  # seconds, answered to ended
    status: Status = "ACTIVE"
    hangup: str = ""  # "caller", "target" or "engine"
    sip_code: int = 0
    q850: int = 0
    reason: str = ""  # in words, where the status does not say it all: "unknown-number", "limit:project" ...
    attribution: Attribution = Attribution()
    target_call: bool = False
    new_caller: bool | None = None  # the first call of this caller to this project; None = withheld
    media: MediaFigures = MediaFigures()
    recording: Recording | Literal[""] | None = None  # "" in records that older versions have written
    cost: float | None = None  # of calls to `phone` targets, by the tariff; None = free of charge
    currency: str = ""
    ladder: tuple[LadderStep, ...] = ()

    @property
    def final(self) -> bool:
        return self.status != "ACTIVE"
