#include "core/codec/quantity.h"

#include <gtest/gtest.h>

namespace wa {
namespace {

TEST(Quantity, ReadsMemoryInEverySpelling) {
    EXPECT_EQ(parse_memory_quantity("536870912"), 536870912U);
    for (const char* text : {"512m", "512M", "512Mi", "512MiB", "512mib", "0.5g", "0.5Gi", "524288k"})
        EXPECT_EQ(parse_memory_quantity(text), 512U << 20U) << text;
    EXPECT_EQ(parse_memory_quantity("512MB"), 512'000'000U);
    EXPECT_EQ(parse_memory_quantity("1gb"), 1'000'000'000U);
    EXPECT_EQ(parse_memory_quantity("1.5Gi"), 1610612736U);
    for (const char* text : {"", "m", "-1", "1 g", "1x", "0", "nan", "inf", "1e3", "0x10", "99999999999999t", "512Mi "})
        EXPECT_FALSE(parse_memory_quantity(text)) << text;
}

TEST(Quantity, ReadsProcessors) {
    EXPECT_EQ(parse_cpu_quantity("2"), 2000U);
    EXPECT_EQ(parse_cpu_quantity("2.0"), 2000U);
    EXPECT_EQ(parse_cpu_quantity("500m"), 500U);
    EXPECT_EQ(parse_cpu_quantity("1000m"), 1000U);
    EXPECT_EQ(parse_cpu_quantity("0.5"), 500U);
    for (const char* text : {"", "m", "0", "0m", "-1", "1g", "nan", "2 ", "1e9", "99999999999"})
        EXPECT_FALSE(parse_cpu_quantity(text)) << text;
}

}  // namespace
}  // namespace wa
