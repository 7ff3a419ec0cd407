"""The API over HTTP: a request -> an operation, its values and whoever asks; its outcome -> a response.

Knows klein, keys and problems; no operation.
"""

from __future__ import annotations

import re
from typing import Any, Awaitable, Callable, Iterable

import msgspec
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException

from calltrack.access.model import Principal
from calltrack.errors import CalltrackError, InvalidField
from calltrack.tracking.targets import quoted
from calltrack.web.api import account, calls, setup, streams, visits, webhooks
from calltrack.web.api.openapi import PREFIX, description, werkzeug_path
from calltrack.web.api.operations import Asked, Operation, shown_key
from calltrack.web.api.problems import MEDIA_TYPE, Problem, not_json, of_error, of_value, problem
from calltrack.web.services import Services

log = Logger()

MAX_BODY = 65_536  # bytes

OPERATIONS: tuple[Operation, ...] = (
    *setup.OPERATIONS,
    *account.OPERATIONS,
    *calls.OPERATIONS,
    *streams.OPERATIONS,
    *visits.OPERATIONS,
    *webhooks.OPERATIONS,
)

_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T")  # msgspec would read plain digits as seconds
_REALM = b'Bearer realm="calltrack"'


class API:
    """`OPERATIONS` below /api/v1, by `services`; beside them /api/v1/openapi.json."""

    def __init__(self, services: Services, operations: Iterable[Operation] = OPERATIONS) -> None:
        self._services = services
        self._operations = tuple(operations)
        self._described = msgspec.json.encode(description(self._operations))
        app = self.app = Klein()
        for operation in self._operations:
            app.route(werkzeug_path(operation.path), methods=[operation.method])(self._route(operation))
        app.route(f"{PREFIX}/openapi.json", methods=["GET"])(self._describe)
        app.handle_errors(HTTPException)(self._not_routed)

    def _route(self, operation: Operation) -> Callable[..., Awaitable[bytes]]:
        async def answer(request: IRequest, **path: str) -> bytes:
            return await self._answer(operation, request, path)

        answer.__name__ = operation.name  # werkzeug tells endpoints by it
        return answer

    def _describe(self, request: IRequest) -> bytes:
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"cache-control", b"no-cache")
        return self._described

    async def _answer(self, operation: Operation, request: IRequest, path: dict[str, str]) -> bytes:
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"x-content-type-options", b"nosniff")
        try:
            who = await self._principal(request)
            if who is None:
                return _refuse(request, _unknown(request))
            body = _body(operation, request)
            asked = Asked(who, self._services, _converted(path, operation.parameters), _query(operation, request), body)
            if operation.raw:
                return await operation.work(asked, request)
            result = await operation.work(asked)
        except CalltrackError as error:
            return _refuse(request, of_error(error))
        except _NotJSON as error:
            return _refuse(request, error.problem)
        except CancelledError:  # the program has hung up
            raise
        except Exception:
            log.failure("{method} {path} failed on a bug", method=operation.method, path=operation.path)
            return _refuse(request, problem(500, "bug", "calltrack failed on a bug of its own; its log says where"))
        request.setResponseCode(operation.status)
        if operation.answer is None:
            return b""
        request.setHeader(b"content-type", b"application/json")
        return msgspec.json.encode(result)

    async def _principal(self, request: IRequest) -> Principal | None:
        key = shown_key(request)
        return await self._services.keys.principal(key) if key else None

    def _not_routed(self, request: IRequest, failure: Any) -> bytes:
        """No such path, or not with this method."""
        error = failure.value
        methods = sorted(getattr(error, "valid_methods", None) or ())
        if methods:
            headers = {"Allow": ", ".join(methods)}
            return _refuse(request, problem(405, "method", f"allowed here: {', '.join(methods)}", headers=headers))
        code = error.code or 404
        return _refuse(request, problem(code, "not-found", f"there is nothing here; see {PREFIX}/openapi.json"))


class _NotJSON(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def _refuse(request: IRequest, refusal: Problem) -> bytes:
    request.setResponseCode(refusal.status)
    request.setHeader(b"content-type", MEDIA_TYPE.encode())
    for name, value in refusal.headers.items():
        request.setHeader(name.lower().encode(), value.encode())
    return refusal.body()


def _unknown(request: IRequest) -> Problem:
    """Nobody: without a key, or with one that opens nothing."""
    given = request.getHeader(b"authorization") is not None
    words = "this key opens nothing" if given else "send an API key as  Authorization: Bearer KEY"
    request.setHeader(b"www-authenticate", _REALM + (b', error="invalid_token"' if given else b""))
    return problem(401, "key", words)


def _query(operation: Operation, request: IRequest) -> Any:
    fields = {field.encode_name: field for field in msgspec.structs.fields(operation.query)}
    found: dict[str, Any] = {}
    for raw, values in (request.args or {}).items():
        name = raw.decode("utf-8", "replace")
        if name not in fields:
            known = f"known: {', '.join(fields)}" if fields else "none are known here"
            raise InvalidField(name[:60], f"is no parameter of this address; {known}")
        texts = []
        for value in values:
            try:
                texts.append(value.decode("utf-8"))
            except UnicodeDecodeError:
                raise InvalidField(name, "is not UTF-8") from None
        schema = str(msgspec.json.schema(fields[name].type))
        several = "'array'" in schema
        if not several and len(texts) > 1:
            raise InvalidField(name, "stands there more than once")
        if "date-time" in schema and not _DATE.match(texts[0]):
            raise InvalidField(name, f"{quoted(texts[0])} is no instant; write it as 2026-11-23T18:00:00Z")
        found[name] = texts if several else texts[0]
    return _converted(found, operation.query)


def _converted(values: dict[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise of_value(error) from None


def _body(operation: Operation, request: IRequest) -> Any:
    if operation.body is None:
        return None
    content = request.content.read(MAX_BODY + 1)
    if len(content) > MAX_BODY:
        raise _NotJSON(problem(413, "too-large", f"a body has at most {MAX_BODY} bytes", "body"))
    media = (request.getHeader(b"content-type") or b"application/json").partition(b";")[0].strip(b" ").lower()
    if media not in (b"application/json", b"application/merge-patch+json"):
        raise _NotJSON(problem(415, "media-type", "send the body with  Content-Type: application/json", "body"))
    try:
        return msgspec.json.decode(content, type=operation.body)
    except msgspec.ValidationError as error:
        raise of_value(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _NotJSON(not_json(error)) from None
    except RecursionError:
        raise _NotJSON(not_json("it is nested too deep")) from None
