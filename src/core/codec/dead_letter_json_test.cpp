#include "core/codec/dead_letter_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "core/codec/text.h"
#include "core/codec/ticket_json.h"

namespace wa {
namespace {

using testing::HasSubstr;

DeadLetterFacts facts(std::string_view payload) {
    DeadLetterFacts f;
    f.payload = payload;
    f.reason = "invalid_ticket";
    f.error_type = "ValidationError";
    f.error = "sla.timeout_ms must be a whole number";
    f.retry_count = 2;
    f.first_failure_timestamp = 100;
    f.last_failure_timestamp = 200;
    f.published_at = 201;
    f.failure_reasons = {"one", "two"};
    f.agent_id = "wa-1";
    f.source_topic = "execution.tickets";
    f.source_partition = 3;
    f.source_offset = 18244;
    f.source_timestamp = 99;
    return f;
}

TEST(WriteDeadLetter, KeepsEveryKeyOfTheTicket) {
    const auto message =
        boost::json::parse(write_dead_letter(facts(R"({"ticket_id":"t","sla":{"timeout_ms":0},"unknown":[1]})")));
    EXPECT_EQ(message.at("ticket_id"), "t");
    EXPECT_EQ(message.at("unknown"), (boost::json::array{1}));
    const auto expected = boost::json::parse(R"({"original_error":"sla.timeout_ms must be a whole number",
        "error_type":"ValidationError","retry_count":2,"last_failure_timestamp":200,"dlq_published_at":201,
        "first_failure_timestamp":100,"failure_reasons":["one","two"],"reason":"invalid_ticket","agent_id":"wa-1",
        "source_topic":"execution.tickets","source_partition":3,"source_offset":18244})");
    EXPECT_EQ(message.at("dlq_metadata"), expected);
    EXPECT_FALSE(message.as_object().contains("_deserialization_error"));
}

TEST(WriteDeadLetter, UndecodableFormHasPreviewAndBytes) {
    const std::string payload("\x00\x00\x00\x00\x07\xFFhello", 11);
    const auto message = boost::json::parse(write_dead_letter(facts(payload)));
    EXPECT_EQ(message.at("ticket_id"), "unknown");
    EXPECT_EQ(message.at("task_id"), "unknown");
    EXPECT_EQ(message.at("task_type"), "unknown");
    EXPECT_EQ(message.at("status"), "DESERIALIZATION_FAILED");
    EXPECT_EQ(message.at("dependencies"), boost::json::array());
    EXPECT_EQ(message.at("_deserialization_error"), true);
    EXPECT_THAT(std::string(message.at("_raw_message_preview").as_string()), HasSubstr("hello"));
    EXPECT_EQ(message.at("_kafka_metadata"),
              boost::json::parse(R"({"topic":"execution.tickets","partition":3,"offset":18244,"timestamp":99})"));
    const auto& metadata = message.at("dlq_metadata").as_object();
    EXPECT_EQ(metadata.at("raw_value_base64"), base64(payload).c_str());
    EXPECT_EQ(metadata.at("raw_value_bytes"), 11);
    EXPECT_EQ(metadata.at("raw_value_truncated"), false);
    EXPECT_EQ(metadata.at("reason"), "invalid_ticket");
}

TEST(WriteDeadLetter, LargePayloadsAreCut) {
    const std::string payload = "[" + std::string(3'000'000, ' ') + "]";
    const std::string text = write_dead_letter(facts(payload));
    EXPECT_LT(text.size(), 100'000U);
    const auto message = boost::json::parse(text);
    EXPECT_EQ(message.at("dlq_metadata").at("raw_value_truncated"), true);
    EXPECT_EQ(message.at("dlq_metadata").at("raw_value_bytes"), 3'000'002);
    EXPECT_EQ(message.at("dlq_metadata").at("raw_value_base64").as_string().size(), 65'536U);
    EXPECT_EQ(message.at("_raw_message_preview").as_string().size(), kPreviewCharacters);
}

TEST(WriteDeadLetter, TicketThatWouldGrowOverTheLimitIsCut) {
    const std::string payload =
        R"({"ticket_id":"t","description":")" + std::string(kMaxDeadLetterBytes - 40, 'd') + "\"}";
    ASSERT_LE(payload.size(), kMaxDeadLetterBytes);
    auto f = facts(payload);
    f.ticket_id = "t";
    f.task_type = "TEST";
    const auto message = boost::json::parse(write_dead_letter(f));
    EXPECT_EQ(message.at("ticket_id"), "t");
    EXPECT_EQ(message.at("task_type"), "TEST");
    EXPECT_EQ(message.at("dlq_metadata").at("raw_value_truncated"), true);
}

TEST(WriteDeadLetter, UsesTheDecodedTicketWhenTheBytesAreNotJson) {
    const Ticket ticket = parse_ticket(R"({"ticket_id":"avro-1","task_id":"x","task_type":"QUERY"})").value();
    auto f = facts(std::string_view("\x00\x00\x00\x00\x07zzz", 8));
    f.ticket = &ticket;
    const auto message = boost::json::parse(write_dead_letter(f));
    EXPECT_EQ(message.at("ticket_id"), "avro-1");
    EXPECT_EQ(message.at("status"), "PENDING");
    EXPECT_FALSE(message.as_object().contains("_raw_message_preview"));
}

TEST(WriteDeadLetter, KeepsTheNewestReasonsAndDropsOldMetadata) {
    auto f = facts(R"({"ticket_id":"t","dlq_metadata":{"reason":"old"},"_id":"x"})");
    f.failure_reasons.clear();
    for (int i = 0; i < 15; ++i)
        f.failure_reasons.push_back("r" + std::to_string(i));
    f.error = std::string(100'000, 'e');
    const auto message = boost::json::parse(write_dead_letter(f));
    const auto& metadata = message.at("dlq_metadata").as_object();
    EXPECT_EQ(metadata.at("failure_reasons").as_array().size(), kMaxFailureReasons);
    EXPECT_EQ(metadata.at("failure_reasons").as_array().back(), "r14");
    EXPECT_EQ(metadata.at("reason"), "invalid_ticket");
    EXPECT_LT(metadata.at("original_error").as_string().size(), 5000U);
    EXPECT_FALSE(message.as_object().contains("_id"));
}

TEST(ReplayableTicket, IsTheTicketAgain) {
    const std::string dead =
        write_dead_letter(facts(R"({"ticket_id":"t","task_id":"x","task_type":"TEST","status":"FAILED","k":1})"));
    const auto ticket = replayable_ticket(dead);
    ASSERT_TRUE(ticket);
    EXPECT_EQ(boost::json::parse(*ticket),
              boost::json::parse(R"({"ticket_id":"t","task_id":"x","task_type":"TEST","status":"PENDING","k":1})"));
    EXPECT_TRUE(parse_ticket(*ticket));
}

TEST(ReplayableTicket, RefusesWhatWasNeverATicket) {
    EXPECT_EQ(replayable_ticket(write_dead_letter(facts("garbage"))).error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(replayable_ticket("[]").error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(replayable_ticket("{").error().code, ErrorCode::kMalformed);
}

TEST(DeadLetterSummary, TellsWhatOursSay) {
    const auto letter = write_dead_letter(facts(R"({"ticket_id":"t","plan_id":"p","task_id":"a","task_type":"TEST"})"));
    const DeadLetterSummary summary = dead_letter_summary(letter);
    EXPECT_TRUE(summary.readable);
    EXPECT_TRUE(summary.replayable);
    EXPECT_EQ(summary.ticket_id, "t");
    EXPECT_EQ(summary.plan_id, "p");
    EXPECT_EQ(summary.task_type, "TEST");
    EXPECT_EQ(summary.reason, "invalid_ticket");
    EXPECT_EQ(summary.error, "sla.timeout_ms must be a whole number");
    EXPECT_EQ(summary.attempts, 2);
    EXPECT_EQ(summary.first_at, 100);
    EXPECT_EQ(original_base64(letter), "");
}

TEST(DeadLetterSummary, TheUndecodableFormKeepsItsBytesAndIsNotSentBack) {
    const auto letter = write_dead_letter(facts("garbage"));
    const DeadLetterSummary summary = dead_letter_summary(letter);
    EXPECT_TRUE(summary.readable);
    EXPECT_FALSE(summary.replayable);
    EXPECT_EQ(summary.ticket_id, "unknown");
    EXPECT_EQ(original_base64(letter), base64("garbage"));
}

TEST(DeadLetterSummary, TakesWhateverOthersWrite) {
    for (const std::string_view text :
         {"", "{", "[]", "null", R"({"dlq_metadata":7})", R"({"ticket_id":7,"dlq_metadata":{"retry_count":"x"}})",
          R"({"ticket_id":""})", R"({"dlq_metadata":{"raw_value_base64":{},"first_failure_timestamp":-5}})"}) {
        const DeadLetterSummary summary = dead_letter_summary(text);
        EXPECT_FALSE(summary.replayable) << text;
        EXPECT_EQ(summary.first_at, 0) << text;
        EXPECT_EQ(original_base64(text), "") << text;
    }
    const std::string long_id(300, 'i');
    EXPECT_FALSE(dead_letter_summary(R"({"ticket_id":")" + long_id + "\"}").replayable);
    EXPECT_EQ(dead_letter_summary(R"({"dlq_metadata":{"retry_count":99999999999}})").attempts, 2147483647);
}

}  // namespace
}  // namespace wa
