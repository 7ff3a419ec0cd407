"""The project's SIP account: what phones log in with, its password, the devices that are logged in. And the rules that
are told while something is typed. Knows accounts and targets; no rule of them."""

from __future__ import annotations

import io

import segno

from calltrack.errors import InvalidField
from calltrack.tracking.accounts import broken_rules, published_account
from calltrack.tracking.targets import parse_target
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View


async def account(view: View) -> bytes:
    return await _page(view, {})


async def _page(view: View, errors: dict[str, str]) -> bytes:
    assert view.project is not None
    services = view.services
    found = await services.accounts.account(view.project.id)
    now = services.wall_ms() / 1000
    devices = [one for _, one in await services.accounts.registrations(view.project.id) if one.expires_at > now]
    shown = published_account(found, services.listen, services.domain)
    return view.render("account.html", 422 if errors else 200, account=shown, devices=devices, errors=errors)


async def save(view: View) -> bytes:
    """A password activates the account; none disables it, as the field says."""
    assert view.project is not None
    password = view.raw("password")
    if not password:
        await view.services.accounts.disable(view.project.id)
        await view.note("account.disabled")
        return view.redirect(view.link("account"), "disabled")
    try:
        await view.services.accounts.set_password(view.project.id, password)
    except InvalidField as error:
        return await _page(view, {error.field: error.words})
    await view.note("account.password-set")
    return view.redirect(view.link("account"), "account")


async def code(view: View) -> bytes:
    """The account's address as a QR code; the password is not in it."""
    assert view.project is not None
    services = view.services
    shown = published_account(await services.accounts.account(view.project.id), services.listen, services.domain)
    port = "" if shown["port"] == 5060 else f":{shown['port']}"
    transport = f";transport={shown['transports'][0]}" if shown["transports"] else ""
    out = io.BytesIO()
    made = segno.make(f"sip:{shown['user']}@{shown['domain']}{port}{transport}", error="m")
    made.save(out, kind="svg", border=2, scale=4, dark="#000", light="#fff", xmldecl=False, svgclass=None, lineclass=None)
    view.request.setHeader(b"content-type", b"image/svg+xml")
    return out.getvalue()


async def check_password(view: View) -> bytes:
    """Which rules the account's password breaks as it is typed."""
    value = view.raw("value")
    if not value:
        return view.json({"ok": None, "words": ""})
    broken = broken_rules(value)
    words = "\n".join(f"✗ {view.say(rule)}" for rule in broken) or f"✓ {view.say('keeps every rule')}"
    return view.json({"ok": not broken, "words": words})


async def check_target(view: View) -> bytes:
    """What is wrong with an outside address, or the phone number, as it is typed."""
    value = view.given("value")
    if not value:
        return view.json({"ok": None, "words": ""})
    try:
        target = parse_target(f"phone:{value}" if value[:1] in "+0123456789" and "@" not in value else value)
    except InvalidField as error:
        return view.json({"ok": False, "words": view.words.tell(error.words)})
    return view.json({"ok": True, "words": view.say("calls go to {target}", target=target.label)})


_P = "/projects/<int:project>"
ROUTES = (
    Route("GET", f"{_P}/account", "setup:read", account),
    Route("POST", f"{_P}/account", "setup:write", save),
    Route("GET", f"{_P}/account/code.svg", "setup:read", code),
    Route("POST", f"{_P}/check/password", "setup:read", check_password),
    Route("POST", f"{_P}/check/target", "setup:read", check_target),
)
