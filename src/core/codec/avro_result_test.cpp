#include "core/codec/avro_result.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "core/codec/avro_decode.h"
#include "core/codec/avro_frame.h"
#include "core/codec/avro_schemas.h"
#include "core/codec/json_write.h"
#include "core/codec/result_json.h"

namespace wa {
namespace {

std::string from_hex(std::string_view hex) {
    const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes += static_cast<char>(digit(hex[i]) << 4U | digit(hex[i + 1]));
    return bytes;
}

// contract/tickets.md 5.4, under schema id 8.
constexpr std::string_view kVector =
    "00000000084836663062366331652d336135352d346130652d396130642d3064"
    "3566356532623763313100010212657869745f636f6465023000020e72756e74"
    "696d650a6c6f63616c000208646f6e6500000292534861326339643766342d35"
    "6231312d346330662d396133392d336630613963316232643365e0b1aae8ee66"
    "02";

ExecutionResult sample() {
    ExecutionResult result;
    result.ticket_id = "6f0b6c1e-3a55-4a0e-9a0d-0d5f5e2b7c11";
    result.success = true;
    result.output = {{"exit_code", "0"}};
    result.metadata = {{"runtime", "local"}};
    result.logs = {"done"};
    result.actual_duration_ms = 5321;
    result.agent_id = "a2c9d7f4-5b11-4c0f-9a39-3f0a9c1b2d3e";
    result.timestamp = 1767220006000;
    return result;
}

// Read by our decoder, which is compared with fastavro and avro-c elsewhere.
boost::json::value decoded(const std::string& message) {
    static const auto kSchema = AvroSchema::parse(result_schema_text()).value();
    static const auto kPlan = AvroResolver::make(kSchema, kSchema).value();
    const auto framed = unframe(message);
    if (!framed) {
        ADD_FAILURE() << "no envelope";
        return {};
    }
    auto value = kPlan.decode(framed->body);
    if (!value) {
        ADD_FAILURE() << value.error().message;
        return {};
    }
    return *value;
}

TEST(AvroResult, TheContractsSampleIsTheContractsVector) {
    EXPECT_EQ(encode_result_avro(sample(), 8), from_hex(kVector));
}

TEST(AvroResult, AFailureSaysWhy) {
    ExecutionResult result = sample();
    result.success = false;
    result.error_message = "attempt 3 of 3 exceeded 180 s";
    const auto value = decoded(encode_result_avro(result, 1));
    EXPECT_EQ(value.at("status"), "FAILED");
    EXPECT_EQ(value.at("result").at("success"), false);
    EXPECT_EQ(value.at("error_message"), "attempt 3 of 3 exceeded 180 s");
}

TEST(AvroResult, FactsWithoutAFieldGoIntoTheMetadata) {
    ExecutionResult result = sample();
    result.plan_id = "plan-1";
    result.workflow_id = "wf-1";
    result.correlation_id = "c-1";
    result.trace_id = "0123";
    result.started_at = 100;
    result.completed_at = 200;
    result.metadata["plan_id"] = "made up by the task";
    const auto value = decoded(encode_result_avro(result, 1));
    const auto& metadata = value.at("result").at("metadata").as_object();
    EXPECT_EQ(metadata.at("plan_id"), "plan-1");
    EXPECT_EQ(metadata.at("workflow_id"), "wf-1");
    EXPECT_EQ(metadata.at("correlation_id"), "c-1");
    EXPECT_EQ(metadata.at("trace_id"), "0123");
    EXPECT_EQ(metadata.at("started_at"), "100");
    EXPECT_EQ(metadata.at("completed_at"), "200");
    EXPECT_EQ(metadata.at("runtime"), "local");
    EXPECT_EQ(decoded(encode_result_avro(sample(), 1)).at("result").at("metadata").as_object().size(), 1U);
}

TEST(AvroResult, BytesThatAreNoTextBecomeText) {
    ExecutionResult result = sample();
    result.logs = {"good", std::string("b\xFF\xFE!")};
    result.output["k\x80"] = "v\xC3";
    const auto value = decoded(encode_result_avro(result, 1));
    EXPECT_EQ(value.at("result").at("logs").at(1), "b\uFFFD\uFFFD!");
    EXPECT_EQ(value.at("result").at("output").at("k\uFFFD"), "v\uFFFD");
}

TEST(AvroResult, BothEncodingsSayTheSame) {
    const bool good = rc::check([] {
        const auto text = [] { return *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 0x7F)); };
        ExecutionResult result = sample();
        result.success = *rc::gen::arbitrary<bool>();
        result.error_message = text();
        result.timestamp = *rc::gen::arbitrary<std::int64_t>();
        result.actual_duration_ms = *rc::gen::arbitrary<std::int64_t>();
        const int entries = *rc::gen::inRange(0, 20);
        for (int i = 0; i < entries; ++i) {
            result.output["o" + std::to_string(i)] = text();
            result.metadata["m" + std::to_string(i)] = text();
            result.logs.push_back(text());
        }
        const auto from_avro = parse_result_value(decoded(encode_result_avro(result, 4'000'000'000U)));
        RC_ASSERT(from_avro.has_value());
        RC_ASSERT(write_result(*from_avro) == write_result(result));
    });
    EXPECT_TRUE(good);
}

Result<std::optional<ResultVerdict>> verdict_of(const std::string& message, std::string_view schema) {
    const auto reader = AvroVerdictReader::make(schema);
    if (!reader) return Failure(reader.error());
    return reader->read(unframe(message)->body);
}

TEST(AvroVerdict, SaysHowTheTicketEnded) {
    ExecutionResult result = sample();
    const auto completed = verdict_of(encode_result_avro(result, 1), result_schema_text());
    ASSERT_TRUE(completed && *completed);
    EXPECT_TRUE((*completed)->completed);
    result.success = false;
    result.error_message = "exit code 2";
    const auto failed = verdict_of(encode_result_avro(result, 1), result_schema_text());
    ASSERT_TRUE(failed && *failed);
    EXPECT_FALSE((*failed)->completed);
    EXPECT_EQ((*failed)->error, "exit code 2");
}

// The index of the status follows the ticket's id.
TEST(AvroVerdict, OneThatStillRunsIsNoEnding) {
    std::string message = encode_result_avro(sample(), 1);
    const std::size_t status = 5 + 1 + sample().ticket_id.size();
    ASSERT_EQ(message.at(status), 0);
    message[status] = 4;  // RUNNING, as a zigzag number
    const auto verdict = verdict_of(message, result_schema_text());
    ASSERT_TRUE(verdict);
    EXPECT_FALSE(verdict->has_value());
}

TEST(AvroVerdict, WhatIsNoResultIsAnError) {
    EXPECT_FALSE(AvroVerdictReader::make(ticket_schema_text()));
    EXPECT_FALSE(AvroVerdictReader::make("{"));
    const std::string message = encode_result_avro(sample(), 1);
    for (std::size_t size = 5; size < message.size(); ++size)
        EXPECT_FALSE(verdict_of(message.substr(0, size), result_schema_text())) << size;
}

}  // namespace
}  // namespace wa
