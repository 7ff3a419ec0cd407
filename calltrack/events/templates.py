"""Bodies written by the user: text with ``{{ field }}`` in it, each value quoted as the content type asks for. Pure.

    {"phone": {{ caller }}, "from": {{ marker }}}          application/json: a JSON value
    phone={{ caller }}&from={{ marker }}                    application/x-www-form-urlencoded: percent-encoded
    <call><phone>{{ caller }}</phone></call>                text/xml, application/xml: escaped

No value can break out of its place, whatever the network has put into it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Mapping
from urllib.parse import quote
from xml.sax.saxutils import escape

from calltrack.errors import InvalidField, Sentence

MAX_TEMPLATE = 20_000  # characters
CONTENT_TYPES = ("application/json", "application/x-www-form-urlencoded", "application/xml", "text/xml", "text/plain")

_FIELD = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r" *([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*) *\Z")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_template(template: str, content_type: str, known: Mapping[str, Any]) -> None:
    """Try a template on the fields of an event, `known`. Raises InvalidField with every field that is wrong."""
    if content_type not in CONTENT_TYPES:
        raise InvalidField(
            "content_type",
            Sentence(
                "{content_type} is none of {allowed}",
                content_type=ascii(content_type)[:60],
                allowed=", ".join(CONTENT_TYPES),
            ),
        )
    if not template or len(template) > MAX_TEMPLATE:
        raise InvalidField(
            "template", Sentence("has {count} characters; allowed: 1 to {most}", count=len(template), most=MAX_TEMPLATE)
        )
    wrong = []
    for inner in _FIELD.findall(template):
        name = _NAME.match(inner)
        if name is None:
            wrong.append(Sentence("{field} is no field name", field=f"{{{{{ascii(inner)[1:-1][:40]}}}}}"))
        elif _find(known, name[1]) is _MISSING:
            wrong.append(Sentence("{field} is no field of the chosen events", field=name[1]))
    if wrong:
        raise InvalidField("template", Sentence("{wrong}. Known: {known}", wrong=wrong, known=", ".join(sorted(known))))
    body = render(template, content_type, known)
    if content_type == "application/json":
        try:
            json.loads(body)
        except ValueError as error:
            raise InvalidField(
                "template",
                Sentence("does not give JSON: {error}; a field stands without quotes, as in {{{{ caller }}}}", error=error),
            ) from None


def render(template: str, content_type: str, fields: Mapping[str, Any]) -> bytes:
    """The body; a field that this event does not have is null, or nothing where there is no null."""

    def value(match: re.Match[str]) -> str:
        name = _NAME.match(match[1])
        found = _find(fields, name[1]) if name else None
        return _quoted(None if found is _MISSING else found, content_type)

    return _FIELD.sub(value, template).encode("utf-8", "replace")


_MISSING = object()


def _find(fields: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(fields, Mapping) or name not in fields:
            return _MISSING
        fields = fields[name]
    return fields


def _quoted(value: Any, content_type: str) -> str:
    if content_type == "application/json":
        return json.dumps(value, ensure_ascii=False)
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if content_type == "application/x-www-form-urlencoded":
        return quote(text.encode("utf-8", "replace"), safe="")
    if content_type in ("application/xml", "text/xml"):
        return escape(_NOT_XML.sub("", text), {'"': "&quot;", "'": "&apos;"})
    return "".join(char if char.isprintable() else " " for char in text)
