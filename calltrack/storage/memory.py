"""The catalog and the call records in memory: for tests, demonstrations, and as the plainest example of
what a store must do. Knows no files."""

from __future__ import annotations

from msgspec.structs import replace
from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from calltrack.errors import InvalidField, NoSuchObject, Sentence
from calltrack.events.derived import of_call
from calltrack.interfaces import ICallRecordStore, ICatalogStore, IEventStore
from calltrack.storage import memory_search
from calltrack.storage.told import Told
from calltrack.tracking.model import CallRecord, Number, Project, Scenario
from calltrack.tracking.search import CallQuery, CallTally


@implementer(ICallRecordStore)
class MemoryCallRecords:
    """Call records in a dict; what they give rise to goes into the log of events with them."""

    def __init__(self, events: IEventStore | None = None) -> None:
        self._records: dict[str, CallRecord] = {}
        self._callers: dict[tuple[int, str], tuple[int, str]] = {}  # the first call of each to a project
        self._events = events
        self._told = Told()

    def write(self, records: list[CallRecord]) -> Deferred[None]:
        written = execute(self._write, records)
        if self._events is not None:
            written.addCallback(self._tell, records)
        return written

    def get(self, call_id: str) -> Deferred[CallRecord]:
        return execute(self._get, call_id)

    def list(
        self, limit: int = 100, project: int | None = None, status: str | None = None, before: str | None = None
    ) -> Deferred[list[CallRecord]]:
        return execute(self._list, limit, project, status, before)

    def unfinished(self) -> Deferred[list[CallRecord]]:
        active = [record for record in self._records.values() if not record.final]
        return execute(sorted, active, key=_position)

    def find(self, query: CallQuery) -> Deferred[list[CallRecord]]:
        return execute(memory_search.find, self._records.values(), query)

    def tally(self, project: int, since: int, until: int, offset: int) -> Deferred[CallTally]:
        return execute(memory_search.tally, self._records.values(), project, since, until, offset)

    def forget_caller(self, caller: str) -> Deferred[int]:
        return execute(self._forget_caller, caller)

    def _forget_caller(self, caller: str) -> int:
        theirs = [record for record in self._records.values() if caller and record.caller == caller]
        for record in theirs:
            self._records[record.id] = replace(record, caller="")
        return len(theirs)

    def _write(self, records: list[CallRecord]) -> None:
        for record in records:
            if record.caller and record.project is not None:
                who = (record.project, record.caller)
                self._callers[who] = min(self._callers.get(who, _position(record)), _position(record))
        for record in records:
            if record.final and record.new_caller is None and record.caller and record.project is not None:
                first = self._callers[record.project, record.caller] == _position(record)
                record = replace(record, new_caller=first)
            earlier = self._records.get(record.id)
            if earlier is None or record.final or not earlier.final:
                ladder = record.ladder or (earlier.ladder if earlier is not None else ())
                self._records[record.id] = replace(record, ladder=ladder)

    def _tell(self, _: None, records: list[CallRecord]) -> Deferred[None] | None:
        news = self._told.news(records)
        self._told.remember(news)
        return self._events.append([event for r in news for event in of_call(self._records[r.id])]) if news else None

    def _get(self, call_id: str) -> CallRecord:
        if call_id not in self._records:
            raise NoSuchObject(Sentence("call {call} does not exist", call=call_id))
        return self._records[call_id]

    def _list(self, limit: int, project: int | None, status: str | None, before: str | None) -> list[CallRecord]:
        end = _position(self._get(before)) if before is not None else None
        found = [
            record
            for record in self._records.values()
            if project in (None, record.project)
            and status in (None, record.status)
            and (end is None or _position(record) < end)
        ]
        return [replace(record, ladder=()) for record in sorted(found, key=_position, reverse=True)[:limit]]


@implementer(ICatalogStore)
class MemoryCatalog:
    """Projects, scenarios and numbers in dicts."""

    def __init__(self) -> None:
        self._version = 1
        self._projects: dict[int, Project] = {}
        self._scenarios: dict[int, Scenario] = {}
        self._numbers: dict[str, Number] = {}
        self._last_project = self._last_scenario = 0

    def add_project(self, project: Project) -> Deferred[Project]:
        self._last_project += 1
        return execute(self._put, replace(project, id=self._last_project))

    def add_scenario(self, scenario: Scenario) -> Deferred[Scenario]:
        return execute(self._add_scenario, scenario)

    def add_number(self, number: Number) -> Deferred[Number]:
        return execute(self._add_number, number)

    def replace(self, value: Project | Scenario | Number) -> Deferred[Project | Scenario | Number]:
        return execute(self._replace, value)

    def remove(self, value: Scenario | Number) -> Deferred[None]:
        return execute(self._remove, value)

    def snapshot(self) -> Deferred[tuple[int, list[Project], list[Scenario], list[Number]]]:
        return execute(
            lambda: (self._version, [*self._projects.values()], [*self._scenarios.values()], [*self._numbers.values()])
        )

    def version(self) -> Deferred[int]:
        return execute(lambda: self._version)

    def _add_scenario(self, scenario: Scenario) -> Scenario:
        self._check_owner(scenario.project, None)
        self._last_scenario += 1
        return self._put(replace(scenario, id=self._last_scenario))

    def _add_number(self, number: Number) -> Number:
        owner = self._numbers.get(number.number)
        if owner is not None:
            raise InvalidField(
                "number",
                Sentence("{number} belongs to project {project} already", number=number.number, project=owner.project),
            )
        self._check_owner(number.project, number.scenario)
        return self._put(number)

    def _replace(self, value: Project | Scenario | Number) -> Project | Scenario | Number:
        match value:
            case Project():
                known = value.id in self._projects
                what = Sentence("project {project}", project=value.id)
            case Scenario():
                known = value.id in self._scenarios and self._scenarios[value.id].project == value.project
                what = Sentence("scenario {scenario} of project {project}", scenario=value.id, project=value.project)
            case Number():
                known = value.number in self._numbers
                what = Sentence("number {number}", number=value.number)
                self._check_owner(value.project, value.scenario)
        if not known:
            raise NoSuchObject(Sentence("{what} does not exist", what=what))
        return self._put(value)

    def _remove(self, value: Scenario | Number) -> None:
        match value:
            case Scenario():
                self._scenarios.pop(value.id, None)
                for number in self._numbers.values():
                    if number.scenario == value.id:
                        self._numbers[number.number] = replace(number, scenario=None)
            case Number():
                self._numbers.pop(value.number, None)
        self._version += 1

    def _put(self, value: Project | Scenario | Number) -> Project | Scenario | Number:
        match value:
            case Project():
                self._projects[value.id] = value
            case Scenario():
                self._scenarios[value.id] = value
            case Number():
                self._numbers[value.number] = value
        self._version += 1
        return value

    def _check_owner(self, project: int, scenario: int | None) -> None:
        if project not in self._projects:
            raise NoSuchObject(Sentence("project {project} does not exist", project=project))
        if scenario is not None and (scenario not in self._scenarios or self._scenarios[scenario].project != project):
            raise NoSuchObject(
                Sentence("scenario {scenario} of project {project} does not exist", scenario=scenario, project=project)
            )


def _position(record: CallRecord) -> tuple[int, str]:
    return record.created, record.id
