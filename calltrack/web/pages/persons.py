"""People and what they may do, the log of changes, and one's own account. Knows people; no rule of them."""

from __future__ import annotations

from calltrack.access.model import ROLES, Grant
from calltrack.access.passwords import MIN_PASSWORD, broken_rules
from calltrack.access.people import TooManyTries
from calltrack.errors import InvalidField
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View

AUDIT_PAGE = 100


async def people(view: View) -> bytes:
    return await _page(view, {}, {})


async def _page(view: View, values: dict[str, str], errors: dict[str, str], link: str = "", of: str = "") -> bytes:
    names = {one.id: one.name for one in view.projects}
    return view.render(
        "people.html",
        422 if errors else 200,
        people=await view.services.people.people(),
        names=names,
        places=[("", view.say("every project")), *((str(one.id), one.name) for one in view.projects)],
        roles=[(role, view.say(role)) for role in ROLES],
        values=values,
        errors=errors,
        link=link,
        of=of,
    )


def _grant(view: View) -> Grant:
    role = view.given("role")
    if role not in ROLES:
        raise InvalidField("role", view.say("is no role"))
    return Grant(project=view.whole("place"), role=role)  # type: ignore[arg-type]


async def add(view: View) -> bytes:
    values = {name: view.given(name) for name in ("name", "role", "place")}
    try:
        person = await view.services.people.add(values["name"], [_grant(view)], view.who.name)
    except InvalidField as error:
        return await _page(view, values, {error.field: error.words})
    secret = await view.services.people.link(person.id, who=view.who.name)
    return await _page(view, {}, {}, f"{view.base}/password?token={secret}", person.name)


async def grant(view: View) -> bytes:
    """Another role in one project, or in all; or none there any more."""
    person = await view.services.people.person(view.path["person"])
    place = view.whole("place")
    grants = [one for one in person.grants if one.project != place]
    try:
        if view.given("role") != "none":
            grants.append(_grant(view))
        await view.services.people.grant(person.id, grants, view.who.name)
    except InvalidField as error:
        return await _page(view, {}, {error.field: error.words})
    return view.redirect("/people", "saved")


async def link(view: View) -> bytes:
    person = await view.services.people.person(view.path["person"])
    secret = await view.services.people.link(person.id, who=view.who.name)
    return await _page(view, {}, {}, f"{view.base}/password?token={secret}", person.name)


async def remove(view: View) -> bytes:
    try:
        await view.services.people.remove(view.path["person"], view.who.name)
    except InvalidField as error:
        return await _page(view, {}, {error.field: error.words})
    return view.redirect("/people", "removed")


async def audit(view: View) -> bytes:
    entries = await view.services.people.audit(limit=AUDIT_PAGE + 1, before=view.whole("before"))
    following = entries[AUDIT_PAGE - 1].id if len(entries) > AUDIT_PAGE else None
    return view.render("audit.html", entries=entries[:AUDIT_PAGE], noted=_NOTED, following=following)


async def me(view: View) -> bytes:
    return await _me(view, {})


async def _me(view: View, errors: dict[str, str]) -> bytes:
    assert view.person is not None
    sessions = await view.services.people.sessions(view.person.id)
    names = {one.id: one.name for one in view.projects}
    return view.render("me.html", 422 if errors else 200, sessions=sessions, errors=errors, names=names, least=MIN_PASSWORD)


async def change_password(view: View) -> bytes:
    assert view.person is not None
    new = view.raw("password")
    try:
        if new != view.raw("again"):
            raise InvalidField("again", view.say("is not the same password"))
        await view.services.people.change_password(view.person.id, view.raw("old_password"), new)
    except InvalidField as error:
        return await _me(view, {error.field: error.words})
    except TooManyTries as error:
        return await _me(view, {"old_password": error.args[0]})
    return view.redirect("/log-in", "password")


async def check_password(view: View) -> bytes:
    value = view.raw("value")
    broken = broken_rules(value, view.person.name if view.person else "") if value else []
    words = "\n".join(f"✗ {view.say(rule)}" for rule in broken) or (f"✓ {view.say('keeps every rule')}" if value else "")
    return view.json({"ok": not broken if value else None, "words": words})


# What the log of changes says -> how people read it.
_NOTED = {
    "account.disabled": "password of the SIP account cleared",
    "account.password-set": "password of the SIP account set",
    "number.added": "number added",
    "number.changed": "number changed",
    "number.removed": "number removed",
    "project.added": "project added",
    "project.changed": "project changed",
    "scenario.added": "scenario added",
    "scenario.changed": "scenario changed",
    "scenario.removed": "scenario removed",
    "target.tested": "test call",
    "webhook.added": "webhook added",
    "webhook.removed": "webhook removed",
    "webhook.replayed": "webhook sent again",
    "api-key.added": "API key made",
    "api-key.removed": "API key removed",
    "person.added": "person let in",
    "person.granted": "role changed",
    "person.removed": "person removed",
    "person.set-up": "first person set up",
    "link.made": "link made",
    "log-in": "log-in",
    "log-in.refused": "log-in refused",
    "password.changed": "password changed",
}

ROUTES = (
    Route("GET", "/people", "access:write", people),
    Route("POST", "/people", "access:write", add),
    Route("POST", "/people/<int:person>/grant", "access:write", grant),
    Route("POST", "/people/<int:person>/link", "access:write", link),
    Route("POST", "/people/<int:person>/remove", "access:write", remove),
    Route("GET", "/audit", "access:write", audit),
    Route("GET", "/me", "", me),
    Route("POST", "/me", "", change_password),
    Route("POST", "/me/check", "", check_password),
)
