"""What a forwarded INVITE says and where it goes (PRODUCT sections 2.5, 4, 5). Knows targets, trunks and SIP
header syntax; no transactions.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, NamedTuple

from twisted.internet import defer

from calltrack.calls.admission import Admission
from calltrack.calls.destinations import Destination, Forwarded
from calltrack.errors import CalltrackError
from calltrack.sip.digest import Credentials
from calltrack.sip.grammar import quote
from calltrack.sip.uri import escape_user
from calltrack.tracking.markers import clean_marker
from calltrack.tracking.model import Route, Target

ANONYMOUS = b'"Anonymous" <sip:anonymous@anonymous.invalid>'


class NoDestination(CalltrackError):
    """A target that cannot be called now, in words for the record."""


class CallerID(NamedTuple):
    """Who the receiver sees calling. `user` "" = withheld."""

    user: str
    name: bytes = b""


class Destinations:
    """Turns a target into rounds of destinations: those of one round ring together, the next round is tried
    when a round has failed without anybody having been reached.

    `account(target, route) -> Deferred[list[list[Destination]]]` finds the contacts of a project's SIP account;
    None as long as there is no registrar.
    """

    def __init__(self, trunks: Iterable[Any], account: Callable[[Target, Route], Any] | None = None) -> None:
        self.down: set[str] = set()  # names of trunks that do not answer: they are tried last
        self._outbound = [trunk for trunk in trunks if trunk.outbound]
        self._account = account

    def use_trunks(self, trunks: Iterable[Any]) -> None:
        self._outbound = [trunk for trunk in trunks if trunk.outbound]

    def of(self, target: Target, route: Route) -> defer.Deferred[list[list[Destination]]]:
        """Fires with the rounds; fails with NoDestination."""
        if target.kind == "sip":
            uri = target.address.encode()
            if target.addressing.request_user == "dialled":
                uri = with_user(uri, route.dialled)
            return defer.succeed([[Destination(uri, target.address.encode())]])
        if target.kind == "phone":
            if not self._outbound:
                return defer.fail(NoDestination("no trunk has `outbound`, so no phone number can be called"))
            trunks = sorted(self._outbound, key=lambda trunk: trunk.name in self.down)
            return defer.succeed([[self._by_trunk(trunk, target.address)] for trunk in trunks])
        if self._account is None:
            return defer.fail(NoDestination("nobody is registered at the project's SIP account"))
        return self._account(target, route)

    def _by_trunk(self, trunk: Any, number: str) -> Destination:
        next_hop = trunk.outbound.encode()
        credentials = None
        if trunk.username:
            credentials = Credentials(trunk.username, trunk.password, realm=trunk.realm or None)
        uri = with_user(next_hop, written(number, trunk.number_format, trunk.country))
        return Destination(uri, next_hop, trunk.name, credentials)

    def trunk(self, name: str) -> Any:
        return next(trunk for trunk in self._outbound if trunk.name == name)


def written(number: str, style: str, country: str) -> str:
    """An E.164 number as a trunk wants it: "plus", "digits" or "national"."""
    digits = number.lstrip("+")
    if style == "digits":
        return digits
    if style == "national" and country:
        import phonenumbers  # slow to import, and few trunks want it

        parsed = phonenumbers.parse("+" + digits, None)
        if phonenumbers.region_code_for_number(parsed) == country:
            national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
            return "".join(char for char in national if char.isdigit())
    return "+" + digits


def with_user(uri: bytes, user: str) -> bytes:
    """A SIP URI with another user part."""
    scheme, _, rest = uri.partition(b":")
    host = rest.rpartition(b"@")[2]
    return b"%b:%b@%b" % (scheme, escape_user(user.encode()), host)


def caller_id(admission: Admission, trunk: Any | None) -> CallerID:
    """Who calls, as the receiver may see it: the original caller, or what an outbound trunk's policy says."""
    policy = trunk.caller_id if trunk is not None else "caller"
    if policy == "withheld":
        return CallerID("")
    if policy != "caller":
        return CallerID(policy)
    if trunk is not None and admission.caller.isdigit():
        return CallerID(written(admission.caller, trunk.number_format, trunk.country), admission.caller_name)
    return CallerID(admission.caller, admission.caller_name)


def tracking_headers(route: Route) -> list[bytes]:
    """`x-roistat-phone`, and when the call is attributed `x-roistat-marker` and `x-roistat`."""
    prefix, attribution = route.header_prefix.encode(), route.attribution
    lines = [b"%b-phone: %b" % (prefix, route.dialled.encode())]
    marker = clean_marker(attribution.marker).encode()
    channel = clean_marker(attribution.channel).encode()
    if marker:
        lines.append(b"%b-marker: %b" % (prefix, marker))
    if channel:
        lines.append(b"%b: %b" % (prefix, channel))
    return lines


def forwarded(
    call_id: bytes,
    target: Target,
    destination: Destination,
    route: Route,
    who: CallerID,
    max_forwards: int,
    diverted: tuple[bytes, ...] = (),
) -> Forwarded:
    """What the INVITE to one destination says. `diverted`: header lines about earlier forwardings."""
    addressing = target.addressing
    to_user = route.dialled if "to" in addressing.dialled_in else None
    to_uri = destination.uri.partition(b";")[0]
    to = b"<%b>" % (with_user(to_uri, to_user) if to_user else to_uri)
    common = [b"Route: " + value for value in destination.route]
    common += [b"Max-Forwards: %d" % max_forwards, *tracking_headers(route)]
    user = escape_user(who.user.encode())
    name = quote(who.name) + b" " if who.name else b""

    def lines(sent_by: bytes) -> tuple[bytes, bytes, list[bytes]]:
        from_ = b"%b<sip:%b@%b>" % (name, user, sent_by) if user else ANONYMOUS
        extra = list(common)
        dialled = b"<sip:%b@%b>" % (route.dialled.encode(), sent_by)
        if "diversion" in addressing.dialled_in:
            extra.append(b"Diversion: %b;reason=unconditional" % dialled)  # above the earlier ones (RFC 5806)
        extra += diverted
        if "p-called-party-id" in addressing.dialled_in:
            extra.append(b"P-Called-Party-ID: " + dialled)
        if user and "p-asserted-identity" in addressing.caller_id:
            extra.append(b"P-Asserted-Identity: %b<sip:%b@%b>" % (name, user, sent_by))
        if user and "remote-party-id" in addressing.caller_id:
            extra.append(b"Remote-Party-ID: %b<sip:%b@%b>;party=calling;screen=yes" % (name, user, sent_by))
        if not user:
            extra.append(b"Privacy: id")
        return from_, to, extra

    return Forwarded(call_id, who.user.encode(), lines)


