#include "core/codec/ticket_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "core/codec/json_write.h"

namespace wa {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// The sample of contract/tickets.md 4.2.
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
constexpr std::string_view kMinimal = R"({"ticket_id":"t-1","task_id":"a","task_type":"EXECUTE"})";

// The minimal ticket with some keys replaced or added: `changes` is the inside of a JSON object.
std::string with(std::string_view changes) {
    boost::json::object ticket =
        boost::json::parse(boost::json::string_view(kMinimal.data(), kMinimal.size())).as_object();
    const std::string text = "{" + std::string(changes) + "}";
    const auto parsed = boost::json::parse(text);
    for (const auto& member : parsed.as_object())
        ticket[member.key()] = member.value();
    return boost::json::serialize(ticket);
}
std::string without(std::string_view key) {
    boost::json::object ticket =
        boost::json::parse(boost::json::string_view(kMinimal.data(), kMinimal.size())).as_object();
    ticket.erase(boost::json::string_view(key.data(), key.size()));
    return boost::json::serialize(ticket);
}
Ticket good(std::string_view text) {
    auto ticket = parse_ticket(text);
    if (!ticket) {
        ADD_FAILURE() << ticket.error().message << "\n" << text.substr(0, 300);
        return {};
    }
    return *ticket;
}
void expect_error(std::string_view text, std::string_view field, std::string_view part,
                  ErrorCode code = ErrorCode::kInvalidArgument) {
    const auto ticket = parse_ticket(text);
    ASSERT_FALSE(ticket) << text.substr(0, 300);
    EXPECT_EQ(ticket.error().code, code) << ticket.error().message;
    EXPECT_EQ(ticket.error().field, field);
    EXPECT_EQ(ticket.error().retry, Retry::kNever);
    EXPECT_EQ(ticket.error().fault, Fault::kInput);
    EXPECT_THAT(ticket.error().message, HasSubstr(std::string(part)));
}

TEST(ParseTicket, ReadsTheSampleOfTheContract) {
    const Ticket t = good(kSample);
    EXPECT_EQ(t.ticket_id, "6f0b6c1e-3a55-4a0e-9a0d-0d5f5e2b7c11");
    EXPECT_EQ(t.plan_id, "plan-0042");
    EXPECT_EQ(t.intent_id, "intent-0007");
    EXPECT_EQ(t.decision_id, "decision-0019");
    EXPECT_EQ(t.correlation_id, "corr-9d1e");
    EXPECT_EQ(t.trace_id, "");
    EXPECT_EQ(t.span_id, "");
    EXPECT_EQ(t.task_id, "task-3");
    EXPECT_EQ(t.task_type, TaskType::kExecute);
    EXPECT_EQ(t.description, "run smoke script");
    EXPECT_THAT(t.dependencies, ElementsAre("0e4b8a52-77aa-4b3c-8a63-5a1c2f0b9d20"));
    EXPECT_EQ(t.status, TicketStatus::kPending);
    EXPECT_EQ(t.priority, Priority::kHigh);
    EXPECT_EQ(t.risk_band, RiskBand::kMedium);
    EXPECT_EQ(t.sla, (Sla{1767225600000, 120000, 2}));
    EXPECT_EQ(t.qos, Qos{});
    EXPECT_EQ(t.parameters, (boost::json::object{{"runtime", "local"}}));
    EXPECT_THAT(t.required_capabilities, ElementsAre("python"));
    EXPECT_EQ(t.security_level, SecurityLevel::kInternal);
    EXPECT_EQ(t.created_at, 1767220000000);
    EXPECT_EQ(t.started_at, std::nullopt);
    EXPECT_EQ(t.completed_at, std::nullopt);
    EXPECT_EQ(t.estimated_duration_ms, 40000);
    EXPECT_EQ(t.actual_duration_ms, std::nullopt);
    EXPECT_EQ(t.retry_count, 0);
    EXPECT_EQ(t.error_message, "");
    EXPECT_EQ(t.compensation_ticket_id, "");
    EXPECT_THAT(t.metadata, ElementsAre(Pair("workflow_id", "wf-1")));
    EXPECT_EQ(t.schema_version, 1);
}

TEST(ParseTicket, WritesTheSampleBackAsItWas) {
    const auto text = boost::json::string_view(kSample.data(), kSample.size());
    EXPECT_EQ(boost::json::parse(write_ticket(good(kSample))), boost::json::parse(text));
}

TEST(ParseTicket, FillsInDefaults) {
    const Ticket t = good(kMinimal);
    EXPECT_EQ(t.plan_id, "");
    EXPECT_EQ(t.status, TicketStatus::kPending);
    EXPECT_EQ(t.priority, Priority::kNormal);
    EXPECT_EQ(t.risk_band, RiskBand::kMedium);
    EXPECT_EQ(t.sla, (Sla{std::nullopt, 60'000, std::nullopt}));
    EXPECT_EQ(t.qos, Qos{});
    EXPECT_EQ(t.security_level, SecurityLevel::kInternal);
    EXPECT_THAT(t.dependencies, IsEmpty());
    EXPECT_TRUE(t.parameters.empty());
    EXPECT_EQ(t.created_at, 0);
    EXPECT_EQ(t.retry_count, 0);
    EXPECT_EQ(t.schema_version, 1);
}

TEST(ParseTicket, AcceptsNullForWhatMayBeMissing) {
    const Ticket t =
        good(with(R"("plan_id":null,"intent_id":null,"decision_id":null,"correlation_id":null,"trace_id":null,
        "description":null,"priority":null,"risk_band":null,"sla":null,"qos":null,"parameters":null,
        "required_capabilities":null,"security_level":null,"created_at":null,"retry_count":null,"metadata":null,
        "schema_version":null)"));
    EXPECT_TRUE(same_ticket(t, good(kMinimal)));
}

TEST(ParseTicket, AcceptsNullPartsOfSlaAndQos) {
    const Ticket t =
        good(with(R"("sla":{"deadline":null,"timeout_ms":null,"max_retries":null},"qos":{"durability":null})"));
    EXPECT_EQ(t.sla, Sla{});
    EXPECT_EQ(t.qos, Qos{});
}

TEST(ParseTicket, AcceptsCompensationTicketsOfTheOrchestrator) {
    const Ticket t = good(R"({"ticket_id":"c-1","plan_id":"p","intent_id":"i","task_id":"compensate-12345678",
        "task_type":"COMPENSATE","dependencies":[],"status":"PENDING","priority":"HIGH","risk_band":"high",
        "sla":{"timeout_ms":120000,"deadline":null},
        "parameters":{"action":"delete_artifacts","artifact_ids":["a","b"],"nested":{"x":[1,2]}},
        "metadata":{"compensation_reason":"x"},"created_at":1})");
    EXPECT_EQ(t.task_type, TaskType::kCompensate);
    EXPECT_EQ(t.parameters.at("artifact_ids").as_array().size(), 2U);
    EXPECT_EQ(t.sla, (Sla{std::nullopt, 120000, std::nullopt}));
}

TEST(ParseTicket, IgnoresUnknownKeys) {
    const Ticket t =
        good(with(R"("predictions":{"x":1},"allocation_metadata":{"agent_id":"a"},"payload":[1],"whatever":null)"));
    EXPECT_TRUE(same_ticket(t, good(kMinimal)));
}

TEST(ParseTicket, NeedsTheIdentifyingKeys) {
    for (const std::string_view key : {"ticket_id", "task_id", "task_type"})
        expect_error(without(key), key, "is missing");
    expect_error(with(R"("ticket_id":"")"), "ticket_id", "must not be empty");
    expect_error(with(R"("ticket_id":null)"), "ticket_id", "found null");
    expect_error(with(R"("ticket_id":5)"), "ticket_id", "must be a text, found 5");
    expect_error(with(R"("task_id":null)"), "task_id", "must be a text, found null");
    expect_error(with(R"("task_type":null)"), "task_type", "must be a text, found null");
    expect_error(with(R"("status":null)"), "status", "found null");
    expect_error(with(R"("dependencies":null)"), "dependencies", "found null");
}

TEST(ParseTicket, TicketIdIsBoundedAndClean) {
    EXPECT_EQ(good(with("\"ticket_id\":\"" + std::string(255, 'x') + "\"")).ticket_id.size(), 255U);
    expect_error(with("\"ticket_id\":\"" + std::string(256, 'x') + "\""), "ticket_id", "at most 255 bytes");
    expect_error(with(R"("ticket_id":"a\nb")"), "ticket_id", "control characters");
    expect_error(with(R"("ticket_id":"a\u0000b")"), "ticket_id", "control characters");
}

TEST(ParseTicket, MayLeaveTheIdToTheCallerWhenAsked) {
    TicketLimits limits;
    limits.require_id = false;
    for (const auto& text : {without("ticket_id"), with(R"("ticket_id":"")"), with(R"("ticket_id":null)")}) {
        const auto ticket = parse_ticket(text, limits);
        ASSERT_TRUE(ticket) << text;
        EXPECT_EQ(ticket->ticket_id, "");
    }
    EXPECT_FALSE(parse_ticket(with(R"("ticket_id":5)"), limits));
}

TEST(ParseTicket, TaskTypesInAnyCase) {
    EXPECT_EQ(good(with(R"("task_type":"query")")).task_type, TaskType::kQuery);
    EXPECT_EQ(good(with(R"("task_type":"transform")")).task_type, TaskType::kTransform);
    EXPECT_EQ(good(with(R"("task_type":"Validate")")).task_type, TaskType::kValidate);
}

TEST(ParseTicket, UnknownTaskTypesAreUnsupported) {
    for (const std::string_view word : {"analyze", "generate", "review", "code_generation", "DEPLOY_FLUX", ""}) {
        expect_error(with("\"task_type\":\"" + std::string(word) + "\""), "task_type", "must be one of BUILD",
                     ErrorCode::kUnsupported);
    }
}

TEST(ParseTicket, StatusWordsAreExact) {
    EXPECT_EQ(good(with(R"("status":"COMPENSATED")")).status, TicketStatus::kCompensated);
    for (const std::string_view word : {"pending", "assigned", "rejected", "PREEMPTED", ""}) {
        expect_error(with("\"status\":\"" + std::string(word) + "\""), "status", "must be one of PENDING");
    }
}

TEST(ParseTicket, PrioritiesByWordAndNumber) {
    const std::vector<std::pair<std::string, Priority>> cases{{"\"LOW\"", Priority::kLow},
                                                              {"\"NORMAL\"", Priority::kNormal},
                                                              {"\"MEDIUM\"", Priority::kNormal},
                                                              {"\"HIGH\"", Priority::kHigh},
                                                              {"\"CRITICAL\"", Priority::kCritical},
                                                              {"1", Priority::kLow},
                                                              {"2", Priority::kLow},
                                                              {"3", Priority::kNormal},
                                                              {"5", Priority::kNormal},
                                                              {"5.0", Priority::kNormal},
                                                              {"6", Priority::kHigh},
                                                              {"8", Priority::kHigh},
                                                              {"9", Priority::kCritical},
                                                              {"10", Priority::kCritical}};
    for (const auto& [text, priority] : cases)
        EXPECT_EQ(good(with("\"priority\":" + text)).priority, priority) << text;
    for (const std::string text : {"0", "11", "5.5", "\"urgent\"", "\"high\"", "[]", "true"}) {
        expect_error(with("\"priority\":" + text), "priority", "one of LOW, NORMAL, HIGH, CRITICAL");
    }
}

TEST(ParseTicket, EnumerationsAreChecked) {
    expect_error(with(R"("risk_band":"HIGH")"), "risk_band", "one of low, medium, high, critical");
    expect_error(with(R"("security_level":"SECRET")"), "security_level", "one of PUBLIC");
    expect_error(with(R"("qos":{"delivery_mode":"at-least-once"})"), "qos.delivery_mode", "one of AT_MOST_ONCE");
    expect_error(with(R"("qos":{"consistency":1})"), "qos.consistency", "one of EVENTUAL");
    expect_error(with(R"("qos":{"durability":"x"})"), "qos.durability", "one of TRANSIENT");
    expect_error(with(R"("qos":[])"), "qos", "an object, found a list");
    EXPECT_EQ(
        good(with(R"("qos":{"delivery_mode":"EXACTLY_ONCE","consistency":"STRONG","durability":"TRANSIENT"})")).qos,
        (Qos{DeliveryMode::kExactlyOnce, Consistency::kStrong, Durability::kTransient}));
}

TEST(ParseTicket, SlaRanges) {
    EXPECT_EQ(good(with(R"("sla":{"timeout_ms":1})")).sla.timeout_ms, 1);
    EXPECT_EQ(good(with(R"("sla":{"timeout_ms":604800000})")).sla.timeout_ms, 604'800'000);
    EXPECT_EQ(good(with(R"("sla":{"timeout_ms":5.0})")).sla.timeout_ms, 5);
    for (const std::string text : {"0", "-1", "604800001", "5.5", "\"60000\"", "1e30", "true", "{}"}) {
        expect_error(with("\"sla\":{\"timeout_ms\":" + text + "}"), "sla.timeout_ms",
                     "a whole number from 1 to 604800000");
    }
    EXPECT_EQ(good(with(R"("sla":{"max_retries":0})")).sla.max_retries, 0);
    EXPECT_EQ(good(with(R"("sla":{"max_retries":100})")).sla.max_retries, 100);
    for (const std::string text : {"-1", "101", "2.5", "\"2\""}) {
        expect_error(with("\"sla\":{\"max_retries\":" + text + "}"), "sla.max_retries", "a whole number from 0 to 100");
    }
    expect_error(with(R"("sla":5)"), "sla", "an object, found 5");
}

TEST(ParseTicket, DeadlineZeroOrBelowIsNone) {
    for (const std::string text : {"0", "-1", "null", "-9223372036854775808"}) {
        EXPECT_EQ(good(with("\"sla\":{\"deadline\":" + text + "}")).sla.deadline, std::nullopt) << text;
    }
    EXPECT_EQ(good(with(R"("sla":{"deadline":1.0})")).sla.deadline, 1);
    expect_error(with(R"("sla":{"deadline":"soon"})"), "sla.deadline", "a whole number, found the text");
    expect_error(with(R"("sla":{"deadline":1e300})"), "sla.deadline", "a whole number");
}

TEST(ParseTicket, DependenciesAreCheckedAndDeduplicated) {
    EXPECT_THAT(good(with(R"("dependencies":["b","a","b"])")).dependencies, ElementsAre("b", "a"));
    expect_error(with(R"("dependencies":["a","t-1"])"), "dependencies[1]", "must not be the ticket itself");
    expect_error(with(R"("dependencies":["a",5])"), "dependencies[1]", "must be a ticket id, found 5");
    expect_error(with(R"("dependencies":[""])"), "dependencies[0]", "must be a ticket id");
    expect_error(with(R"("dependencies":[null])"), "dependencies[0]", "found null");
    expect_error(with("\"dependencies\":[\"" + std::string(256, 'x') + "\"]"), "dependencies[0]", "at most 255 bytes");
    expect_error(with(R"("dependencies":"a")"), "dependencies", "a list of ticket ids");
}

TEST(ParseTicket, AtMostAThousandDependencies) {
    const auto list = [](std::size_t count) {
        std::string text = "\"dependencies\":[";
        for (std::size_t i = 0; i < count; ++i)
            text += (i > 0 ? ",\"d" : "\"d") + std::to_string(i) + "\"";
        return text + "]";
    };
    EXPECT_EQ(good(with(list(1000))).dependencies.size(), 1000U);
    expect_error(with(list(1001)), "dependencies", "at most 1000", ErrorCode::kLimitExceeded);
}

TEST(ParseTicket, CorrelationIdHasATwin) {
    EXPECT_EQ(good(with(R"("correlationId":"x")")).correlation_id, "x");
    EXPECT_EQ(good(with(R"("correlation_id":"","correlationId":"x")")).correlation_id, "x");
    EXPECT_EQ(good(with(R"("correlation_id":null,"correlationId":"x")")).correlation_id, "x");
    EXPECT_EQ(good(with(R"("correlation_id":"y","correlationId":"x")")).correlation_id, "y");
    EXPECT_EQ(good(with(R"("correlationId":null)")).correlation_id, "");
}

TEST(ParseTicket, MetadataValuesBecomeText) {
    const Ticket t = good(with(R"("metadata":{"a":"x","b":1,"c":true,"d":null,"e":{"k":[1,2.5]}})"));
    EXPECT_THAT(t.metadata,
                ElementsAre(Pair("a", "x"), Pair("b", "1"), Pair("c", "true"), Pair("e", R"({"k":[1,2.5]})")));
    expect_error(with(R"("metadata":[])"), "metadata", "an object, found a list");
}

TEST(ParseTicket, TypesOfTheOtherFields) {
    expect_error(with(R"("description":5)"), "description", "must be a text, found 5");
    expect_error(with(R"("parameters":"{}")"), "parameters", "an object, found the text");
    expect_error(with(R"("required_capabilities":["a",1])"), "required_capabilities[1]", "a text, found 1");
    expect_error(with(R"("created_at":"2024")"), "created_at", "a whole number");
    expect_error(with(R"("created_at":18446744073709551615)"), "created_at", "a whole number");
    expect_error(with(R"("retry_count":-1)"), "retry_count", "from 0");
    expect_error(with(R"("retry_count":2147483648)"), "retry_count", "from 0");
    EXPECT_EQ(good(with(R"("created_at":-5)")).created_at, 0);
}

TEST(ParseTicket, CompletedComesAfterStarted) {
    EXPECT_EQ(good(with(R"("started_at":5,"completed_at":6)")).completed_at, 6);
    expect_error(with(R"("started_at":5,"completed_at":5)"), "completed_at", "later than started_at");
    EXPECT_EQ(good(with(R"("completed_at":5)")).completed_at, 5);
}

TEST(ParseTicket, RepeatedTopLevelKeysAreRefused) {
    expect_error(R"({"ticket_id":"a","task_id":"x","task_type":"TEST","ticket_id":"b"})", "", "appears twice",
                 ErrorCode::kMalformed);
    EXPECT_TRUE(parse_ticket(R"({"ticket_id":"a","task_id":"x","task_type":"TEST","parameters":{"k":1,"k":2}})"));
}

TEST(ParseTicket, WhatIsNoJsonIsMalformed) {
    for (const std::string_view text : {"", "{", "ticket", "\x00\x00\x00\x00\x07",
                                        R"({"ticket_id":")"
                                        "\xFF"
                                        R"("})",
                                        R"({"a":1e400})"}) {
        expect_error(text, "", "not valid JSON", ErrorCode::kMalformed);
    }
    for (const std::string_view text : {"[]", "5", "null", "\"x\""})
        expect_error(text, "", "must be a JSON object");
}

TEST(ParseTicket, SizeAndDepthAreBounded) {
    const auto sized = [](std::size_t bytes) {
        std::string text = R"({"ticket_id":"a","task_id":"x","task_type":"TEST","description":")";
        return text + std::string(bytes - text.size() - 2, 'd') + "\"}";
    };
    EXPECT_TRUE(parse_ticket(sized(kMaxTicketBytes)));
    expect_error(sized(kMaxTicketBytes + 1), "", "at most 1048576", ErrorCode::kLimitExceeded);
    const auto deep = [](std::size_t depth) {
        return R"({"ticket_id":"a","task_id":"x","task_type":"TEST","parameters":{"p":)" + std::string(depth, '[') +
               std::string(depth, ']') + "}}";
    };
    EXPECT_TRUE(parse_ticket(deep(62)));
    expect_error(deep(63), "", "deeper than 64", ErrorCode::kMalformed);
    boost::json::parse_options options;
    options.max_depth = 100;
    const auto value = boost::json::parse(deep(63), {}, options);
    EXPECT_EQ(parse_ticket(value).error().code, ErrorCode::kMalformed);
}

TEST(CheckTicket, FindsEverythingThatIsWrong) {
    const auto errors = check_ticket(R"({"ticket_id":"","task_type":"DANCE","dependencies":[1,2],"sla":{"timeout_ms":0},
        "priority":99,"metadata":5})");
    std::vector<std::string> fields;
    for (const auto& error : errors)
        fields.push_back(error.field);
    EXPECT_THAT(fields, ElementsAre("ticket_id", "task_id", "task_type", "dependencies[0]", "dependencies[1]",
                                    "priority", "sla.timeout_ms", "metadata"));
    EXPECT_THAT(check_ticket(kSample), IsEmpty());
}

TEST(CheckTicket, IsBoundedAndClipsValues) {
    std::string many = "\"dependencies\":[1";
    for (int i = 0; i < 200; ++i)
        many += ",1";
    EXPECT_EQ(check_ticket(with(many + "]")).size(), kMaxTicketErrors);
    const auto errors = check_ticket(with("\"priority\":\"" + std::string(5000, 'p') + "\""));
    ASSERT_EQ(errors.size(), 1U);
    EXPECT_LT(errors[0].message.size(), 250U);
}

Ticket arbitrary_ticket() {
    const auto text = [] { return *rc::gen::container<std::string>(rc::gen::inRange(' ', '\x7f')); };
    Ticket t;
    t.ticket_id = "id" + text().substr(0, 100);
    t.plan_id = text();
    t.correlation_id = text();
    t.task_id = text();
    t.task_type = static_cast<TaskType>(*rc::gen::inRange(0, 8));
    t.status = static_cast<TicketStatus>(*rc::gen::inRange(0, 6));
    t.priority = static_cast<Priority>(*rc::gen::inRange(0, 4));
    t.risk_band = static_cast<RiskBand>(*rc::gen::inRange(0, 4));
    t.security_level = static_cast<SecurityLevel>(*rc::gen::inRange(0, 4));
    if (*rc::gen::arbitrary<bool>()) t.sla.deadline = *rc::gen::inRange<std::int64_t>(1, 1LL << 60);
    t.sla.timeout_ms = *rc::gen::inRange<std::int64_t>(1, kMaxTimeoutMs + 1);
    if (*rc::gen::arbitrary<bool>()) t.sla.max_retries = *rc::gen::inRange(0, 101);
    t.description = text();
    const int count = *rc::gen::inRange(0, 5);
    for (int i = 0; i < count; ++i)
        t.dependencies.push_back("d" + std::to_string(i));
    t.parameters["n"] = *rc::gen::arbitrary<std::int64_t>();
    t.parameters["d"] = static_cast<double>(*rc::gen::arbitrary<std::int32_t>()) / 8;
    t.parameters[text()] = boost::json::array{text(), nullptr, true};
    t.metadata[text()] = text();
    t.created_at = *rc::gen::inRange<std::int64_t>(0, 1LL << 60);
    t.retry_count = *rc::gen::inRange(0, 1000);
    t.error_message = text();
    return t;
}

TEST(WriteTicket, ParsesBackToTheSameTicket) {
    const bool held = rc::check("parse(write(t)) == t", [] {
        const Ticket ticket = arbitrary_ticket();
        const auto again = parse_ticket(write_ticket(ticket));
        RC_ASSERT(again.has_value());
        RC_ASSERT(same_ticket(*again, ticket));
        RC_ASSERT(same_ticket(parse_ticket_value(ticket_object(ticket)).value(), ticket));
    });
    EXPECT_TRUE(held);
}

TEST(WriteTicket, IsValidJsonWhateverTheBytes) {
    Ticket ticket = good(kMinimal);
    ticket.description = "a\xFF\xC0z";
    ticket.metadata["k\xFF"] = "\xED\xA0\x80";
    const auto again = parse_ticket(write_ticket(ticket));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->description, "a\xEF\xBF\xBD\xEF\xBF\xBDz");
}

TEST(Words, OfEveryEnumerationAreReadBack) {
    for (int i = 0; i < 8; ++i) {
        const auto value = static_cast<TaskType>(i);
        EXPECT_EQ(parse_task_type(to_string(value)), value);
    }
    for (int i = 0; i < 6; ++i) {
        const auto value = static_cast<TicketStatus>(i);
        EXPECT_EQ(parse_ticket_status(to_string(value)), value);
    }
    for (int i = 0; i < 4; ++i) {
        EXPECT_EQ(parse_priority(to_string(static_cast<Priority>(i))), static_cast<Priority>(i));
        EXPECT_EQ(parse_risk_band(to_string(static_cast<RiskBand>(i))), static_cast<RiskBand>(i));
        EXPECT_EQ(parse_security_level(to_string(static_cast<SecurityLevel>(i))), static_cast<SecurityLevel>(i));
    }
    for (int i = 0; i < 3; ++i)
        EXPECT_EQ(parse_delivery_mode(to_string(static_cast<DeliveryMode>(i))), static_cast<DeliveryMode>(i));
    for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(parse_consistency(to_string(static_cast<Consistency>(i))), static_cast<Consistency>(i));
        EXPECT_EQ(parse_durability(to_string(static_cast<Durability>(i))), static_cast<Durability>(i));
    }
    EXPECT_EQ(parse_priority("high"), std::nullopt);
    EXPECT_EQ(parse_risk_band("HIGH"), std::nullopt);
}

}  // namespace
}  // namespace wa
