"""`calltrack check` says how the backends are that the configuration names."""

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from calltrack import config
from calltrack.cli import check_plugins
from calltrack.cli.check_plugins import on_backends
from calltrack.plugins import discovery
from tests.interop.processes import free_port
from tests.plugins.redis_server import HOST, Redis
from tests.plugins.sample import broken


class BackendVerdictTests(TestCase):
    def redis(self, port):
        return config.load(f'[locations]\nstore = "redis"\n[locations.redis]\nurl = "redis://{HOST}:{port}"')

    async def test_calltrack_s_own_need_no_word(self):
        self.assertEqual(await on_backends(config.defaults(), reactor), [])

    async def test_one_that_is_well_and_one_that_is_away_are_told(self):
        redis = await Redis(self).ready()
        self.assertEqual(await on_backends(self.redis(redis.port), reactor), [(True, "locations redis is well")])
        [(good, words)] = await on_backends(self.redis(free_port(HOST)), reactor)
        self.assertFalse(good)
        self.assertIn("locations redis no Redis at", words)

    async def test_broken_files_are_named(self):
        modules = [broken("bad", ImportError("no x"))]
        self.patch(check_plugins, "from_plugins", lambda: discovery.from_plugins(lambda: modules))
        [(good, words)] = await on_backends(config.defaults(), reactor)
        self.assertEqual((good, words), (False, "bad of /plugins/bad.py cannot be imported: ImportError: no x"))
