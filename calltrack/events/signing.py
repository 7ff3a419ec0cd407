"""Signatures by which the receiver of a webhook knows that it comes from us (Standard Webhooks, symmetric keys).

    webhook-id: 01a209...ended
    webhook-timestamp: 1795457009
    webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=

What is signed is ID.TIMESTAMP.BODY, by HMAC-SHA256. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from calltrack.events.webhooks import SECRET_PREFIX


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`secret` as `webhooks.check_secret` lets it pass; `timestamp`: seconds since the Unix epoch."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def signature_headers(secret: str, message_id: str, timestamp: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """The header fields of one attempt."""
    return (
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", signature(secret, message_id, timestamp, body)),
    )
