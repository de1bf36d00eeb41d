import pytest

import shop


@pytest.fixture
def broken_setup():
    raise RuntimeError("setup failed: <no database> & \"quotes\"\nsecond line")


@pytest.fixture
def broken_teardown():
    yield
    raise RuntimeError("teardown failed")


@pytest.mark.parametrize("count, total", [(1, 5), (2, 10), (3, 16)])
def test_price(count, total):
    assert shop.price(count, 5) == total, "the price is wrong"


def test_label():
    assert shop.label(1) == "one piece"


def test_error_in_setup(broken_setup):
    pass


def test_error_in_teardown(broken_teardown):
    pass


def test_failure_and_error_in_teardown(broken_teardown):
    assert shop.label(2) == "zwei St\u00fccke \u2713"


def test_exception():
    shop.price(-1, 5)


@pytest.mark.skip(reason="later")
def test_skipped():
    assert False


def test_skips_itself():
    pytest.skip("not here")


@pytest.mark.xfail
def test_expected_to_fail():
    assert False


@pytest.mark.xfail
def test_unexpectedly_passes():
    pass


def test_output():
    print("\x1b[31mred\x1b[0m <testcase/> ]]>")


class TestInAClass:
    def test_method(self):
        assert shop.price(30, 5) == 135
