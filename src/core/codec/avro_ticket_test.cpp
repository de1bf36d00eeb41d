#include "core/codec/avro_ticket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <fstream>
#include <functional>
#include <iterator>

#include "core/codec/avro_frame.h"
#include "core/codec/avro_schemas.h"
#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/testing/avro_ticket_writer.h"

namespace wa {
namespace {

using ::testing::HasSubstr;

std::string file_text(const std::string& path) {
    std::ifstream in(std::string(WA_SOURCE_DIR) + "/" + path);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::string from_hex(std::string_view hex) {
    const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes += static_cast<char>(digit(hex[i]) << 4U | digit(hex[i + 1]));
    return bytes;
}

const boost::json::value& vectors() {
    static const auto kVectors =
        parse_json(file_text("tests/avro/vectors.json"), JsonLimits{8'000'000, 64, {}}).value();
    return kVectors;
}

const AvroTicketReader& reader() {
    static const auto kReader = AvroTicketReader::make(ticket_schema_text()).value();
    return kReader;
}

// contract/tickets.md 3.5: the ticket of 4.2 under schema id 7.
constexpr std::string_view kVector =
    "00000000074836663062366331652d336135352d346130652d396130642d3064"
    "3566356532623763313112706c616e2d3030343216696e74656e742d30303037"
    "1a6465636973696f6e2d303031390212636f72722d3964316500000c7461736b"
    "2d33082072756e20736d6f6b6520736372697074024830653462386135322d37"
    "3761612d346233632d386136332d3561316332663062396432300000040280a0"
    "d5edee6680d30e04020002020e72756e74696d650a6c6f63616c00020c707974"
    "686f6e000280d4a9e8ee6600000280f104000000000216776f726b666c6f775f"
    "69640877662d310002";
constexpr std::string_view kSample = R"({
  "ticket_id": "6f0b6c1e-3a55-4a0e-9a0d-0d5f5e2b7c11", "plan_id": "plan-0042", "intent_id": "intent-0007",
  "decision_id": "decision-0019", "correlation_id": "corr-9d1e", "trace_id": null, "span_id": null,
  "task_id": "task-3", "task_type": "EXECUTE", "description": "run smoke script",
  "dependencies": ["0e4b8a52-77aa-4b3c-8a63-5a1c2f0b9d20"], "status": "PENDING", "priority": "HIGH",
  "risk_band": "medium", "sla": {"deadline": 1767225600000, "timeout_ms": 120000, "max_retries": 2},
  "qos": {"delivery_mode": "AT_LEAST_ONCE", "consistency": "EVENTUAL", "durability": "PERSISTENT"},
  "parameters": {"runtime": "local"}, "required_capabilities": ["python"], "security_level": "INTERNAL",
  "created_at": 1767220000000, "started_at": null, "completed_at": null, "estimated_duration_ms": 40000,
  "actual_duration_ms": null, "retry_count": 0, "error_message": null, "compensation_ticket_id": null,
  "metadata": {"workflow_id": "wf-1"}, "schema_version": 1
})";

std::string sample_body() {
    return from_hex(kVector).substr(kAvroHeaderBytes);
}
Ticket sample() {
    return parse_ticket(kSample).value();
}

TEST(AvroTicket, TheContractsVectorIsTheContractsSample) {
    const std::string value = from_hex(kVector);
    ASSERT_EQ(value.size(), 233U);
    const auto framed = unframe(value);
    ASSERT_TRUE(framed);
    EXPECT_EQ(framed->schema_id, 7U);
    const auto ticket = decode_ticket_avro(reader(), framed->body);
    ASSERT_TRUE(ticket) << ticket.error().message;
    EXPECT_TRUE(same_ticket(*ticket, sample())) << write_ticket(*ticket);
    EXPECT_EQ(wa::testing::avro_of(*ticket), framed->body);
}

TEST(AvroTicket, ReadsWhatFastavroWroteAsTheSameJsonWouldRead) {
    const auto check = [](const AvroTicketReader& plan, const boost::json::value& one) {
        const auto from_avro = decode_ticket_avro(plan, from_hex(one.at("hex").as_string()));
        const auto from_json = parse_ticket(json_text(one.at("value")));
        ASSERT_TRUE(from_avro) << from_avro.error().message;
        ASSERT_TRUE(from_json) << from_json.error().message;
        EXPECT_TRUE(same_ticket(*from_avro, *from_json)) << write_ticket(*from_avro) << "\n"
                                                         << write_ticket(*from_json);
    };
    const auto& tickets = vectors().at("tickets").as_array();
    ASSERT_EQ(tickets.size(), 40U);
    for (const auto& one : tickets)
        check(reader(), one);
    const auto older = AvroTicketReader::make(json_text(vectors().at("older_writer")));
    ASSERT_TRUE(older) << older.error().message;
    const auto& older_tickets = vectors().at("older_tickets").as_array();
    ASSERT_EQ(older_tickets.size(), 10U);
    for (const auto& one : older_tickets)
        check(*older, one);
}

TEST(AvroTicket, NoPrefixIsATicket) {
    const std::string body = sample_body();
    for (std::size_t length = 0; length < body.size(); ++length) {
        const auto ticket = decode_ticket_avro(reader(), std::string_view(body).substr(0, length));
        ASSERT_FALSE(ticket) << length;
        EXPECT_EQ(ticket.error().code, ErrorCode::kMalformed);
        EXPECT_EQ(ticket.error().fault, Fault::kInput);
    }
}

TEST(AvroTicket, NoChangedByteDoesHarm) {
    const std::string body = sample_body();
    std::size_t accepted = 0;
    for (std::size_t place = 0; place < body.size(); ++place) {
        for (int value = 0; value < 256; ++value) {
            std::string changed = body;
            changed[place] = static_cast<char>(value);
            accepted += decode_ticket_avro(reader(), changed) ? 1U : 0U;
        }
    }
    EXPECT_GT(accepted, body.size());  // a letter of a name may be another letter
}

// The rules of ticket_json.h hold here too.
void expect_refused(const std::function<void(Ticket&)>& change, std::string_view field,
                    ErrorCode code = ErrorCode::kInvalidArgument) {
    Ticket ticket = sample();
    change(ticket);
    const auto read = decode_ticket_avro(reader(), wa::testing::avro_of(ticket));
    ASSERT_FALSE(read) << field;
    EXPECT_EQ(read.error().field, field);
    EXPECT_EQ(read.error().code, code);
}

TEST(AvroTicket, TheRulesOfJsonTicketsHold) {
    expect_refused([](Ticket& t) { t.ticket_id = ""; }, "ticket_id");
    expect_refused([](Ticket& t) { t.ticket_id = std::string(256, 'x'); }, "ticket_id");
    expect_refused([](Ticket& t) { t.ticket_id = "a\nb"; }, "ticket_id");
    expect_refused([](Ticket& t) { t.dependencies = {t.ticket_id}; }, "dependencies[0]");
    expect_refused([](Ticket& t) { t.dependencies = {""}; }, "dependencies[0]");
    expect_refused([](Ticket& t) { t.dependencies = std::vector<std::string>(1001, "x"); }, "dependencies",
                   ErrorCode::kLimitExceeded);
    expect_refused([](Ticket& t) { t.sla.timeout_ms = 0; }, "sla.timeout_ms");
    expect_refused([](Ticket& t) { t.sla.timeout_ms = kMaxTimeoutMs + 1; }, "sla.timeout_ms");
    expect_refused([](Ticket& t) { t.sla.max_retries = 101; }, "sla.max_retries");
    expect_refused([](Ticket& t) { t.retry_count = -1; }, "retry_count");
    expect_refused(
        [](Ticket& t) {
            t.started_at = 5;
            t.completed_at = 5;
        },
        "completed_at");
}

TEST(AvroTicket, DeadlinesOfZeroAreNone) {
    Ticket ticket = sample();
    ticket.sla.deadline = 0;
    EXPECT_EQ(decode_ticket_avro(reader(), wa::testing::avro_of(ticket))->sla.deadline, std::nullopt);
}

TEST(AvroTicket, MessagesAreBounded) {
    Ticket ticket = sample();
    ticket.description = std::string(kMaxTicketBytes, 'x');
    const auto read = decode_ticket_avro(reader(), wa::testing::avro_of(ticket));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, ErrorCode::kLimitExceeded);
}

TEST(AvroTicket, OtherSchemasAreRefusedWithTheReason) {
    const auto other = AvroTicketReader::make(R"({"type": "record", "name": "ExecutionTicket", "fields": [
        {"name": "ticket_id", "type": "string"}]})");
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().retry, Retry::kNever);
    EXPECT_THAT(other.error().message, HasSubstr("plan_id is missing"));
    EXPECT_FALSE(AvroTicketReader::make(result_schema_text()));
    EXPECT_FALSE(AvroTicketReader::make("syntax = \"proto3\";"));
}

template <class Enum>
Enum any(int count) {
    return static_cast<Enum>(*rc::gen::inRange(0, count));
}
std::string any_text() {
    return *rc::gen::map(rc::gen::container<std::string>(rc::gen::inRange<char>(0x20, 0x7F)),
                         [](const std::string& text) { return text + (text.size() % 3 == 0 ? "ü€" : ""); });
}

TEST(AvroTicket, EveryTicketComesBack) {
    const bool good = rc::check([] {
        Ticket ticket = sample();
        ticket.ticket_id = "t" + any_text().substr(0, 200);
        ticket.description = any_text();
        ticket.correlation_id = any_text();
        ticket.task_type = any<TaskType>(8);
        ticket.status = any<TicketStatus>(6);
        ticket.priority = any<Priority>(4);
        ticket.risk_band = any<RiskBand>(4);
        ticket.security_level = any<SecurityLevel>(4);
        ticket.qos = {any<DeliveryMode>(3), any<Consistency>(2), any<Durability>(2)};
        ticket.sla.timeout_ms = *rc::gen::inRange<std::int64_t>(1, kMaxTimeoutMs);
        ticket.sla.max_retries = *rc::gen::inRange(0, 101);
        ticket.created_at = *rc::gen::positive<std::int64_t>();
        ticket.estimated_duration_ms = *rc::gen::arbitrary<std::int64_t>();
        ticket.dependencies.clear();
        const int dependencies = *rc::gen::inRange(0, 20);
        for (int i = 0; i < dependencies; ++i)
            ticket.dependencies.push_back("d-" + std::to_string(i));
        const int entries = *rc::gen::inRange(0, 30);
        for (int i = 0; i < entries; ++i) {
            ticket.parameters["p" + std::to_string(i)] = any_text();
            ticket.metadata["m" + std::to_string(i)] = any_text();
        }
        const auto read = decode_ticket_avro(reader(), wa::testing::avro_of(ticket));
        RC_ASSERT(read.has_value());
        RC_ASSERT(same_ticket(*read, ticket));
    });
    EXPECT_TRUE(good);
}

}  // namespace
}  // namespace wa
