"""What a call to a phone number costs stands in its record."""

from ipaddress import ip_network

from calltrack.calls.settings import TrunkSettings
from calltrack.testing.engine import TRUNK
from calltrack.tracking.model import Target
from calltrack.tracking.tariff import Tariff

from tests.calls.case import OFFICE, CallTestCase


class TariffTests(CallTestCase):
    def test_call_to_a_phone_number_costs_what_its_started_minutes_do(self):
        """PRODUCT section 3: a tariff applies to `phone` targets only."""
        out = TrunkSettings(name="out", outbound=f"sip:{OFFICE}", sources=(ip_network("203.0.113.99"),))
        self.start(Target(kind="phone", address="+74951234567"), trunks=(TRUNK, out))
        self.engine.calls.tariff = Tariff({"7495": 0.02}, "USD")
        self.talk()
        self.network.run(61)
        self.hang_up()
        self.assertEqual((self.record.cost, self.record.currency), (0.04, "USD"))

    def test_call_to_an_outside_address_is_free_of_charge(self):
        self.start()
        self.engine.calls.tariff = Tariff({"": 1.0}, "USD")
        self.talk()
        self.hang_up()
        self.assertEqual((self.record.cost, self.record.currency), (None, ""))
