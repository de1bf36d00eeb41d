"""unittest through unittest-xml-reporting: the console prints what unittest prints, report.xml gets the JUnit XML."""
import sys
import unittest

import xmlrunner

import shop


class Price(unittest.TestCase):
    def test_good(self):
        self.assertEqual(shop.price(2, 5), 10)

    def test_bad(self):
        self.assertEqual(shop.price(2, 5), 11, "ten is not eleven")

    def test_error(self):
        shop.price(-1, 5)

    def test_subtests(self):
        for count in range(3):
            with self.subTest(count=count):
                self.assertLess(count, 3)

    @unittest.skip("later")
    def test_skipped(self):
        self.fail()

    @unittest.expectedFailure
    def test_expected_to_fail(self):
        self.fail()


class BrokenSetup(unittest.TestCase):
    def setUp(self):
        raise OSError("no database")

    def test_never_runs(self):
        pass


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as report:
        unittest.main(argv=["shop"], testRunner=xmlrunner.XMLTestRunner(output=report), exit=False)
