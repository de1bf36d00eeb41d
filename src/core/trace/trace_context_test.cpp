#include "core/trace/trace_context.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/trace/sampler.h"

namespace wa {
namespace {

constexpr std::string_view kGood = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(Traceparent, IsReadAndWritten) {
    const auto context = parse_traceparent(kGood);
    ASSERT_TRUE(context);
    EXPECT_EQ(hex(context->trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    EXPECT_EQ(hex(context->span_id), "00f067aa0ba902b7");
    EXPECT_TRUE(context->sampled);
    EXPECT_EQ(traceparent(*context), kGood);
    const auto unsampled = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00");
    ASSERT_TRUE(unsampled);
    EXPECT_FALSE(unsampled->sampled);
}

class Told final : public Random {
public:
    explicit Told(std::vector<std::uint64_t> numbers) : numbers_(std::move(numbers)) {}
    [[nodiscard]] std::uint64_t next() override { return numbers_.at(at_++); }

private:
    std::vector<std::uint64_t> numbers_;
    std::size_t at_ = 0;
};

TEST(NewIds, AreNeverAllZero) {
    Told random({0, 0, 0x1122334455667788, 0, 0x0102030405060708, 0, 1});
    EXPECT_EQ(hex(new_span_id(random)), "8877665544332211");
    EXPECT_EQ(hex(new_trace_id(random)), "08070605040302010100000000000000");
}

TEST(Traceparent, OnlyTheLowestFlagCounts) {
    EXPECT_TRUE(parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff")->sampled);
    EXPECT_FALSE(parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe")->sampled);
}

TEST(Traceparent, LaterVersionsAreReadAsFarAsKnown) {
    EXPECT_TRUE(parse_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    EXPECT_TRUE(parse_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds"));
    EXPECT_FALSE(parse_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what"));
    EXPECT_FALSE(parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"));
}

TEST(Traceparent, AnythingElseIsNone) {
    for (const std::string_view bad : {
             "",
             "00",
             "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
             "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
             "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
             "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
             "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
             "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
         }) {
        EXPECT_FALSE(parse_traceparent(bad)) << bad;
    }
    for (std::size_t length = 0; length < kGood.size(); ++length)
        EXPECT_FALSE(parse_traceparent(kGood.substr(0, length)));
}

TEST(TraceHint, TheHeaderWinsOverTheTicket) {
    const TraceHint hint{kGood, "vendor=1", "11111111111111111111111111111111", "2222222222222222"};
    const auto parent = parent_of(hint);
    ASSERT_TRUE(parent);
    EXPECT_EQ(hex(parent->span_id), "00f067aa0ba902b7");
    EXPECT_EQ(parent->state, "vendor=1");
}

TEST(TraceHint, TheTicketsFieldsServeWhereThereIsNoHeader) {
    const auto parent = parent_of({"nonsense", "v=1", "4BF92F3577B34DA6A3CE929D0E0E4736", "00f067aa0ba902b7"});
    ASSERT_TRUE(parent);
    EXPECT_EQ(hex(parent->trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    EXPECT_TRUE(parent->sampled);
    EXPECT_EQ(parent->state, "");
    EXPECT_FALSE(parent_of({"", "", "4bf92f3577b34da6a3ce929d0e0e4736", ""}));
    EXPECT_FALSE(parent_of({"", "", "4bf92f3577b34da6a3ce929d0e0e4736", "0000000000000000"}));
    EXPECT_FALSE(parent_of({}));
}

TEST(TraceHint, AStateThatIsNoneIsDropped) {
    EXPECT_EQ(parent_of({kGood, std::string(513, 'x'), "", ""})->state, "");
    EXPECT_EQ(parent_of({kGood, "a=1\r\nevil: yes", "", ""})->state, "");
}

std::size_t sampled_of_thousand(const Sampler& sampler, const std::optional<TraceContext>& parent) {
    std::size_t count = 0;
    for (unsigned i = 0; i < 1000; ++i) {
        TraceId id{};
        id[0] = 1;
        // Spread over the upper bits of the half that counts.
        const unsigned mixed = i * 2654435761U;
        for (std::size_t byte = 0; byte < 4; ++byte)
            id[8 + byte] = static_cast<std::uint8_t>(mixed >> (24 - 8 * byte));
        count += sampler.sample(id, parent) ? 1U : 0U;
    }
    return count;
}

TEST(Sampler, KnowsTheStandardNames) {
    const TraceContext yes{{1}, {1}, true, {}};
    const TraceContext no{{1}, {1}, false, {}};
    const auto on = Sampler::parse("parentbased_always_on").value();
    EXPECT_EQ(sampled_of_thousand(on, std::nullopt), 1000U);
    EXPECT_EQ(sampled_of_thousand(on, yes), 1000U);
    EXPECT_EQ(sampled_of_thousand(on, no), 0U);
    const auto off = Sampler::parse("parentbased_always_off").value();
    EXPECT_EQ(sampled_of_thousand(off, std::nullopt), 0U);
    EXPECT_EQ(sampled_of_thousand(off, yes), 1000U);
    EXPECT_EQ(sampled_of_thousand(Sampler::parse("always_on").value(), no), 1000U);
    EXPECT_EQ(sampled_of_thousand(Sampler::parse("always_off").value(), yes), 0U);
    const auto quarter = Sampler::parse("traceidratio", "0.25").value();
    EXPECT_NEAR(static_cast<double>(sampled_of_thousand(quarter, yes)), 250, 50);
    EXPECT_EQ(sampled_of_thousand(Sampler::parse("parentbased_traceidratio", "0.25").value(), yes), 1000U);
    EXPECT_EQ(sampled_of_thousand(Sampler::parse("traceidratio", "0").value(), std::nullopt), 0U);
    EXPECT_EQ(sampled_of_thousand(Sampler::parse("traceidratio", "1").value(), std::nullopt), 1000U);
    EXPECT_EQ(sampled_of_thousand(Sampler::parse("traceidratio").value(), std::nullopt), 1000U);
}

TEST(Sampler, OtherNamesAndSharesAreRefused) {
    EXPECT_EQ(Sampler::parse("sometimes").error().field, "OTEL_TRACES_SAMPLER");
    EXPECT_EQ(Sampler::parse("").error().field, "OTEL_TRACES_SAMPLER");
    for (const std::string_view bad : {"2", "-1", "x", "nan"})
        EXPECT_EQ(Sampler::parse("traceidratio", bad).error().field, "OTEL_TRACES_SAMPLER_ARG") << bad;
}

}  // namespace
}  // namespace wa
