"""The OpenAPI 3.1 description of operations, made of the types that validate what comes in. Knows no requests."""

from __future__ import annotations

import re
from typing import Any, Iterable

import msgspec

from calltrack import __version__
from calltrack.access.model import SCOPES
from calltrack.web.api.operations import NoParameters, Operation
from calltrack.web.api.problems import MEDIA_TYPE, Problem

PREFIX = "/api/v1"
_REFERENCE = "#/components/schemas/{name}"

_TAGS = {
    "projects": "The tracked businesses or sites.",
    "numbers": "Substitution numbers, which a trunk delivers.",
    "scenarios": "How numbers are shown and where their calls go.",
    "account": "The project's SIP account: phones and exchanges log in to it.",
    "calls": "Calls, their SIP messages, media figures and attribution; reports.",
    "events": "What happens, as it happens.",
    "visits": "Visitors' sessions on the sites, and the numbers that they need.",
    "webhooks": "Addresses that events are posted to, and what became of each attempt.",
    "trunks": "The providers' SIP peers.",
}
_ABOUT = (
    "Everything that the page does, for programs. Send a key as `Authorization: Bearer KEY`; "
    "`calltrack apikey add --project ID` gives one. A key of one project need not name it. "
    "Errors are problem details (RFC 9457); `field` names the value that was refused."
)


def description(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document, ready for JSON."""
    operations = list(operations)
    types = [kind for one in operations for kind in (one.body, one.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components([*types, Problem], ref_template=_REFERENCE)
    by_type = dict(zip(map(id, types), schemas))
    components["Problem"]["properties"].pop("headers")
    paths: dict[str, Any] = {}
    for one in operations:
        paths.setdefault(PREFIX + one.path, {})[one.method.lower()] = _operation(one, by_type)
    tags = {one.tag: {"name": one.tag, "description": _TAGS.get(one.tag, one.tag)} for one in operations}
    return {
        "openapi": "3.1.0",
        "info": {"title": "calltrack", "version": __version__, "description": _ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": list(tags.values()),
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key"}},
            "responses": {"Problem": {"description": "What went wrong", "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(name="Problem")}}}}},
        },
    }  # fmt: skip


def _operation(one: Operation, by_type: dict[int, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": f"Needs the scope `{one.scope}`: {SCOPES[one.scope]}." if one.scope else one.summary,
        "tags": [one.tag],
        "parameters": [*_parameters(one.parameters, "path"), *_parameters(one.query, "query")],
        "responses": {str(one.status): _answer(one, by_type), "default": {"$ref": "#/components/responses/Problem"}},
    }
    for status in (401, 403, *([404] if one.parameters is not NoParameters else []), 422):
        found["responses"][str(status)] = {"$ref": "#/components/responses/Problem"}
    if one.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": by_type[id(one.body)]}}}
    return found


def _answer(one: Operation, by_type: dict[int, Any]) -> dict[str, Any]:
    if one.raw:
        return {"description": one.summary, "content": {one.raw: {"schema": {"type": "string"}}}}
    if one.answer is None:
        return {"description": "Done"}
    return {"description": one.summary, "content": {"application/json": {"schema": by_type[id(one.answer)]}}}


def _parameters(kind: Any, where: str) -> Iterable[dict[str, Any]]:
    for field in msgspec.structs.fields(kind):
        schema = msgspec.json.schema(field.type)
        several = schema.get("type") == "array"
        yield {
            "name": field.encode_name,
            "in": where,
            "required": where == "path",
            "schema": _without_null(schema),
            **({"style": "form", "explode": True} if several else {}),
        }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out rather than null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
        return {**kinds[0], **rest}
    return {name: value for name, value in schema.items() if name != "default" or value is not None}


def werkzeug_path(path: str) -> str:
    """``/numbers/{number}`` as klein's routes have it."""
    return PREFIX + re.sub(r"\{(\w+)\}", r"<\1>", path)
