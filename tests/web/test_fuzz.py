"""schemathesis reads the API's own description and sends whatever it allows and does not allow."""

import os
import sys

from twisted.trial.unittest import SkipTest

from tests.interop.processes import Child
from tests.web.test_api import APITestCase

CHECKS = "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance"


class SchemathesisTests(APITestCase):
    timeout = 120

    async def test_no_request_that_can_be_described_or_not_fails_inside(self):
        program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
        if not os.path.exists(program):
            raise SkipTest("schemathesis is not installed: pip install schemathesis")
        key = await self.key_of(None)
        folder = self.mktemp()
        os.makedirs(folder)
        arguments = ["run", self.url + "/api/v1/openapi.json", "-H", f"Authorization: Bearer {key}", "--checks", CHECKS]
        options = ["--exclude-operation-id", "streamEvents", "--max-examples", "10", "--seed", "1", "--no-color", "--phases", "coverage,fuzzing"]
        child = Child(self, "schemathesis", [program, *arguments, *options], path=folder)
        self.assertEqual(await child.end(110), 0, child.output)
        self.assertIn("passed", child.output)
