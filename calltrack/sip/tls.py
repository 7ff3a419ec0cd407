"""The certificate that TLS listens with. Knows two files and OpenSSL; no sockets, no SIP.

The files are looked at for each connection, so a renewed certificate is in use without a restart.
"""

from __future__ import annotations

import os
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from zope.interface import implementer

from calltrack.errors import ConfigErrors

log = Logger()


@implementer(IOpenSSLServerConnectionCreator)
class ServerCertificate:
    """What `reactor.listenSSL` takes. `certificate`: PEM file with the certificate and its chain; `key`: PEM file with
    the private key."""

    def __init__(self, certificate: str, key: str) -> None:
        self._certificate = certificate
        self._key = key
        self._seen: tuple[Any, ...] = ()
        self._context: SSL.Context | None = None
        self._complained = False

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self.load(), None)

    def load(self) -> SSL.Context:
        """The context for a new connection. Raises ConfigErrors when the files cannot be used; files that become
        unusable later leave the last context in use."""
        try:
            stamps = self._stamps()
            if stamps != self._seen:
                self._context, self._seen = self._load(), stamps
                log.info("TLS uses the certificate in {file}", file=self._certificate)
        except ConfigErrors as problem:
            if self._context is None:
                raise
            if not self._complained:
                log.error("TLS goes on with the certificate that it has: {problem}", problem=problem)
            self._complained = True
        else:
            self._complained = False
        return self._context

    def expires(self) -> float:
        """When the certificate ends, in seconds since the Unix epoch. Raises ConfigErrors."""
        with open(self._certificate, "rb") as file:
            certificate = crypto.load_certificate(crypto.FILETYPE_PEM, file.read())
        return certificate.to_cryptography().not_valid_after_utc.timestamp()

    def _stamps(self) -> tuple[Any, ...]:
        stamps = []
        for name, path in (("certificate", self._certificate), ("key", self._key)):
            try:
                found = os.stat(path)
            except OSError as problem:
                raise ConfigErrors([f"[tls] {name}: {path}: {problem.strerror}"]) from None
            stamps.append((found.st_mtime_ns, found.st_ino, found.st_size))
        return tuple(stamps)

    def _load(self) -> SSL.Context:
        context = CertificateOptions().getContext()
        for name, path, use in (
            ("certificate", self._certificate, context.use_certificate_chain_file),
            ("key", self._key, context.use_privatekey_file),
        ):
            try:
                use(path)
            except SSL.Error as problem:
                raise ConfigErrors([f"[tls] {name}: {path}: {_in_words(problem)}"]) from None
        return context


def _in_words(problem: SSL.Error) -> str:
    """What OpenSSL says last: the reason among the places that it was found at."""
    errors = problem.args[0] if problem.args else ()
    reason = errors[-1][-1] if errors else ""
    if "mismatch" in reason:
        return "does not belong to the certificate"
    return reason or "is no PEM file that can be read"
