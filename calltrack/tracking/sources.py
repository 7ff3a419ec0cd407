"""Where a visitor came from: the address of a page and its referrer -> the marker of the visit, by rules.

A rule is a line ``CONDITION => MARKER``; the first whose condition holds and whose marker is not empty counts.

    ?utm_source=yandex* => direct_{utm_campaign}_{utm_term}     a parameter of the page's address; * is anything
    ?gclid => google_ads
    from *.partner.example => partner_{host}                    the host of the referrer
    search => search_{engine}                                   kinds: search, social, referral, direct

In a marker ``{name}`` is a parameter, ``{engine}``, ``{network}`` or ``{host}``; levels are joined by ``_`` and empty ones
left out. Knows addresses; not what becomes of the marker.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Callable, Iterable, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from calltrack.errors import InvalidField, Sentence
from calltrack.tracking.markers import clean_marker
from calltrack.tracking.patterns import wildcard
from calltrack.tracking.referrers import search_engine, social_network
from calltrack.tracking.targets import quoted

MAX_URL = 2048  # characters of an address that are read and kept
MAX_PARAMETERS = 100
MAX_RULES = 100

DEFAULT_RULES = (
    "?roistat => {roistat}",
    "?rs => {rs}",
    "?utm_source => {utm_source}_{utm_medium}_{utm_campaign}_{utm_content}_{utm_term}",
    "?gclid => google_ads",
    "?yclid => yandex_direct",
    "search => search_{engine}",
    "social => social_{network}",
    "referral => referral_{host}",
    "direct => direct",
)
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
CLICK_IDS = ("gclid", "yclid", "wbraid", "gbraid", "fbclid", "msclkid")

_KINDS = ("search", "social", "referral", "direct")
_FORM = "write CONDITION => MARKER, as in ?utm_source => {utm_source}_{utm_medium} or search => search_{engine}"
_PARAMETER = re.compile(r"\?([A-Za-z0-9_.\-\[\]]{1,64})(?:=(.{1,200}))?\Z")
_LEVEL = re.compile(r"_(?![^{}]*\})")
_PLACE = re.compile(r"\{([A-Za-z0-9_.\-\[\]]{1,64})\}")
_SCHEMES = ("http", "https")


class Arrival(NamedTuple):
    """How a visitor came to a page."""

    kind: str  # "search", "social", "referral", "direct" or "internal", by the referrer alone
    host: str  # of the referrer, lower case, without "www."
    parameters: dict[str, str]  # of the page's address; names in lower case, values cleaned


class Source(NamedTuple):
    """Where a visitor came from."""

    marker: str
    kind: str  # "ad" when a parameter decided, else the kind of the arrival
    utm: dict[str, str]
    click_id: str


class Rules:
    """The marker rules of a project, ready for use. Raises InvalidField for a line that is none."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._rules = [_rule(line) for line in (tuple(lines) or DEFAULT_RULES)]

    def source(self, arrival: Arrival) -> Source:
        """The source of an arrival. Without a rule that holds the marker is the arrival's kind."""
        parameters = arrival.parameters
        utm = {name: parameters[name] for name in UTM if name in parameters}
        click_id = next((parameters[name] for name in CLICK_IDS if name in parameters), "")
        for holds, template, by_parameter in self._rules:
            if holds(arrival):
                marker = _filled(template, arrival)
                if marker:
                    return Source(marker, "ad" if by_parameter else arrival.kind, utm, click_id)
        return Source(arrival.kind if arrival.kind in _KINDS else "direct", arrival.kind, utm, click_id)


@lru_cache(maxsize=1024)
def rules_of(lines: tuple[str, ...]) -> Rules:
    """The `Rules` of a project's `marker_rules`."""
    return Rules(lines)


def check_rules(lines: Iterable[str]) -> tuple[str, ...]:
    """Rules as a person wrote them, tidied. Raises InvalidField."""
    tidy = tuple(" ".join(line.split()) for line in lines)
    if len(tidy) > MAX_RULES:
        raise InvalidField("marker_rules", Sentence("{count} rules given; allowed: {most}", count=len(tidy), most=MAX_RULES))
    Rules(tidy)
    return tidy


def arrival(page: str, referrer: str, own_hosts: Iterable[str] = ()) -> Arrival:
    """How a visitor came to `page` from `referrer` (addresses as the browser has them; referrer "" = none).
    `own_hosts`: hosts that are the site itself, beside the page's own. Raises InvalidField when `page` is no address
    of a page; a referrer that cannot be read counts as none."""
    address = _split(page)
    if address is None or address.scheme not in _SCHEMES or not _host(address):
        raise InvalidField(
            "page", Sentence("{page} is no address of a page; allowed: http://... or https://...", page=quoted(page))
        )
    came = _split(referrer) if referrer else None
    host = _host(came) if came is not None and came.scheme in (*_SCHEMES, "android-app") else ""
    return Arrival(_kind(host, _host(address), own_hosts), host, _parameters(address))


def site_host(site: str) -> str:
    """The host of a project's site as `arrival` compares it."""
    address = _split(site)
    return _host(address) if address is not None else ""


def _kind(host: str, page_host: str, own_hosts: Iterable[str]) -> str:
    if not host:
        return "direct"
    if host == page_host or host in own_hosts:
        return "internal"
    if search_engine(host):
        return "search"
    return "social" if social_network(host) else "referral"


def _split(text: str) -> SplitResult | None:
    try:
        return urlsplit(text[:MAX_URL])
    except ValueError:  # as brackets that hold no IPv6 address
        return None


def _host(address: SplitResult) -> str:
    try:
        host = (address.hostname or "").rstrip(".")
    except ValueError:
        return ""
    return clean_marker(host.removeprefix("www."))


def _parameters(address: SplitResult) -> dict[str, str]:
    """The parameters of the query, and of the fragment where applications of a single page keep theirs; of a
    repeated one the first that says something."""
    found: dict[str, str] = {}
    fragment = address.fragment.partition("?")[2] or address.fragment
    for text in (address.query, fragment):
        if "=" not in text:
            continue
        pairs = "&".join(text.split("&", MAX_PARAMETERS)[:MAX_PARAMETERS])
        for name, value in parse_qsl(pairs, encoding="latin-1"):
            value = clean_marker(_decoded(value))
            if value:
                found.setdefault(_decoded(name).lower()[:64], value)
    return found


def _decoded(text: str) -> str:
    """Escapes are UTF-8, or in old advertisements windows-1251."""
    if text.isascii():
        return text
    try:
        raw = text.encode("latin-1")
    except UnicodeEncodeError:
        return text
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1251", "replace")


def _rule(line: str) -> tuple[Callable[[Arrival], bool], str, bool]:
    condition, arrow, template = line.partition("=>")
    condition, template = condition.strip(" "), template.strip(" ")
    if not arrow or not condition or not clean_marker(template):
        raise InvalidField("marker_rules", Sentence("{line} is no rule; {form}", line=quoted(line), form=Sentence(_FORM)))
    if "{" in _PLACE.sub("", template) or "}" in _PLACE.sub("", template):
        raise InvalidField(
            "marker_rules",
            Sentence("{line} has a brace that closes no name; {form}", line=quoted(line), form=Sentence(_FORM)),
        )
    parameter = _PARAMETER.match(condition)
    if parameter:
        return _by_parameter(parameter[1].lower(), parameter[2]), template, True
    if condition in _KINDS:
        return lambda arrival: arrival.kind == condition, template, False
    word, _, pattern = condition.partition(" ")
    if word == "from" and pattern:
        matches = wildcard(pattern)
        return lambda arrival: bool(arrival.host) and matches(arrival.host), template, False
    kinds = ", ".join(_KINDS)
    raise InvalidField(
        "marker_rules",
        Sentence(
            "{condition} is no condition; allowed: ?PARAMETER, ?PARAMETER=VALUE, from HOST, {kinds}",
            condition=quoted(condition),
            kinds=kinds,
        ),
    )


def _by_parameter(name: str, pattern: str | None) -> Callable[[Arrival], bool]:
    if pattern is None:
        return lambda arrival: name in arrival.parameters
    matches = wildcard(pattern)
    return lambda arrival: name in arrival.parameters and matches(arrival.parameters[name])


def _filled(template: str, arrival: Arrival) -> str:
    def value(place: re.Match[str]) -> str:
        name = place[1].lower()
        if name == "engine":
            return search_engine(arrival.host)
        if name == "network":
            return social_network(arrival.host)
        return arrival.host if name == "host" else arrival.parameters.get(name, "")

    levels = (_PLACE.sub(value, level) for level in _LEVEL.split(template))
    return clean_marker("_".join(level for level in levels if level))
