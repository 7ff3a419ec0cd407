"""Whether the kernel of this machine can carry media, and if not, why: in words for whoever runs it.

Reads what the kernel tells under /proc, and tries one entry that forwards nothing; changes nothing that stays.
"""

from __future__ import annotations

import errno
import os
from ipaddress import ip_address

from calltrack.media import conntrack
from calltrack.media.conntrack import Path
from calltrack.media.netlink import Netlink

_NET_ADMIN = 12  # CAP_NET_ADMIN, linux/capability.h
_FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
# Addresses for documentation (RFC 5737): nobody sends from there.
_TRIAL = Path(("192.0.2.1", 9), ("192.0.2.2", 9), ("198.51.100.1", 9), ("198.51.100.2", 9))


class NotReady(Exception):
    """The kernel cannot carry media here; the text says why and what would help."""


def versions(listen: tuple[str, ...], proc: str = "/proc") -> tuple[int, ...]:
    """The IP versions, of those that media listens on, in which the kernel may forward. Raises NotReady."""
    wanted = sorted({6 if ":" in host else 4 for host in listen})
    if all(ip_address(host).is_loopback for host in listen):
        raise NotReady(f"media listens on loopback only ([media] listen = {', '.join(listen)}), where nothing is forwarded")
    if not _capable(proc):
        raise NotReady(
            "the process lacks the capability CAP_NET_ADMIN (run it as root, or with AmbientCapabilities=CAP_NET_ADMIN "
            "in its systemd unit)"
        )
    found = tuple(version for version in wanted if _read(f"{proc}/sys/{_FORWARDING[version].replace('.', '/')}") == "1")
    if not found:
        names = " and ".join(f"{_FORWARDING[version]} = 1" for version in wanted)
        raise NotReady(f"the kernel does not forward packets; sysctl {names} lets it")
    return found


def try_entries() -> None:
    """See whether the kernel takes entries that forward. Raises NotReady."""
    try:
        netlink = Netlink()
    except OSError as error:
        raise NotReady(f"the kernel has no netlink for netfilter: {error.strerror}") from None
    try:
        gone = conntrack.delete(_TRIAL.a, _TRIAL.towards_a)
        _, inserted, _ = netlink.ask([gone, conntrack.insert(_TRIAL, 1), gone])
    except OSError as error:
        raise NotReady(f"the kernel does not answer on netlink: {error.strerror}") from None
    finally:
        netlink.close()
    if inserted:
        raise NotReady(f"the kernel takes no connection tracking entries: {_words(inserted)}")


def _words(code) -> str:
    if code == errno.EINVAL:
        return "is its module nf_conntrack_netlink, or nf_nat, missing?"
    return os.strerror(code) if isinstance(code, int) else "it answers what was not asked"


def _capable(proc: str) -> bool:
    for line in _read(f"{proc}/self/status").split("\n"):
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _NET_ADMIN & 1)
    return False


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
