"""Find backends: those built in, and those in the `twisted/plugins` directories that `twisted.plugin` looks into.

Every file is imported on its own, so that one which cannot be is named, with the reason, and stops nobody else; twisted.plugin
would log a traceback and go on without a word to whoever asked. Knows files and `IBackend`; uses no backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Callable, NamedTuple

from twisted.python.modules import getModule
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from calltrack import __version__
from calltrack.interfaces import IBackend, IEventSinkMaker
from calltrack.plugins.points import POINTS, Point, point_of

PACKAGE = "twisted.plugins"
BUILT_IN = "built in"


class Found(NamedTuple):
    """One backend, or a file that was to hold some. `why`: what is wrong with it, "" when nothing is."""

    name: str
    section: str  # of its extension point; "" when nobody knows
    interface: str
    version: str
    origin: str  # "built in", or the file
    why: str
    backend: Any = None  # an IBackend; None for what calltrack makes by itself, and what is broken


Modules = Callable[[], Iterable[tuple[str, str, Callable[[], ModuleType]]]]


def plugin_modules() -> Iterator[tuple[str, str, Callable[[], ModuleType]]]:
    """Every module that twisted.plugin would look into: name, file, and what imports it."""
    import_module(PACKAGE)  # which finds the other directories of its name; a package that is not imported has one
    for module in getModule(PACKAGE).iterModules():
        yield module.name, module.filePath.path, module.load


def built_in() -> list[Found]:
    """What comes with calltrack. Imports nothing but backends that are chosen like plugins."""
    return [_of_ours(point, name) for point in POINTS.values() for name in point.built_in]


def from_plugins(modules: Modules = plugin_modules) -> list[Found]:
    """What plugins bring, the broken files among them, in the order of their file names."""
    found: list[Found] = []
    taken = {(one.section, one.name): one.origin for one in built_in()}
    for name, path, load in sorted(modules(), key=lambda module: module[0]):
        try:
            module = load()
        except (Exception, SystemExit) as error:
            found.append(Found(name.rpartition(".")[2], "", "", "", path, f"cannot be imported: {_in_words(error)}"))
            continue
        for value in list(vars(module).values()):
            one = _read(value, path)
            if one is None:
                continue
            if not one.why and (one.section, one.name) in taken:
                origin = taken[one.section, one.name]
                one = one._replace(why=f"there is another backend of this name: {origin}", backend=None)
            taken.setdefault((one.section, one.name), path)
            found.append(one)
    return found


def find(section: str, name: str, modules: Modules = plugin_modules) -> Any:
    """The `IBackend` with this name, or None for one that calltrack makes by itself. Raises ValueError, whose words
    list what there is, and which plugin files are broken."""
    point = POINTS[section]
    if name in point.built_in:
        return _of_ours(point, name).backend
    plugins = from_plugins(modules)
    for one in plugins:
        if (one.section, one.name) == (section, name):
            if one.why:
                raise ValueError(f"the plugin {name} of {one.origin} {one.why}")
            return one.backend
    known = sorted({*point.built_in, *(one.name for one in plugins if one.section == section and not one.why)})
    words = f"{ascii(name)[:60]} is none of {', '.join(known)}"
    broken = [f"{one.origin} {one.why}" for one in plugins if not one.section]
    raise ValueError("; ".join([words, *broken]))


def _of_ours(point: Point, name: str) -> Found:
    place = point.built_in[name]
    backend = None
    if place:
        module, _, attribute = place.partition(":")
        backend = getattr(import_module(module), attribute)
    return Found(name, point.section, point.interface.__name__, __version__, BUILT_IN, "", backend)


def _read(value: Any, path: str) -> Found | None:
    """What a value of a plugin file is; None when it is no backend."""
    try:
        if IEventSinkMaker.providedBy(value):
            return Found(str(value.name), "sink", "IEventSink", str(getattr(value, "version", "")), path, "", value)
        if not IBackend.providedBy(value):
            return None
        verifyObject(IBackend, value)
        name, version, interface = value.name, value.version, value.provides
        if not isinstance(name, str) or not name or not name.isprintable() or not isinstance(version, str):
            raise TypeError("its name or version is no text")
    except Invalid as error:
        return _broken(value, path, f"lies about its interface: {' '.join(str(error).split())}")
    except Exception as error:  # any code may stand behind an attribute of a plugin
        return _broken(value, path, f"cannot be asked what it is: {_in_words(error)}")
    point = point_of(interface)
    if point is None or point.section == "sink":
        known = ", ".join(point.interface.__name__ for point in POINTS.values() if point.section != "sink")
        return _broken(value, path, f"provides what is no extension point; those are {known}")
    return Found(name, point.section, interface.__name__, version, path, "", value)


def _broken(value: Any, path: str, why: str) -> Found:
    name = getattr(type(value), "__name__", "?")
    return Found(name, "", "", "", path, why)


def _in_words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
