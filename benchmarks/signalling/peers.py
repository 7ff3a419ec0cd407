"""The programs that are measured, and how each is started: on UDP 127.0.0.1:15060, calls go on to 127.0.0.3:15062.

Knows their command lines and configurations; not what is measured of them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
CHECKOUT = Path(os.environ.get("CALLTRACK_TREE", HERE.parents[1]))  # another checkout can be measured with these scripts
SIPPY_PYTHON = os.environ.get("SIPPY_PYTHON", "")  # the interpreter of a virtual environment with `sippy` in it

_CALLTRACK = """\
[sip]
listen = ["udp:127.0.0.1:15060"]
[media]
listen = "127.0.0.1"
[web]
listen = "127.0.0.1:0"
[[trunk]]
name = "bench"
sources = ["127.0.0.2/32"]
"""


class Command(NamedTuple):
    """A program to start in its own directory."""

    arguments: list[str]
    environment: dict[str, str] = {}


Peer = Callable[[Path], Command]  # gets an empty directory to work in


class NotInstalled(Exception):
    """A peer that is not on this machine; says how to get it."""


def calltrack(directory: Path, profile: Path | None = None) -> Command:
    """This checkout as its users run it: SQLite, spool, log file and relay at their defaults, one trunk, the numbers
    1000 to 1999 in a static scenario. `profile`: where cProfile leaves its figures."""
    environment = {"PYTHONPATH": str(CHECKOUT)}
    (directory / "calltrack.toml").write_text(_CALLTRACK)
    target = "sip:uas@127.0.0.3:15062"
    seed = [sys.executable, str(HERE / "seed.py"), "sqlite:calltrack.db", target]
    subprocess.run(seed, cwd=directory, env=os.environ | environment, check=True)
    twistd = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile="]
    if profile is not None:
        twistd += [f"--profile={profile}", "--profiler=cprofile", "--savestats"]
    return Command([*twistd, "--logfile=calltrack.log", "calltrack", "--config=calltrack.toml"], environment)


def sippy(directory: Path, *extra: str) -> Command:
    """Sippy's simple back-to-back user agent, its log switched off."""
    if not SIPPY_PYTHON:
        raise NotInstalled("SIPPY_PYTHON names no interpreter: python3 -m venv X && X/bin/pip install sippy")
    arguments = [SIPPY_PYTHON, "-m", "sippy.b2bua_simple", "-f", "-l", "127.0.0.1", "-p", "15060"]
    return Command([*arguments, "-n", "127.0.0.3:15062", "-L", "/dev/null"], {"SIPLOG_BEND": "none"})


def kamailio(workers: int) -> Peer:
    """A stateful proxy with record-route; `workers`: its UDP processes, Debian's default is 8."""

    def command(directory: Path) -> Command:
        text = (HERE / "kamailio.cfg").read_text().replace("children=2", f"children={workers}")
        (directory / "kamailio.cfg").write_text(text)
        # -x fm: the memory manager one deploys; Debian's default is for finding faults in Kamailio.
        return Command(["kamailio", "-f", "kamailio.cfg", "-DD", "-E", "-m", "2048", "-M", "64", "-x", "fm", "-X", "fm"])

    return command


PEERS: dict[str, Peer] = {
    "calltrack": calltrack,
    "sippy": sippy,
    "kamailio": kamailio(2),
    "kamailio1": kamailio(1),
}


def find(name: str) -> Peer | None:
    """The peer of a name, or of `cmd:WORDS` for any other program; None for `none`, sipp straight to sipp.
    Raises KeyError."""
    if name == "none":
        return None
    if name.startswith("cmd:"):
        return lambda directory: Command(shlex.split(name[4:]))
    return PEERS[name]
