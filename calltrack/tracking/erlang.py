"""Erlang's loss formula: how often all numbers of a pool are taken. Pure arithmetic.

A load of 10 erlangs is ten numbers held on average. Source: A. K. Erlang, 1917; the formula holds for any distribution of
how long numbers are held, as long as visitors come independently of each other.
"""

from __future__ import annotations

MOST = 100_000  # numbers of a pool


def erlang_b(numbers: int, load: float) -> float:
    """The share of visitors who find no free number, of `numbers`, when `load` erlangs are offered."""
    if load <= 0:
        return 0.0 if numbers else 1.0
    blocked = 1.0
    for count in range(1, numbers + 1):  # B(n) = A B(n-1) / (n + A B(n-1))
        blocked = load * blocked / (count + load * blocked)
    return blocked
