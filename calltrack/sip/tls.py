"""The certificate that TLS listens with, and whose certificates are trusted. Knows files and OpenSSL; no sockets, no SIP.

The files are looked at for each connection, so a renewed certificate is in use without a restart.
"""

from __future__ import annotations

import os
import re
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from zope.interface import implementer

from calltrack.errors import ConfigErrors

log = Logger()

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


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
                raise ConfigErrors([f"[tls] {name}: {path}: {in_words(problem)}"]) from None
        return context


class Trust:
    """By whom the certificates of peers that we connect to must be signed. `authorities`: PEM file with the certificates
    of authorities, "" for those that this machine trusts. Not `verify`: whoever answers is taken for the peer."""

    def __init__(self, authorities: str = "", verify: bool = True) -> None:
        self._authorities = authorities
        self._verify = verify
        self._roots: Any = None

    def load(self) -> None:
        """Read the file now. Raises ConfigErrors when it cannot be used."""
        if not self._authorities:
            self._roots = platformTrust()
            return
        where = f"[tls] authorities: {self._authorities}: "
        try:
            with open(self._authorities, "rb") as file:
                found = _CERTIFICATE.findall(file.read())
        except OSError as problem:
            raise ConfigErrors([where + str(problem.strerror)]) from None
        try:
            certificates = [Certificate.loadPEM(text) for text in found]
        except (crypto.Error, ValueError):
            certificates = []
        if not certificates:
            raise ConfigErrors([where + "holds no certificate that can be read"])
        self._roots = trustRootFromCertificates(certificates)

    def creator(self, name: str) -> IOpenSSLClientConnectionCreator:
        """What makes a connection to a peer that must prove to be `name`, a host name or an address literal (RFC 5922
        section 7.1). Raises ConfigErrors."""
        if not self._verify:
            return _Unverified(name)
        if self._roots is None:
            self.load()
        return optionsForClientTLS(name.rstrip("."), self._roots)


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Connections to whoever answers; the name is told to it all the same (RFC 6066 section 3)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._context = CertificateOptions(verify=False).getContext()

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if not (isIPAddress(self._name) or isIPv6Address(self._name)):
            connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection


def in_words(problem: SSL.Error) -> str:
    """What OpenSSL says last: the reason among the places that it was found at."""
    errors = problem.args[0] if problem.args else ()
    reason = errors[-1][-1] if errors else ""
    if "mismatch" in reason:
        return "does not belong to the certificate"
    return reason or "is no PEM file that can be read"
