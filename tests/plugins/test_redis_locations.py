"""Bindings in a real Redis keep the contract of location stores; a Redis that is away costs a REGISTER and nothing else."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from calltrack import config
from calltrack.errors import ConfigErrors, StoreUnavailable
from calltrack.redis_link import RedisSettings
from calltrack.storage.redis_locations import BACKEND, RedisLocations
from calltrack.testing.account_contract import LocationStoreContract, binding
from calltrack.testing.event_contract import log_in_memory
from tests.plugins.redis_server import HOST, Redis


class RedisCase(TestCase):
    redis: Redis | None = None

    def setUp(self) -> None:
        self.log = log_in_memory()

    def store(self, port: int, **settings) -> RedisLocations:
        url = settings.pop("url", f"redis://{HOST}:{port}/0")
        store = RedisLocations(reactor, RedisSettings(url=url, **settings), self.log)
        store.startService()
        self.addCleanup(store.stopService)
        return store

    async def make_locations(self) -> RedisLocations:
        if self.redis is None:
            self.redis = await Redis(self).ready()
        return self.store(self.redis.port)


class ContractTests(RedisCase, LocationStoreContract):
    pass


class RedisTests(RedisCase):
    async def test_another_engine_sees_what_one_has_written(self) -> None:
        one = await self.make_locations()
        await one.write([binding(1, 1)], [])
        self.assertEqual(await self.store(self.redis.port).list(), [binding(1, 1)])

    async def test_two_prefixes_do_not_meet(self) -> None:
        one = await self.make_locations()
        await one.write([binding(1, 1)], [])
        self.assertEqual(await self.store(self.redis.port, prefix="other").list(), [])

    async def test_a_redis_that_is_away_is_unavailable_and_found_again(self) -> None:
        store = await self.make_locations()
        await store.write([binding(1, 1)], [])
        self.assertEqual(await store.health(), "")
        await self.redis.kill()
        for ask in (lambda: store.write([binding(1, 2)], []), store.list, lambda: store.forget(1), store.health):
            error = await self.assertFailure(ask(), StoreUnavailable)
            self.assertIn(f"Redis at {HOST}:{self.redis.port}", str(error))
        self.redis = await Redis(self, port=self.redis.port).ready()
        await store.write([binding(1, 3)], [])
        self.assertEqual([b.id for b in await store.list()], [3])

    async def test_a_password_is_given_and_a_wrong_one_is_told(self) -> None:
        redis = await Redis(self, "--requirepass", "geh/eim").ready()
        store = self.store(0, url=f"redis://:geh%2Feim@{HOST}:{redis.port}/3")
        await store.write([binding(1, 1)], [])
        self.assertEqual(len(await store.list()), 1)
        error = await self.assertFailure(self.store(redis.port).list(), StoreUnavailable)
        self.assertIn("NOAUTH", str(error))

    async def test_what_is_no_binding_is_unavailable_and_named(self) -> None:
        store = await self.make_locations()
        await store.write([binding(1, 1)], [])
        await store._link.command("HSET", "calltrack:bindings:1", "7", "nonsense")
        error = await self.assertFailure(store.list(), StoreUnavailable)
        self.assertIn("cannot be read", str(error))

    def test_settings_are_judged_with_the_configuration(self) -> None:
        settings = config.load('[locations]\nstore = "redis"\n[locations.redis]\nurl = "redis://h:7/2"\n')
        self.assertEqual(settings.locations.options, RedisSettings(url="redis://h:7/2"))
        for wrong in ('url = "http://h"', 'url = "redis://h/x"', 'url = "redis://h:x"', "url = 7", 'prefix = ""'):
            text = f'[locations]\nstore = "redis"\n[locations.redis]\n{wrong}\n'
            self.assertRaises(ConfigErrors, config.load, text)
        self.assertEqual(BACKEND.name, "redis")
