"""Every exception that carries an answer to the peer. Knows no protocol machinery.

A fault of the peer and a bug of ours part here: what derives from `CalltrackError` is somebody
else's fault, has words for that somebody, and is caught where it can be answered; anything else is
a bug and is logged with its traceback.
"""

from __future__ import annotations

from typing import Any


class Sentence(str):
    """Words for a person, in English, that remember what they were made of: `template` with ``{names}``, and `values` for
    them. Whoever speaks another language says the template in it. A value, or a part of one that is a list, may be a
    sentence too."""

    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> Sentence:
        if isinstance(template, Sentence) and not values:
            return template
        made = super().__new__(cls, filled(template, values))
        made.template, made.values = template, values
        return made


def filled(template: str, values: dict[str, Any]) -> str:
    """`template` with its ``{names}`` replaced, lists with commas; as it stands when there are no values."""
    if not values:
        return template
    shown = {name: ", ".join(value) if isinstance(value, list) else value for name, value in values.items()}
    return template.format(**shown)


class CalltrackError(Exception):
    """A condition that calltrack expects and answers; `str()` of it is fit for a person."""


class SIPError(CalltrackError):
    """A request that is answered with `status` and `reason` (RFC 3261 section 21)."""

    status = 500
    reason = "Server Internal Error"
    headers: tuple[tuple[bytes, bytes], ...] = ()  # extra header fields of the answer

    def __init__(self, detail: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(detail or self.reason)
        self.detail = detail
        if headers:
            self.headers = headers


class MalformedMessage(SIPError):
    """Bytes that are no SIP message, or one whose mandatory fields cannot be read (section 7)."""

    status, reason = 400, "Bad Request"


class Forbidden(SIPError):
    status, reason = 403, "Forbidden"


class NotFound(SIPError):
    status, reason = 404, "Not Found"


class NotAcceptableHere(SIPError):
    """The session description cannot be used (section 21.4.26)."""

    status, reason = 488, "Not Acceptable Here"


class ServiceUnavailable(SIPError):
    status, reason = 503, "Service Unavailable"


class UnusableSDP(NotAcceptableHere):
    """A session description with nothing in it that can be relayed; the detail says what is wrong. `warning`: the same
    as a number (section 20.43)."""

    def __init__(self, detail: str = "", warning: int = 399) -> None:
        super().__init__(detail)
        self.warning = warning


class MediaUnavailable(ServiceUnavailable):
    """The relay has no free port or no working node."""


class NoMediaAddress(MediaUnavailable):
    """The relay has no address of the family that a party's media is of."""


class TransportFailure(CalltrackError):
    """A message could not be sent: no route, refused, closed, or an address that is none."""


class Unresolvable(CalltrackError):
    """A SIP address has no next hop (RFC 3263): the name does not exist or DNS does not answer."""


class ConfigErrors(CalltrackError):
    """Everything that is wrong in a configuration, one sentence an entry, each naming its key.

    Example entry: ``[sip] t1: 0 is outside 0.01 to 5 (seconds)``.
    """

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = list(errors)


class InvalidField(CalltrackError):
    """A value somebody entered (CLI, API, page) that is refused: `field`, and what is allowed, in English (`message`) and
    as it was said (`words`: mostly a `Sentence`)."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = str(message)
        self.words = message


class NoSuchObject(CalltrackError):
    """A project, scenario, number or call that does not exist; names what was asked for."""


class NotAllowed(CalltrackError):
    """Whoever asks is known and may not do this; says what would be needed."""


class TooManyRequests(CalltrackError):
    """An address or a project asks more often than it may; HTTP status 429."""

    status = 429

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after  # seconds


class StoreUnavailable(CalltrackError):
    """A store did not answer: locked, full, corrupt or gone. What may be repeated is repeated."""
