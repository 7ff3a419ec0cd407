"""`calltrack apikey` as it is typed."""


from tests.cli.test_commands import CommandTestCase


class APIKeyTests(CommandTestCase):
    async def test_key_is_shown_once_listed_by_its_beginning_and_removed(self):
        await self.json("project", "add", "Glasses shop")
        added = await self.json("apikey", "add", "--project", "1", "--name", "crm", "--scope", "calls:read")
        self.assertTrue(added["key"].startswith(added["begins"]))
        self.assertEqual((added["name"], added["project"], added["scopes"]), ("crm", 1, ["calls:read"]))
        (listed,) = await self.json("apikey", "list")
        self.assertEqual(listed, {name: value for name, value in added.items() if name != "key"})
        out, _, _ = await self.run_command("apikey", "list")
        self.assertNotIn(added["key"], out)
        await self.json("apikey", "remove", str(added["id"]))
        self.assertEqual(await self.json("apikey", "list"), [])

    async def test_key_of_nothing_is_refused_in_words(self):
        self.assertIn("project 7 does not exist", await self.refused("apikey", "add", "--project", "7", status=2))
        self.assertIn("--all-projects", await self.refused("apikey", "add", status=2))
        self.assertIn("API key 3 does not exist", await self.refused("apikey", "remove", "3", status=2))
