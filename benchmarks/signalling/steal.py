#!/usr/bin/env python3
"""Take a share of a core away, as the host of a virtual machine does: a busy loop at real-time priority, until it is ended or
whoever started it is gone.

    steal.py CORE SHARE PERIOD

SHARE: of each period, 0 to 0.9; PERIOD in seconds. Needs root (CAP_SYS_NICE).
"""

from __future__ import annotations

import os
import sys
import time


def main(core: int, share: float, period: float) -> None:
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    parent = os.getppid()
    while os.getppid() == parent:
        until = time.monotonic() + share * period
        while time.monotonic() < until:
            pass
        time.sleep((1 - share) * period)


if __name__ == "__main__":
    main(int(sys.argv[1]), min(float(sys.argv[2]), 0.9), float(sys.argv[3]))
