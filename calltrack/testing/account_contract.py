"""What every account store and location store must do, as trial mixins (see `store_contract`):

    class PostgresLocationsTests(LocationStoreContract, TestCase):
        async def make_locations(self):
            self.log = log_in_memory()
            return PostgresLocations(..., self.log)

Each test asks for a fresh, empty store. Knows the interfaces only.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from zope.interface.verify import verifyObject

from calltrack.errors import InvalidField, NoSuchObject
from calltrack.events.derived import of_binding
from calltrack.interfaces import IAccountStore, IEventStore, ILocationStore
from calltrack.tracking.accounts import Account
from calltrack.tracking.bindings import Binding


def account(project: int, user: str, **fields: Any) -> Account:
    """A plausible account, disabled unless told."""
    return Account(project=project, user=user, **fields)


def binding(project: int, number: int, **fields: Any) -> Binding:
    """A plausible binding, registered in the order of `number`."""
    plausible = {
        "contact": f"sip:a@203.0.113.9:{5060 + number}",
        "expires_at": 1_795_460_600.25,
        "registered_at": 1_795_457_000_000 + number,
        "call_id": f"call-{number}",
        "cseq": number,
        "transport": "udp",
        "host": "203.0.113.9",
        "port": 5060 + number,
        "reach": 5060 + number,
    }
    return Binding(project=project, id=number, **{**plausible, **fields})


class AccountStoreContract:
    """`IAccountStore`. A test case derives from this and has `make_accounts`."""

    async def make_accounts(self) -> IAccountStore:
        raise NotImplementedError("a fresh, empty store of two projects, 1 and 2")

    async def test_provides_its_interface(self) -> None:
        verifyObject(IAccountStore, await self.make_accounts())

    async def test_new_store_is_empty(self) -> None:
        _, accounts = await (await self.make_accounts()).snapshot()
        self.assertEqual(accounts, [])

    async def test_account_is_kept_as_added(self) -> None:
        store = await self.make_accounts()
        full = account(1, "abc", realm="r.example", ha1_md5="0" * 32, ha1_sha256="1" * 64)
        self.assertEqual(await store.add(account=full), full)
        self.assertEqual((await store.snapshot())[1], [full])

    async def test_project_keeps_its_first_account(self) -> None:
        store = await self.make_accounts()
        first = await store.add(account=account(1, "abc"))
        self.assertEqual(await store.add(account=account(1, "def")), first)
        self.assertEqual((await store.snapshot())[1], [first])

    async def test_user_name_is_unique(self) -> None:
        store = await self.make_accounts()
        await store.add(account=account(1, "abc"))
        error = await self.assertFailure(store.add(account=account(2, "abc")), InvalidField)
        self.assertEqual(error.field, "user")

    async def test_project_must_exist(self) -> None:
        store = await self.make_accounts()
        await self.assertFailure(store.add(account=account(3, "abc")), NoSuchObject)
        await self.assertFailure(store.replace(account=account(2, "abc")), NoSuchObject)

    async def test_replaced_account_is_returned_and_kept(self) -> None:
        store = await self.make_accounts()
        first = await store.add(account=account(1, "abc"))
        changed = replace(first, realm="r", ha1_md5="2", ha1_sha256="3")
        self.assertEqual(await store.replace(account=changed), changed)
        self.assertEqual((await store.snapshot())[1], [changed])

    async def test_every_change_raises_the_version_that_snapshot_shows(self) -> None:
        store = await self.make_accounts()
        versions = [await store.version()]
        first = await store.add(account=account(1, "abc"))
        versions.append(await store.version())
        await store.replace(account=replace(first, realm="r"))
        versions.append(await store.version())
        self.assertEqual(versions, sorted(set(versions)))
        self.assertEqual((await store.snapshot())[0], versions[-1])

    async def test_version_stays_without_a_change(self) -> None:
        store = await self.make_accounts()
        await store.add(account=account(1, "abc"))
        version = await store.version()
        await store.add(account=account(1, "def"))
        await store.snapshot()
        self.assertEqual(await store.version(), version)


class LocationStoreContract:
    """`ILocationStore`. A test case derives from this and has `make_locations`, which sets `log`: the log of events that
    the store was given, empty."""

    log: IEventStore

    async def make_locations(self) -> ILocationStore:
        raise NotImplementedError("a fresh, empty store")

    async def test_provides_its_interface(self) -> None:
        verifyObject(ILocationStore, await self.make_locations())

    async def test_new_store_is_empty(self) -> None:
        self.assertEqual(await (await self.make_locations()).list(), [])

    async def test_returns_every_field_as_written(self) -> None:
        store = await self.make_locations()
        full = binding(
            1,
            2**53 - 1,
            contact="sip:очки@[2001:db8::7]:5060;transport=tls",
            local="192.0.2.1:5060",
            q=700,
            path=("<sip:edge.example;lr>", "<sip:192.0.2.9;lr;ob>"),
            instance="<urn:uuid:1>",
            reg_id=2,
            device="Phone \"1\" 'x' 👓",
        )
        await store.write(saved=[full], removed=[])
        self.assertEqual(await store.list(), [full])

    async def test_list_is_by_project_then_by_registration(self) -> None:
        store = await self.make_locations()
        saved = [binding(2, 1), binding(1, 3), binding(1, 2), binding(1, 4, registered_at=1)]
        await store.write(saved=saved, removed=[])
        self.assertEqual([(b.project, b.id) for b in await store.list()], [(1, 4), (1, 2), (1, 3), (2, 1)])
        self.assertEqual([b.id for b in await store.list(project=1)], [4, 2, 3])
        self.assertEqual(await store.list(project=3), [])

    async def test_written_binding_replaces_the_one_of_its_project_and_id(self) -> None:
        store = await self.make_locations()
        await store.write(saved=[binding(1, 1), binding(2, 1)], removed=[])
        await store.write(saved=[binding(1, 1, cseq=9)], removed=[])
        self.assertEqual([(b.project, b.cseq) for b in await store.list()], [(1, 9), (2, 1)])

    async def test_one_write_saves_and_removes(self) -> None:
        store = await self.make_locations()
        await store.write(saved=[binding(1, 1), binding(1, 2), binding(2, 1)], removed=[])
        await store.write(saved=[binding(1, 3)], removed=[(1, 1), (2, 1)])
        self.assertEqual([b.id for b in await store.list()], [2, 3])

    async def test_removing_what_is_gone_is_allowed(self) -> None:
        store = await self.make_locations()
        await store.write(saved=[], removed=[(1, 1)])
        await store.write(saved=[], removed=[])
        self.assertEqual(await store.list(), [])

    async def test_forget_removes_the_bindings_of_one_project(self) -> None:
        store = await self.make_locations()
        await store.write(saved=[binding(1, 1), binding(1, 2), binding(2, 3)], removed=[])
        await store.forget(project=1)
        await store.forget(project=7)
        self.assertEqual([b.id for b in await store.list()], [3])

    async def told(self) -> list[str]:
        """The ids of the events in the log, in order."""
        _, found = await self.log.read(0)
        return [one.event.id for one in found]

    async def test_events_are_in_the_log_when_the_bindings_they_tell_of_are_written(self) -> None:
        store = await self.make_locations()
        one, other = binding(1, 1), binding(2, 7)
        await store.write(saved=[one, other], removed=[], events=[of_binding(one, "u", 5), of_binding(other, "v", 6)])
        self.assertEqual(await self.told(), ["binding:1:1.registered", "binding:2:7.registered"])
        await store.write(saved=[], removed=[(1, 1)], events=[of_binding(one, "u", 8, "expired")])
        self.assertEqual((await self.told())[2:], ["binding:1:1.unregistered"])
        self.assertEqual([b.id for b in await store.list()], [7])

    async def test_write_that_is_repeated_tells_nothing_again(self) -> None:
        store = await self.make_locations()
        for _ in range(2):
            await store.write(saved=[binding(1, 1)], removed=[], events=[of_binding(binding(1, 1), "u", 5)])
        self.assertEqual((len(await self.told()), len(await store.list())), (1, 1))

    async def test_write_whose_event_the_log_does_not_take_changes_nothing(self) -> None:
        store = await self.make_locations()
        await store.write(saved=[binding(1, 1)], removed=[], events=[])
        untold = of_binding(binding(1, 2), "\ud800", 5)  # no text: it cannot be encoded
        told = of_binding(binding(1, 3), "u", 5)
        await self.assertFailure(
            store.write(saved=[binding(1, 2), binding(1, 3)], removed=[(1, 1)], events=[told, untold]), UnicodeEncodeError
        )
        self.assertEqual(([b.id for b in await store.list()], await self.told()), ([1], []))

    async def test_thousand_bindings_in_one_write(self) -> None:
        store = await self.make_locations()
        await store.write(saved=[binding(1, number) for number in range(1000)], removed=[])
        self.assertEqual(len(await store.list()), 1000)
