"""The ways in and out: set-up by a link, log-in, log-out, a password by a link, the language. Knows people and sessions."""

from __future__ import annotations

from calltrack.access.passwords import MIN_PASSWORD
from calltrack.access.people import TooManyTries, WrongPassword
from calltrack.errors import InvalidField, NotAllowed
from calltrack.web.pages import gate
from calltrack.web.pages.site import Route
from calltrack.web.pages.view import View
from calltrack.web.pages.wording import LANGUAGES


async def home(view: View) -> bytes:
    """Where somebody begins: their first project, or making one."""
    if view.projects:
        return view.redirect(f"/projects/{view.projects[0].id}")
    return view.redirect("/projects/new") if view.who.may("setup:write", None) else view.render("no_project.html")


async def set_up_form(view: View) -> bytes:
    link = await view.services.people.link_of(view.given("token"))
    if link is None or link.purpose != "set-up":
        raise NotAllowed(view.say("This set-up link does not work any more. The service prints a new one when it starts, until somebody has used it."))
    return _set_up(view, {})


async def set_up(view: View) -> bytes:
    people, name, password = view.services.people, view.given("name"), view.raw("password")
    try:
        _repeated(view, password)
        person = await people.set_up(view.given("token"), name, password)
    except InvalidField as error:
        return _set_up(view, {error.field: error.words})
    return await _enter(view, person, "/projects/new")


def _set_up(view: View, errors: dict[str, str]) -> bytes:
    values = {"token": view.given("token"), "name": view.given("name")}
    return view.render("set_up.html", 422 if errors else 200, values=values, errors=errors, least=MIN_PASSWORD)


async def log_in_form(view: View) -> bytes:
    if view.person is not None:
        return view.redirect("/")
    return view.render("log_in.html", error="", name="", to=_ours(view.given("to")))


async def log_in(view: View) -> bytes:
    name, to = view.given("name"), _ours(view.given("to"))
    try:
        session, secret = await view.services.people.log_in(name, view.raw("password"), view.address, view.browser)
    except TooManyTries as error:
        view.request.setHeader(b"retry-after", str(max(1, round(error.wait))).encode())
        words = view.say("Too many wrong passwords. Try again in {seconds} seconds.", seconds=max(1, round(error.wait)))
        return view.render("log_in.html", 429, error=words, name=name, to=to)
    except WrongPassword:
        return view.render("log_in.html", 403, error=view.say("The name or the password is wrong."), name=name, to=to)
    await _end_old(view)
    gate.set_cookie(view.request, gate.SESSION, secret, view.secure)
    return view.redirect(to)


async def log_out(view: View) -> bytes:
    assert view.session is not None
    await view.services.people.log_out(view.session, everywhere=view.flag("everywhere"))
    gate.set_cookie(view.request, gate.SESSION, "", view.secure, 0)
    return view.redirect("/log-in", "logged-out")


async def password_form(view: View) -> bytes:
    link = await view.services.people.link_of(view.given("token"))
    if link is None or link.purpose != "password":
        raise NotAllowed(view.say("This link does not work any more; ask for a new one."))
    return _password(view, {})


async def password(view: View) -> bytes:
    try:
        chosen = view.raw("password")
        _repeated(view, chosen)
        person = await view.services.people.choose_password(view.given("token"), chosen)
    except InvalidField as error:
        return _password(view, {error.field: error.words})
    return await _enter(view, person, "/")


def _password(view: View, errors: dict[str, str]) -> bytes:
    return view.render("password.html", 422 if errors else 200, token=view.given("token"), errors=errors, least=MIN_PASSWORD)


async def enter(view: View) -> bytes:
    """By a link that logs in; a page with a button, so that nothing that only looks at links uses it up."""
    return view.render("enter.html", token=view.given("token"))


async def entered(view: View) -> bytes:
    session, secret = await view.services.people.enter(view.given("token"), view.address, view.browser)
    await _end_old(view)
    gate.set_cookie(view.request, gate.SESSION, secret, view.secure)
    return view.redirect("/")


async def language(view: View) -> bytes:
    wanted = view.path["language"]
    if wanted in LANGUAGES:
        gate.set_cookie(view.request, gate.LANGUAGE, wanted, view.secure, gate.YEAR)
    return view.redirect(_ours(view.given("to")))


async def _enter(view: View, person, to: str) -> bytes:
    """Log somebody in who has just shown who they are, in a session that begins now."""
    await _end_old(view)
    _, secret = await view.services.people.begin(person, view.address, view.browser)
    gate.set_cookie(view.request, gate.SESSION, secret, view.secure)
    return view.redirect(to)


async def _end_old(view: View) -> None:
    """A session that the browser had before, whoever put it there, does not live on beside the new one."""
    if view.session is not None:
        await view.services.people.log_out(view.session)


def _repeated(view: View, password: str) -> None:
    if password != view.raw("again"):
        raise InvalidField("again", view.say("is not the same password"))


def _ours(path: str) -> str:
    """A path of this site; anything else is the beginning."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"


ROUTES = (
    Route("GET", "/", "", home),
    Route("GET", "/set-up", None, set_up_form),
    Route("POST", "/set-up", None, set_up),
    Route("GET", "/log-in", None, log_in_form),
    Route("POST", "/log-in", None, log_in),
    Route("POST", "/log-out", "", log_out),
    Route("GET", "/password", None, password_form),
    Route("POST", "/password", None, password),
    Route("GET", "/enter", None, enter),
    Route("POST", "/enter", None, entered),
    Route("GET", "/language/<language>", None, language),
)
