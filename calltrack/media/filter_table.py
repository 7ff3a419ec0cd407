"""Our table in the kernel's packet filter: which streams the kernel carries, and what has left by it.

The rules are static, and stand in words below; only elements of their sets come and go, in transactions. The table
touches nothing but packets of ports that stand in its sets:

    ours     our own addresses: their packets are not tracked, and so go to and from the relay's sockets ...
    streams  ... unless source and destination stand here: those are tracked, and translated by their entry
    sent     our own addresses that the kernel sends from: counts what has really left

So one transaction switches a stream from the sockets to the kernel, or back, between two packets. A stranger's packets
are never tracked: a flood of them fills no connection table, and ends at the sockets as before.

Knows nftables' netlink (linux/netfilter/nf_tables.h); knows no calls.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from calltrack.media.conntrack import Address, Path
from calltrack.media.netlink import CREATE, Netlink, NetlinkError, Request, attribute, attributes, nested

_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_GET_TABLE, _NEW_ELEMENT, _GET_ELEMENT, _DELETE_ELEMENT = 1, 12, 13, 14  # NFT_MSG_*
_INET = 1  # NFPROTO_INET
_ELEMENT_LIMIT = 500  # of one message: the list's length has 16 bits
_PORT = Struct(">H2x")  # each part of a key fills whole 32-bit registers
_COUNT = Struct(">Q")

RULES = """
add table inet {table}
add set inet {table} ours4 {{ typeof ip saddr . udp sport; }}
add set inet {table} ours6 {{ typeof ip6 saddr . udp sport; }}
add set inet {table} streams4 {{ typeof ip saddr . udp sport . ip daddr . udp dport; }}
add set inet {table} streams6 {{ typeof ip6 saddr . udp sport . ip6 daddr . udp dport; }}
add set inet {table} sent4 {{ typeof ip saddr . udp sport; counter; }}
add set inet {table} sent6 {{ typeof ip6 saddr . udp sport; counter; }}
add chain inet {table} arriving {{ type filter hook prerouting priority raw; policy accept; }}
add chain inet {table} leaving {{ type filter hook output priority raw; policy accept; }}
add chain inet {table} relayed {{ type filter hook postrouting priority 110; policy accept; }}
add chain inet {table} towards {{ type nat hook prerouting priority dstnat; policy accept; }}
add chain inet {table} from {{ type nat hook postrouting priority srcnat; policy accept; }}
flush chain inet {table} arriving
flush chain inet {table} leaving
flush chain inet {table} relayed
table inet {table} {{
    chain arriving {{
        meta l4proto != udp accept
        ip saddr . udp sport . ip daddr . udp dport @streams4 accept
        ip daddr . udp dport @ours4 notrack
        ip6 saddr . udp sport . ip6 daddr . udp dport @streams6 accept
        ip6 daddr . udp dport @ours6 notrack
    }}
    chain leaving {{
        # A router tells its neighbours the shorter way: ours must not, it would lead around us.
        icmp type redirect ct original ip daddr . ct original proto-dst @ours4 drop
        icmpv6 type nd-redirect ct original ip6 daddr . ct original proto-dst @ours6 drop
        ip saddr . udp sport @ours4 notrack
        ip6 saddr . udp sport @ours6 notrack
    }}
    chain relayed {{
        iif 0 accept
        ip saddr . udp sport @sent4 accept
        ip6 saddr . udp sport @sent6 accept
        # A phone whose port is closed for a moment must not end the far side's audio, as it would not through sockets.
        icmp type destination-unreachable icmp code port-unreachable ct original ip daddr . ct original proto-dst @ours4 drop
        icmpv6 type destination-unreachable icmpv6 code port-unreachable ct original ip6 daddr . ct original proto-dst @ours6 drop
    }}
}}
"""


class Count(NamedTuple):
    """What has left from one of our addresses through the kernel."""

    packets: int
    bytes: int  # with IP and UDP headers


class NoNftables(Exception):
    """Our table cannot be had; the text says why, for the operator."""


class FilterTable:
    """The table `name`. `make` before everything else."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._name = attribute(1, name.encode() + b"\0")  # NFTA_SET_ELEM_LIST_TABLE, NFTA_TABLE_NAME
        self._netlink = Netlink()
        self._lists = Netlink()  # for dumps alone: they are taken bit by bit, while other things are asked

    def close(self) -> None:
        self._netlink.close()
        self._lists.close()

    def make(self, reactor: Any) -> Deferred[None]:
        """Make the table, or renew its rules where it exists, whose elements stay. Fires with None; fails with
        NoNftables."""
        return Deferred.fromCoroutine(self._make(reactor))

    def destroy(self, reactor: Any) -> Deferred[None]:
        """Delete the table with all that is in it. Fires with None, also when it is gone; fails with NoNftables."""
        return Deferred.fromCoroutine(self._nft(reactor, f"add table inet {self.name}; delete table inet {self.name}"))

    @property
    def exists(self) -> bool:
        """Whether nobody has deleted it. Raises OSError."""
        (outcome,) = self._netlink.ask([Request(_SUBSYSTEM, _GET_TABLE, _INET, self._name)])
        return outcome != errno.ENOENT

    # Elements; all raise OSError, and then nothing has changed

    def own(self, paths: Iterable[Path]) -> None:
        """Track packets of our ends of `paths` no longer: they go to and from the relay's sockets."""
        self._change(_NEW_ELEMENT, [("ours", _ends(path)) for path in paths])

    def switch_on(self, paths: Iterable[Path]) -> None:
        """From now on the kernel carries `paths`."""
        changes = []
        for path in paths:
            changes += [("streams", _flows(path)), ("sent", _ends(path))]
        self._change(_NEW_ELEMENT, changes)

    def switch_off(self, path: Path) -> None:
        """From now on it is the sockets' again; what concerns `path` is out of the table."""
        ends = _ends(path)
        changes = (("streams", _flows(path)), ("sent", ends), ("ours", ends))
        try:
            self._change(_DELETE_ELEMENT, changes)
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            self._purge(changes)

    def forget(self, source: Address, destination: Address) -> None:
        """Take out one direction that was left here without the other."""
        key = [_key(destination)]
        self._purge((("streams", [_key(source) + _key(destination)]), ("sent", key), ("ours", key)))

    def disown(self, paths: Iterable[Path]) -> None:
        """Undo `own`."""
        self._change(_DELETE_ELEMENT, [("ours", _ends(path)) for path in paths])

    # What has been counted

    def count(self, addresses: list[Address]) -> list[Count | None]:
        """What has left from each; None where the kernel carries nothing. Raises OSError."""
        requests = []
        for address in addresses:
            version = 6 if ":" in address[0] else 4
            body = self._name + attribute(2, b"sent%d\0" % version) + nested(3, _element(_key(address)))
            requests.append(Request(_SUBSYSTEM, _GET_ELEMENT, _INET, body))
        counts: list[Count | None] = []
        for outcome in self._netlink.ask(requests):
            found = list(_elements(outcome)) if isinstance(outcome, bytes) else []
            counts.append(_counted(found[0]) if found else None)
        return counts

    def counts(self, version: int) -> Iterator[dict[Address, Count]]:
        """Everything that is counted, in portions; see `Netlink.dump`."""
        request = Request(_SUBSYSTEM, _GET_ELEMENT, _INET, self._name + attribute(2, b"sent%d\0" % version))
        for portion in self._lists.dump(request):
            yield {
                _address(element[1]): _counted(element) for message in portion for element in _elements(message)
            }

    def flows(self) -> list[tuple[Address, Address]]:
        """Source and destination of every direction that the kernel carries. Raises OSError."""
        found = []
        for version, size in ((4, 8), (6, 20)):
            request = Request(_SUBSYSTEM, _GET_ELEMENT, _INET, self._name + attribute(2, b"streams%d\0" % version))
            for portion in self._lists.dump(request):
                for message in portion:
                    for element in _elements(message):
                        found.append((_address(element[1][:size]), _address(element[1][size:])))
        return found

    # Inside

    def _purge(self, changes: Iterable[tuple[str, list[bytes]]]) -> None:
        """Take out what there is of these."""
        for name, keys in changes:
            for key in keys:
                try:
                    self._change(_DELETE_ELEMENT, [(name, [key])])
                except NetlinkError as error:
                    if error.errno != errno.ENOENT:
                        raise

    def _change(self, kind: int, changes: Iterable[tuple[str, list[bytes]]]) -> None:
        keys: dict[tuple[str, int], list[bytes]] = {}
        for name, some in changes:
            for key in some:
                keys.setdefault((name, 4 if len(key) in (8, 16) else 6), []).append(key)
        flags = CREATE if kind == _NEW_ELEMENT else 0
        requests = []
        for (name, version), every in keys.items():
            for start in range(0, len(every), _ELEMENT_LIMIT):
                elements = b"".join(_element(key) for key in every[start : start + _ELEMENT_LIMIT])
                body = self._name + attribute(2, f"{name}{version}\0".encode()) + nested(3, elements)
                requests.append(Request(_SUBSYSTEM, kind, _INET, body, flags))
        self._netlink.change(_SUBSYSTEM, requests, f"table inet {self.name}")

    async def _make(self, reactor: Any) -> None:
        rules = RULES.format(table=self.name)
        try:
            await self._nft(reactor, rules)
        except NoNftables:
            # Another version's table, perhaps, whose sets are of other types.
            await self.destroy(reactor)
            await self._nft(reactor, rules)

    async def _nft(self, reactor: Any, commands: str) -> None:
        program = find_nft()
        out, err, status = await getProcessOutputAndValue(program, [commands], os.environ, reactor=reactor)
        if status:
            first = (err or out).decode(errors="replace").strip().split("\n")[0]
            raise NoNftables(f"nft ended with status {status}: {first[:200]}")


def find_nft() -> str:
    """Where the program is that makes the table. Raises NoNftables."""
    program = shutil.which("nft", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if program is None:
        raise NoNftables("the program nft is not installed (Debian package nftables)")
    return program


def _key(address: Address) -> bytes:
    host, port = address
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host) + _PORT.pack(port)


def _address(key: bytes) -> Address:
    family = socket.AF_INET if len(key) == 8 else socket.AF_INET6
    return socket.inet_ntop(family, key[:-4]), _PORT.unpack(key[-4:])[0]


def _ends(path: Path) -> list[bytes]:
    return [_key(path.towards_a), _key(path.towards_b)]


def _flows(path: Path) -> list[bytes]:
    return [_key(path.a) + _key(path.towards_a), _key(path.b) + _key(path.towards_b)]


def _element(key: bytes) -> bytes:
    return nested(1, nested(1, attribute(1, key)))  # NFTA_LIST_ELEM, NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE


def _elements(message: bytes) -> Iterator[dict[int, bytes]]:
    """The elements in an answer: by attribute, the key (1) as bare bytes and the expression (7) as it came."""
    for kind, payload in attributes(message):
        if kind == 3:  # NFTA_SET_ELEM_LIST_ELEMENTS
            for _, element in attributes(payload):
                found = dict(attributes(element))
                found[1] = next(value for _, value in attributes(found[1]))
                yield found


def _counted(element: dict[int, bytes]) -> Count:
    """What the counter of an element says: NFTA_SET_ELEM_EXPR, NFTA_EXPR_DATA, NFTA_COUNTER_BYTES and _PACKETS."""
    numbers = dict(attributes(dict(attributes(element.get(7, b""))).get(2, b"")))
    if 1 not in numbers or 2 not in numbers:
        return Count(0, 0)
    return Count(_COUNT.unpack(numbers[2])[0], _COUNT.unpack(numbers[1])[0])
