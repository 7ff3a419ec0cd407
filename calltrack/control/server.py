"""The socket that operators reach a running engine by: a request is a line of JSON, and so is its answer.

    {"do": "hangup", "call": "01a2..."}      ->  {"result": ...}  or  {"error": "words for the operator"}

Only the user that the engine runs as may open it. Knows lines and sockets; what is done, `commands` says.
"""

from __future__ import annotations

import os
import socket
import stat
from typing import Any, Callable

import msgspec
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from calltrack.errors import CalltrackError

LONGEST_PATH = 107  # bytes: sockaddr_un has no more

log = Logger()


class Conversation(LineOnlyReceiver):
    """One operator. Requests are answered in their order."""

    delimiter = b"\n"
    MAX_LENGTH = 65_536

    def __init__(self, do: Callable[[dict[str, Any]], Any]) -> None:
        self._do = do
        self._last: Deferred[None] = Deferred()
        self._last.callback(None)

    def lineReceived(self, line: bytes) -> None:
        self._last.addCallback(lambda _: self._answer(line))

    def _answer(self, line: bytes) -> Deferred[None]:
        done = maybeDeferred(self._asked, line)
        return done.addCallbacks(lambda result: {"result": result}, _in_words).addCallback(self._tell)

    def _asked(self, line: bytes) -> Any:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError as problem:
            raise CalltrackError(f"a request is a JSON object on a line: {problem}") from None
        return self._do(request)

    def _tell(self, answer: dict[str, Any]) -> None:
        if self.connected:
            self.sendLine(msgspec.json.encode(answer))


class ControlSocket:
    """Listens at `path` between `start` and `stop`. `do(request)` gives what is answered, or a Deferred of it; a
    CalltrackError is the operator's to read."""

    def __init__(self, reactor: Any, path: str, do: Callable[[dict[str, Any]], Any]) -> None:
        self.path = os.path.abspath(path)
        self._reactor = reactor
        self._do = do
        self._port: Any = None

    def start(self) -> None:
        """An engine that cannot be reached so works all the same: what is wrong is logged."""
        problem = self._unusable()
        if not problem:
            factory = Factory.forProtocol(lambda: Conversation(self._do))
            factory.noisy = False
            mask = os.umask(0o177)  # nobody else may open it, not even before its mode is set
            try:
                self._port = self._reactor.listenUNIX(self.path, factory, mode=0o600)
            except CannotListenError as error:
                problem = str(error.socketError)
            finally:
                os.umask(mask)
        if problem:
            log.error("calltrack ctl cannot reach this engine at {path}: {problem}", path=self.path, problem=problem)

    def stop(self) -> Any:
        """A Deferred, or None when there is nothing to wait for."""
        port, self._port = self._port, None
        return port.stopListening() if port is not None else None

    def _unusable(self) -> str:
        """Why nobody can listen there. A socket that a dead engine left is removed."""
        if len(os.fsencode(self.path)) > LONGEST_PATH:
            return f"the path has more than {LONGEST_PATH} bytes; set [control] socket"
        try:
            if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                return "there is a file that is no socket"
        except FileNotFoundError:
            return ""
        except OSError as error:
            return str(error.strerror)
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.path)
            except ConnectionRefusedError:
                os.unlink(self.path)
                return ""
            except OSError as error:
                return str(error.strerror)
        return "another engine listens there"


def _in_words(failure: Failure) -> dict[str, str]:
    if failure.check(CalltrackError):
        return {"error": str(failure.value)}
    log.failure("an operator's request failed on a bug", failure=failure)
    return {"error": "a bug, see the engine's log"}
