"""Parameters that several commands take, and their way to the catalog."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, TypeVar

import click

from calltrack.cli.environment import Environment
from calltrack.tracking.catalog import Catalog

Result = TypeVar("Result")

OBJECT_ID = click.IntRange(1, 2**53)  # of a project or scenario
project_option = click.option("--project", type=OBJECT_ID, metavar="ID", help="Of this project only.")


def with_catalog(environment: Environment, work: Callable[[Catalog], Awaitable[Result]]) -> Result:
    """What `work(catalog)` returns."""
    return environment.with_stores(lambda stores: work(Catalog(stores.catalog)))


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that stood on the command line."""
    return {name: value for name, value in options.items() if value is not None and value != ()}
