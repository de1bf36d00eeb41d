// Passing, failing, skipped, disabled and parametrised tests of a small thing.
#include <gtest/gtest.h>

#include <stdexcept>

namespace {

int price(int count, int each) {
    if (count < 0) throw std::out_of_range("count is negative");
    return count * each;
}

TEST(Price, Good) {
    EXPECT_EQ(price(2, 5), 10);
    RecordProperty("note", "a <property>");
}

TEST(Price, Wrong) {
    EXPECT_EQ(price(3, 5), 16) << "on <purpose>";
    EXPECT_EQ(price(3, 5), 17);
}

TEST(Price, Throws) {
    EXPECT_EQ(price(-1, 5), 0);
}

TEST(Price, Skipped) {
    GTEST_SKIP() << "later";
}

TEST(Price, DISABLED_NotYet) {
    FAIL();
}

class PriceOf : public testing::TestWithParam<int> {};

TEST_P(PriceOf, Number) {
    EXPECT_NE(GetParam(), 2);
}

INSTANTIATE_TEST_SUITE_P(Some, PriceOf, testing::Values(1, 2, 3));

}  // namespace
