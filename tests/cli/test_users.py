"""`calltrack user` as it is typed."""

from tests.cli.test_commands import CommandTestCase


class UserTests(CommandTestCase):
    async def test_first_person_gets_a_link_until_somebody_is_there(self):
        first = await self.json("user", "set-up")
        self.assertTrue(first["link"].startswith("http://127.0.0.1:8080/set-up?token="))
        added = await self.json("user", "add", "Maria@shop.example", "--role", "owner")
        self.assertEqual((added["name"], added["active"]), ("maria@shop.example", False))
        self.assertIn("/password?token=", added["link"])
        self.assertIn("already", await self.refused("user", "set-up", status=1))

    async def test_roles_are_given_and_people_removed(self):
        await self.json("project", "add", "Glasses shop")
        await self.json("user", "add", "maria", "--role", "owner")
        await self.json("user", "add", "ivan", "--role", "analyst", "--project", "1")
        granted = await self.json("user", "grant", "ivan", "--role", "operator", "--project", "1")
        self.assertEqual(granted["grants"], [{"project": 1, "role": "operator"}])
        self.assertEqual([one["name"] for one in await self.json("user", "list")], ["maria", "ivan"])
        out, _, _ = await self.run_command("user", "list")
        self.assertIn("operator of project 1", out)
        await self.json("user", "remove", "ivan")
        self.assertIn("nobody is called 'ivan'", await self.refused("user", "link", "ivan"))

    async def test_bad_names_are_refused_by_field(self):
        self.assertIn("name:", await self.refused("user", "add", "a b", "--role", "owner"))
