#include "adapters/kafka/headers.h"

#include <gtest/gtest.h>

#include <vector>

namespace wa::kafka {
namespace {

using Rows = std::vector<std::pair<std::string, std::optional<std::string>>>;

Rows rows_of(const rd_kafka_headers_t* headers) {
    Rows rows;
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
        rows.emplace_back(
            name, value == nullptr ? std::nullopt : std::optional(std::string(static_cast<const char*>(value), size)));
    }
    return rows;
}

Owned<rd_kafka_headers_t> headers_of(const Rows& rows) {
    HeaderList list;
    for (const auto& [name, value] : rows)
        list.add(name, value ? std::optional<std::string_view>(*value) : std::nullopt);
    return Owned<rd_kafka_headers_t>(list.release());
}

Rows through(const Rows& rows) {
    HeaderList copy;
    add_packed(copy, pack_headers(headers_of(rows).get()).packed);
    return rows_of(Owned<rd_kafka_headers_t>(copy.release()).get());
}

TEST(Headers, ACopyHasWhatTheProducerGave) {
    const Rows rows{{"tenant", "blue"},
                    {"tenant", "green"},
                    {"empty", ""},
                    {"nothing", std::nullopt},
                    {"bytes", std::string("\0\xff", 2)},
                    {"", "no name"},
                    {"x-neural-hive-user-id", "u-1"}};
    EXPECT_EQ(through(rows), rows);
    EXPECT_TRUE(has_packed(pack_headers(headers_of(rows).get()).packed, "X-Neural-Hive-User-Id"));
    EXPECT_FALSE(has_packed(pack_headers(headers_of(rows).get()).packed, "blue"));
    EXPECT_EQ(pack_headers(nullptr).packed, "");
}

TEST(Headers, WhatACopyGetsAnewIsNotCarried) {
    const Rows rows{{"traceparent", "00-1"},
                    {"TraceState", "a=b"},
                    {kOriginPartition, "1"},
                    {"X-Worker-Origin-Offset", "2"},
                    {kRequeueRound, "3"},
                    {kDeliveries, "4"},
                    {"kept", "5"}};
    EXPECT_EQ(through(rows), (Rows{{"kept", "5"}}));
}

TEST(Headers, TooManyAreCutAndThatIsSaid) {
    const Rows rows{{"small", "1"}, {"huge", std::string(kMostCarried, 'x')}, {"last", "2"}};
    const PackedHeaders carried = pack_headers(headers_of(rows).get());
    EXPECT_TRUE(carried.cut);
    EXPECT_LE(carried.packed.size(), kMostCarried);
    EXPECT_EQ(through(rows), (Rows{{"small", "1"}, {"last", "2"}}));
    EXPECT_FALSE(pack_headers(headers_of({{"small", "1"}}).get()).cut);
}

TEST(Headers, WhatIsDamagedAddsNothingFromElsewhere) {
    const std::string packed = pack_headers(headers_of({{"name", "value"}, {"more", "values"}}).get()).packed;
    for (std::size_t size = 0; size < packed.size(); ++size) {
        HeaderList copy;
        add_packed(copy, std::string_view(packed).substr(0, size));
        EXPECT_LE(rows_of(Owned<rd_kafka_headers_t>(copy.release()).get()).size(), 1U) << size;
    }
    std::string negative = packed;
    negative[3] = '\x80';
    HeaderList copy;
    add_packed(copy, negative);
    EXPECT_TRUE(rows_of(Owned<rd_kafka_headers_t>(copy.release()).get()).empty());
}

}  // namespace
}  // namespace wa::kafka
