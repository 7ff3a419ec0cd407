"""What every `IAccessStore` must do, as a trial mixin. Knows the interface only."""

from __future__ import annotations

from msgspec.structs import replace
from zope.interface.verify import verifyObject

from calltrack.access.interfaces import IAccessStore
from calltrack.access.model import APIKey, AuditEntry, Grant, Link, Person, Session
from calltrack.errors import InvalidField, NoSuchObject
from calltrack.interfaces import ICatalogStore
from calltrack.tracking.model import Project

KEY = APIKey(id=0, name="crm", project=1, scopes=("calls:read",), public="abc", secret_sha256="00", created=5)
OWNER = Person(id=0, name="maria", grants=(Grant(project=None, role="owner"),), password="$argon2id$", created=5)


def _session(name: str, person: int, created: int = 5, expires: int = 100) -> Session:
    return Session(id=name, person=person, created=created, seen=created, expires=expires, csrf="c", browser="b")


class AccessStoreContract:
    """`IAccessStore`. A test case derives from this and has `make_access`, with the catalog of the same store."""

    async def make_access(self) -> tuple[IAccessStore, ICatalogStore]:
        raise NotImplementedError("a fresh, empty store")

    async def _with_project(self) -> IAccessStore:
        store, catalog = await self.make_access()
        await catalog.add_project(project=Project(id=0, name="Glasses", key="k1"))
        return store

    async def test_provides_its_interface(self) -> None:
        store, _ = await self.make_access()
        verifyObject(IAccessStore, store)

    async def test_key_is_found_by_its_public_part_until_it_is_removed(self) -> None:
        store = await self._with_project()
        key = await store.add_key(key=KEY)
        everywhere = await store.add_key(key=replace(KEY, project=None, public="def"))
        self.assertEqual(key, replace(KEY, id=key.id))
        self.assertEqual(await store.keys(), [key, everywhere])
        self.assertEqual(await store.key(public="abc"), key)
        await store.replace_key(key=replace(key, last_used=9))
        self.assertEqual((await store.key(public="abc")).last_used, 9)
        for _ in range(2):
            await store.remove_key(key=key.id)
        self.assertEqual((await store.key(public="abc"), await store.keys()), (None, [everywhere]))
        await store.replace_key(key=replace(key, last_used=10))
        self.assertIsNone(await store.key(public="abc"))

    async def test_key_needs_its_project(self) -> None:
        store, _ = await self.make_access()
        await self.assertFailure(store.add_key(key=KEY), NoSuchObject)

    async def test_people_have_names_of_their_own(self) -> None:
        store, _ = await self.make_access()
        maria = await store.add_person(person=OWNER)
        error = await self.assertFailure(store.add_person(person=OWNER), InvalidField)
        self.assertEqual(error.field, "name")
        ivan = await store.add_person(person=replace(OWNER, name="ivan"))
        self.assertEqual(await store.people(), [maria, ivan])
        await self.assertFailure(store.replace_person(person=replace(ivan, name="maria")), InvalidField)
        changed = replace(ivan, grants=(Grant(project=1, role="analyst"),))
        self.assertEqual(await store.replace_person(person=changed), changed)
        self.assertEqual(await store.people(), [maria, changed])
        await self.assertFailure(store.replace_person(person=replace(ivan, id=99, name="x")), NoSuchObject)

    async def test_first_person_is_made_only_while_there_is_nobody(self) -> None:
        store, _ = await self.make_access()
        await store.add_person(person=OWNER, first=True)
        await self.assertFailure(store.add_person(person=replace(OWNER, name="ivan"), first=True), InvalidField)

    async def test_sessions_end_one_by_one_by_person_by_time_and_with_their_person(self) -> None:
        store, _ = await self.make_access()
        maria = (await store.add_person(person=OWNER)).id
        ivan = (await store.add_person(person=replace(OWNER, name="ivan"))).id
        sessions = [_session("a", maria), _session("b", maria, 6, 200), _session("c", maria, 7), _session("d", ivan)]
        for session in sessions:
            await store.put_session(session=session)
        self.assertEqual(await store.sessions(person=maria), sessions[2::-1])
        await store.put_session(session=replace(sessions[0], seen=50))
        self.assertEqual((await store.session(session="a")).seen, 50)
        await store.remove_sessions(session="a")
        self.assertIsNone(await store.session(session="a"))
        await store.remove_sessions(before=101)
        self.assertEqual(await store.sessions(person=maria), [sessions[1]])
        self.assertIsNone(await store.session(session="d"))
        await store.put_session(session=sessions[3])
        await store.remove_sessions(person=maria)
        self.assertEqual(await store.sessions(person=maria), [])
        await store.remove_person(person=ivan)
        self.assertIsNone(await store.session(session="d"))
        await self.assertFailure(store.put_session(session=sessions[3]), NoSuchObject)

    async def test_session_that_has_ended_is_not_kept(self) -> None:
        store, _ = await self.make_access()
        maria = (await store.add_person(person=OWNER)).id
        session = _session("a", maria)
        await store.put_session(session=session)
        self.assertTrue(await store.keep_session(session=replace(session, seen=50)))
        self.assertEqual((await store.session(session="a")).seen, 50)
        await store.remove_sessions(person=maria)
        self.assertFalse(await store.keep_session(session=session))
        self.assertIsNone(await store.session(session="a"))

    async def test_link_is_taken_once(self) -> None:
        store, _ = await self.make_access()
        link = Link(id="x", purpose="password", person=3, expires=9)
        await store.add_link(link=link)
        self.assertEqual(await store.link(link="x"), link)
        self.assertEqual(await store.take_link(link="x"), link)
        self.assertEqual((await store.take_link(link="x"), await store.link(link="x")), (None, None))

    async def test_new_link_of_a_person_ends_the_one_before_of_its_kind(self) -> None:
        store, _ = await self.make_access()
        for name, purpose, person in (("a", "password", 1), ("b", "enter", 1), ("c", "password", 2), ("d", "password", 1)):
            await store.add_link(link=Link(id=name, purpose=purpose, person=person, expires=9))
        left = [name for name in "abcd" if await store.link(link=name) is not None]
        self.assertEqual(left, ["b", "c", "d"])

    async def test_links_of_a_person_are_removed_and_no_others(self) -> None:
        store, _ = await self.make_access()
        for name, purpose, person in (("a", "password", 1), ("b", "enter", 1), ("c", "password", 2), ("d", "set-up", None)):
            await store.add_link(link=Link(id=name, purpose=purpose, person=person, expires=9))
        await store.remove_links(person=1)
        left = [name for name in "abcd" if await store.link(link=name) is not None]
        self.assertEqual(left, ["c", "d"])

    async def test_new_set_up_link_ends_the_one_before_and_no_other(self) -> None:
        store, _ = await self.make_access()
        for name, purpose in (("a", "password"), ("b", "set-up"), ("c", "set-up")):
            await store.add_link(link=Link(id=name, purpose=purpose, expires=9))
        left = [name for name in "abc" if await store.link(link=name) is not None]
        self.assertEqual(left, ["a", "c"])

    async def test_changes_that_are_too_old_go_with_new_ones_and_no_id_is_given_twice(self) -> None:
        store, _ = await self.make_access()
        for at in (1, 2, 3, 8):
            await store.note(entry=AuditEntry(at=at, who="maria", what="x"))
        newest = (await store.audit(limit=1))[0].id
        for at in (9, 10, 11):
            await store.note(entry=AuditEntry(at=at, who="maria", what="x"), since=5)
        found = await store.audit()
        self.assertEqual([entry.at for entry in found], [11, 10, 9, 8])
        self.assertEqual([entry.id - newest for entry in found], [3, 2, 1, 0])

    async def test_log_of_changes_is_read_backwards_in_pages(self) -> None:
        store, _ = await self.make_access()
        for at in range(5):
            await store.note(entry=AuditEntry(at=at, who="maria", what="x", project=at % 2))
        first = await store.audit(limit=2)
        second = await store.audit(limit=9, before=first[-1].id)
        self.assertEqual([entry.at for entry in first + second], [4, 3, 2, 1, 0])
        self.assertEqual([entry.at for entry in await store.audit(project=1)], [3, 1])
