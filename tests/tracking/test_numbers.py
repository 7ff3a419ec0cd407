from twisted.trial.unittest import SynchronousTestCase

from calltrack.errors import InvalidField
from calltrack.tracking.numbers import dialled_digits, normalise


class DialledDigitsTests(SynchronousTestCase):
    def check(self, country, cases):
        for dialled, digits in cases.items():
            self.assertEqual(dialled_digits(dialled, country), digits, dialled)

    def test_one_american_number_in_every_spelling(self):
        spellings = [
            "12125550100",
            "+12125550100",
            "2125550100",
            "0012125550100",
            "01112125550100",
            "+1 (212) 555-0100",
        ]
        self.check("US", dict.fromkeys(spellings, "12125550100"))

    def test_one_russian_number_in_every_spelling(self):
        spellings = ["74951234567", "+7 495 123-45-67", "84951234567", "4951234567", "8 (495) 123-45-67"]
        self.check("RU", dict.fromkeys(spellings, "74951234567"))

    def test_one_italian_number_keeps_its_leading_zero(self):
        self.check("IT", dict.fromkeys(["061234567", "+39061234567", "39061234567"], "39061234567"))

    def test_number_with_its_country_code_wins_over_a_national_reading(self):
        self.check("DE", {"4930123456": "4930123456", "030123456": "4930123456"})

    def test_foreign_number_without_plus_is_kept(self):
        self.check("US", {"79161234567": "79161234567", "442071838750": "442071838750"})

    def test_unassigned_number_is_kept_by_its_digits_in_every_country(self):
        for country in ("", "US", "RU", "DE", "GB", "IT", "FR", "BR"):
            self.check(country, {"11231234567": "11231234567", "+11231234567": "11231234567"})

    def test_unassigned_national_number_gets_its_country_code(self):
        self.check("US", {"1231234567": "11231234567"})

    def test_short_and_overlong_numbers_are_kept_by_their_digits(self):
        self.check("US", {"911": "911", "100": "100", "5551234": "5551234", "1" * 20: "1" * 20})

    def test_parameters_are_passed_over(self):
        self.check("US", {"+12125550100;npdi=yes;user=phone": "12125550100"})

    def test_without_a_country_only_plus_and_double_zero_are_read(self):
        self.check("", {"84951234567": "84951234567", "0074951234567": "74951234567"})

    def test_what_is_no_number_has_no_digits(self):
        self.check("US", dict.fromkeys(["", "+", "office", "1a2", "٣٤٥٦٧", "12\r\n34", "1+2", "*100#", ";;"], ""))

    def test_hostile_users_never_raise(self):
        for user in ("\x00", "\ud800", "0" * 100_000, "+" * 1000, "%00", "1" * 33 + "\n", "\u2028"):
            self.assertLessEqual(len(dialled_digits(user, "US")), 32)


class NormaliseTests(SynchronousTestCase):
    def test_demonstration_number_is_accepted_as_people_write_it(self):
        for text in ("11231234567", "+1 123 123 4567", "+1 (123) 123-4567", " 1-123-123-4567 "):
            self.assertEqual(normalise(text), "11231234567")

    def test_national_number_takes_its_country(self):
        self.assertEqual(normalise("8 (495) 123-45-67", "RU"), "74951234567")

    def test_others_are_refused_with_field_and_what_is_allowed(self):
        for text in ("", "12", "1234567890123456", "office", "+1 123 CALL NOW", "11231234567;x=y", "1\n2345"):
            error = self.assertRaises(InvalidField, normalise, text, "US", "callee")
            self.assertEqual(error.field, "callee")
            self.assertIn("3 to 15 digits", error.message)
