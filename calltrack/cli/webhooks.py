"""`calltrack webhook`."""

from __future__ import annotations

import time
from typing import Any, Awaitable, Callable, TypeVar

import click

from calltrack.cli.environment import Environment
from calltrack.cli.moments import MOMENT
from calltrack.cli.output import json_option, print_fields, print_json, print_table, printable
from calltrack.cli.parameters import OBJECT_ID, project_option
from calltrack.events.hooks import Webhooks
from calltrack.events.webhooks import FORMATS, Attempt, Standing, Webhook, published_webhook
from calltrack.tracking.published import iso_time

Result = TypeVar("Result")


@click.group()
def webhook() -> None:
    """Post events of a project to an address: add, list, remove, test webhooks, see what became of deliveries."""


@webhook.command()
@click.argument("url", default="")
@click.option("--project", type=OBJECT_ID, required=True, metavar="ID", help="Whose events.")
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="TYPE",
    help="As call.ended, call.* or *; may be repeated. Otherwise call.started and call.ended.",
)
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="To be sent too; may be repeated.")
@click.option("--format", type=click.Choice(FORMATS), default="roistat", show_default=True, help="Of the body.")
@click.option("--secret", default="", metavar="whsec_...", help="Key of the signature; otherwise one is made.")
@click.option("--template", type=click.File(encoding="utf-8"), metavar="FILE", help="Of format template: the body.")
@click.option("--content-type", default="application/json", show_default=True, help="Of format template.")
@click.option("--measurement-id", default="", metavar="G-...", help="Of format ga4: the web stream.")
@click.option("--api-secret", default="", help="Of format ga4.")
@json_option
@click.pass_obj
def add(environment: Environment, url: str, project: int, template: Any, as_json: bool, **options: Any) -> None:
    """Post to URL what happens in a project from now on (format ga4 knows where)."""
    text = template.read() if template is not None else ""
    added = _work(environment, lambda hooks: hooks.add(project, url, template=text, **options))
    fields = published_webhook(added, secrets_too=True)
    if as_json:
        print_json(fields)
        return
    _show(fields)
    click.echo("The secret is shown this once. Try it: calltrack webhook test " + str(added.id))


@webhook.command("list")
@project_option
@json_option
@click.pass_obj
def list_(environment: Environment, project: int | None, as_json: bool) -> None:
    """List webhooks and how they are doing."""
    found = _work(environment, lambda hooks: hooks.list(project))
    if as_json:
        print_json([published_webhook(one, standing) for one, standing in found])
        return
    columns = ("webhook", "project", "url", "format", "events", "pending", "dead", "behind", "last attempt")
    print_table(columns, [_row(*pair) for pair in found], "No webhooks yet: calltrack webhook add URL --project ID")


@webhook.command()
@click.argument("webhook", type=OBJECT_ID)
@json_option
@click.pass_obj
def remove(environment: Environment, webhook: int, as_json: bool) -> None:
    """Forget WEBHOOK and what it has not taken yet."""
    _work(environment, lambda hooks: hooks.remove(webhook))
    print_json({"removed": webhook}) if as_json else click.echo(f"Webhook {webhook} is gone.")


@webhook.command()
@click.argument("webhook", type=OBJECT_ID)
@click.option("--event", "kind", default="", metavar="TYPE", help="As call.started.")
@json_option
@click.pass_context
def test(ctx: click.Context, webhook: int, kind: str, as_json: bool) -> None:
    """Post an invented call to WEBHOOK once, and show what was sent and answered; exit status 1 when it was not taken.
    Format ga4 asks the debug server, which says of each field what is wrong with it."""
    environment: Environment = ctx.obj
    attempt, wrong = _posting(environment, lambda hooks, post: hooks.test(webhook, post, kind))
    if as_json:
        print_json({**published_attempt(attempt), "problems": wrong})
    else:
        print_fields([("sent to", attempt.url), ("body", attempt.request), ("answered", _answered(attempt))])
        for sentence in wrong:
            click.echo("wrong: " + printable(sentence))
    if attempt.error:
        ctx.exit(1)


@webhook.command()
@click.argument("webhook", type=OBJECT_ID, required=False)
@project_option
@click.option("--call", metavar="ID", help="Of this call only.")
@click.option("--failed", is_flag=True, help="Failed attempts only.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@json_option
@click.pass_obj
def log(
    environment: Environment,
    webhook: int | None,
    project: int | None,
    call: str | None,
    failed: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List attempts to deliver, newest first: to WEBHOOK, or to all. With --json also what was sent and answered."""
    found = _work(
        environment,
        lambda hooks: hooks.log(project=project, webhook=webhook, call=call, failed=failed, limit=limit),
    )
    if as_json:
        print_json([{"number": number, **published_attempt(attempt)} for number, attempt in found])
        return
    columns = ("at", "webhook", "event", "attempt", "took", "answered")
    rows = [
        (iso_time(one.at), one.webhook, one.event, one.number, f"{one.took} ms", _answered(one)) for _, one in found
    ]
    print_table(columns, rows, "Nothing was delivered or tried yet.")


@webhook.command()
@click.argument("webhook", type=OBJECT_ID)
@click.option("--event", metavar="ID", help="This event, as the log names it.")
@click.option("--call", metavar="ID", help="All events of this call.")
@click.option("--since", type=MOMENT, metavar="TIME", help="What happened from then on: 2026-11-23T18:00, or 24h.")
@click.option("--until", type=MOMENT, metavar="TIME", help="What happened before.")
@click.option("--dead", is_flag=True, help="What was given up.")
@json_option
@click.pass_obj
def replay(environment: Environment, webhook: int, as_json: bool, **choice: Any) -> None:
    """Deliver again to WEBHOOK, with the same ids, what matches all that is given."""
    count = _work(environment, lambda hooks: hooks.replay(webhook, **choice))
    if as_json:
        print_json({"webhook": webhook, "events": count})
    else:
        click.echo(f"{count} events are delivered again." if count else "No event matches.")


def published_attempt(attempt: Attempt) -> dict[str, Any]:
    """An attempt as JSON shows it."""
    fields = {name: getattr(attempt, name) for name in Attempt.__struct_fields__}
    return fields | {"at": iso_time(attempt.at), "delivered": not attempt.error}


def _work(environment: Environment, work: Callable[[Webhooks], Awaitable[Result]]) -> Result:
    return environment.with_stores(lambda stores: work(Webhooks(stores.webhooks, stores.catalog, _wall_ms)))


def _posting(environment: Environment, work: Callable[[Webhooks, Any], Awaitable[Result]]) -> Result:
    async def with_poster(stores: Any) -> Result:
        from twisted.internet import reactor

        from calltrack.events.wiring import make_poster

        poster = make_poster(reactor, environment.settings.webhooks)
        try:
            return await work(Webhooks(stores.webhooks, stores.catalog, _wall_ms), poster.post)
        finally:
            await poster.close()

    return environment.with_stores(with_poster)


def _wall_ms() -> int:
    return int(time.time() * 1000)


def _answered(attempt: Attempt) -> str:
    told = f"{attempt.status}" if attempt.status else ""
    return " ".join(filter(None, (told, attempt.error or "delivered", attempt.response[:200] if attempt.error else "")))


def _row(one: Webhook, standing: Standing) -> tuple:
    last = f"{iso_time(standing.last.at)} {_answered(standing.last)}" if standing.last is not None else ""
    events = ", ".join(one.events)
    return (one.id, one.project, one.url, one.format, events, standing.pending, standing.dead, standing.behind, last)


def _show(fields: dict[str, Any]) -> None:
    left_out = ("pending", "dead", "behind", "last", "created")
    shown = {name: value for name, value in fields.items() if name not in left_out and value}
    if "headers" in shown:
        shown["headers"] = [f"{name}: {value}" for name, value in shown["headers"].items()]
    if shown.get("format") != "template":
        shown.pop("content_type", None)
    print_fields(shown.items())
