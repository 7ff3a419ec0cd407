"""What a webhook is, and the values of its deliveries. Knows what may stand in them; no HTTP, no stores, no clock."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Any, Iterable, Literal
from urllib.parse import urlsplit

import msgspec

from calltrack.errors import InvalidField, Sentence
from calltrack.events.model import TYPES, Logged

Format = Literal["roistat", "events", "ga4", "template"]

FORMATS = ("roistat", "events", "ga4", "template")
DEFAULT_EVENTS = ("call.started", "call.ended")
NOBODYS = tuple(name for name in TYPES if name.startswith(("trunk.", "target.")))  # events that are no project's
MAX_URL = 2000
MAX_HEADERS = 20
SECRET_PREFIX = "whsec_"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}\Z")  # RFC 9110 section 5.6.2
_RESERVED = {"host", "content-length", "content-type", "transfer-encoding", "connection", "expect", "upgrade"}


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where events of a project are posted, which, and how they look there."""

    id: int
    project: int
    url: str
    events: tuple[str, ...] = DEFAULT_EVENTS
    format: Format = "roistat"
    headers: tuple[tuple[str, str], ...] = ()
    secret: str = ""  # whsec_ and base64: the key of the signature
    template: str = ""  # of format "template": the body
    content_type: str = "application/json"
    measurement_id: str = ""  # of format "ga4"
    api_secret: str = ""
    created: int = 0  # milliseconds since the Unix epoch


class Delivery(msgspec.Struct, frozen=True):
    """An event that a webhook has not taken yet."""

    logged: Logged
    attempts: int = 0
    due: int = 0  # milliseconds since the Unix epoch

    @property
    def seq(self) -> int:
        return self.logged.seq


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the delivery log."""

    webhook: int
    event: str  # its id
    type: str
    number: int  # 1 = the first attempt
    at: int  # milliseconds since the Unix epoch
    took: int  # milliseconds
    status: int = 0  # of HTTP; 0 = no answer
    error: str = ""  # why it counts as failed; "" = delivered
    url: str
    request: str  # body
    response: str = ""  # the beginning of the body


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a delivery: gone from the outbox, due again at `due`, or `dead`. `attempt`: what is to be logged."""

    webhook: int
    seq: int
    attempts: int
    due: int | None = None
    dead: bool = False
    attempt: Attempt | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a webhook is doing."""

    pending: int = 0  # planned deliveries
    dead: int = 0
    behind: int = 0  # events of the log that it has not looked at yet
    last: Attempt | None = None


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def check_url(url: str) -> str:
    """An address to post to. Raises InvalidField."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidField("url", Sentence("{url} holds characters that must be percent-encoded", url=ascii(url)[:80]))
    if len(url) > MAX_URL:
        raise InvalidField("url", Sentence("is longer than {most} characters", most=MAX_URL))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidField("url", Sentence("{url} is no address: {error}", url=url, error=error)) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidField("url", Sentence("{url} is no address to post to; write https://host/path", url=url or "it"))
    if parts.username is not None or parts.password is not None:
        raise InvalidField("url", "holds a user name or password; give an Authorization header instead")
    if parts.fragment:
        raise InvalidField("url", "holds a fragment (#), which is never sent")
    if port == 0:
        raise InvalidField("url", "port 0 cannot be connected to")
    return url


def check_events(names: Iterable[str]) -> tuple[str, ...]:
    """Types of events; `call.*` stands for all that begin so, `*` for all. Raises InvalidField."""
    chosen: dict[str, None] = {}
    for name in names:
        prefix = name.removesuffix("*")
        found = [known for known in TYPES if known == name or (prefix != name and known.startswith(prefix))]
        if not found:
            raise InvalidField(
                "event", Sentence("{name} is none of {allowed}, call.*, *", name=ascii(name)[:60], allowed=", ".join(TYPES))
            )
        chosen.update(dict.fromkeys(found))
    return tuple(chosen) or DEFAULT_EVENTS


def check_events_of_project(names: Iterable[str]) -> tuple[str, ...]:
    """As `check_events`, without what is no project's: trunks and outside targets are the operator's. Raises
    InvalidField when such a type is named."""
    names = tuple(names)
    for name in names:
        if name in NOBODYS:
            raise InvalidField(
                "event", Sentence("{name} is no project's; a [[sink]] in the configuration gets it", name=name)
            )
    return tuple(name for name in check_events(names) if name not in NOBODYS)


def check_headers(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Header fields written as ``Name: value``. Raises InvalidField."""
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        value = value.strip(" ")
        if not colon or not _TOKEN.match(name):
            raise InvalidField("header", Sentence("{line} is no header field; write Name: value", line=ascii(line)[:60]))
        if name.lower() in _RESERVED or name.lower().startswith("webhook-"):
            raise InvalidField("header", Sentence("{name} is set by calltrack", name=name))
        if not value.isprintable() or not value.isascii() or len(value) > 2000:
            raise InvalidField(
                "header", Sentence("the value of {name} is not printable ASCII of at most 2000 characters", name=name)
            )
        headers.append((name, value))
    if len(headers) > MAX_HEADERS:
        raise InvalidField("header", Sentence("there are more than {most}", most=MAX_HEADERS))
    return tuple(headers)


def check_secret(secret: str) -> str:
    """A key as Standard Webhooks writes it. Raises InvalidField."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise InvalidField("secret", Sentence("is not {prefix} followed by 24 to 64 bytes in base64", prefix=SECRET_PREFIX))
    return secret


def published_webhook(webhook: Webhook, standing: Standing = Standing(), secrets_too: bool = False) -> dict[str, Any]:
    """A webhook as the command line, the page and the API show it; keys are shown when it is made, not later."""
    fields = msgspec.to_builtins(webhook)
    fields["headers"] = dict(webhook.headers)
    if not secrets_too:
        fields["headers"] = {name: "(hidden)" for name in fields["headers"]}
        for name in ("secret", "api_secret"):
            fields[name] = "(hidden)" if fields[name] else ""
    return fields | msgspec.to_builtins(standing)
