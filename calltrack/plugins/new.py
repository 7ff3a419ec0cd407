"""Write a package to begin a plugin from. Knows the files of `template`; installs nothing."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from calltrack.errors import InvalidField

# File in the package: file of the template.
_FILES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "setup.cfg": "setup.cfg",
    "@package@/__init__.py": "init.py",
    "@package@/backend.py": "backend.py",
    "@package@/store.py": "store.py",
    "tests/__init__.py": "",
    "tests/test_store.py": "test_store.py",
    "twisted/plugins/@package@_plugin.py": "plugin.py",
}


def write_package(name: str, folder: Path) -> list[Path]:
    """A package `calltrack-NAME` in the new directory `folder`; the files that were written, in order. Raises InvalidField for
    a name that cannot be one, or when there is something in its place."""
    if not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InvalidField("name", f"{ascii(name)[:60]} is no name; allowed: lower-case letters, digits and single dashes")
    if folder.exists():
        raise InvalidField("name", f"{folder} is there already")
    words = {"name": name, "package": "calltrack_" + name.replace("-", "_")}
    template = files("calltrack.plugins") / "template"
    written = []
    for place, source in _FILES.items():
        path = folder / _filled(place, words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_filled((template / f"{source}.in").read_text("utf-8"), words) if source else "", "utf-8")
        written.append(path)
    return written


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub("@([a-z]+)@", lambda match: words[match[1]], text)
