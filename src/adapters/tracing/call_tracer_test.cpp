#include "adapters/tracing/call_tracer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace wa {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::Pair;
using Protocol = OutgoingCall::Protocol;

constexpr std::string_view kWork = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class HandClock final : public Clock {
public:
    Duration since_start = 5s;
    EpochMillis wall = 1'000'000;
    [[nodiscard]] MonoTime now() const override { return MonoTime(since_start); }
    [[nodiscard]] EpochMillis wall_now() const override { return wall; }
};

class Kept final : public SpanSink {
public:
    std::vector<Span> spans;
    void end(Span span) override { spans.push_back(std::move(span)); }
};

// Every attribute as text: "…" of a text, else as it is.
std::map<std::string, std::string> attributes(const Span& span) {
    std::map<std::string, std::string> out;
    for (const auto& [name, value] : span.attributes) {
        std::string& text = out[name];
        if (const auto* said = std::get_if<std::string>(&value)) text = *said;
        if (const auto* number = std::get_if<std::int64_t>(&value)) text = std::to_string(*number);
        if (const auto* yes = std::get_if<bool>(&value)) text = *yes ? "true" : "false";
    }
    return out;
}

class CallTracerTest : public ::testing::Test {
protected:
    void SetUp() override { make("parentbased_always_on"); }
    void make(std::string_view sampler) {
        tracer.emplace(clock, time_of_spans, random, Sampler::parse(sampler).value(), sink,
                       [this](std::string_view id) { return id == "in-hand" ? work : std::nullopt; });
    }
    std::unique_ptr<WatchedCall> begin(const CallPurpose& purpose, const OutgoingCall& call) {
        carried.clear();
        return tracer->begin(purpose, call, carried);
    }
    static OutgoingCall patch() {
        return {Protocol::kHttp, "PATCH", "/api/v1/tickets/t/status", "tickets.local", 8080};
    }

    HandClock clock;
    tracing::SpanTime time_of_spans{clock};
    SeededRandom random{3};
    Kept sink;
    std::optional<TraceContext> work = parse_traceparent(kWork);
    std::optional<CallTracer> tracer;
    CarriedHeaders carried;
};

TEST_F(CallTracerTest, ACallForATicketIsAChildOfItsWork) {
    work->state = "vendor=1";
    auto call = begin({"ticket_service.update_ticket_status", "in-hand", {}, 2}, patch());
    ASSERT_TRUE(call);
    ASSERT_EQ(carried.size(), 2U);
    clock.since_start += 7ms;
    EXPECT_TRUE(sink.spans.empty()) << "it is under way";
    call->ended({200, nullptr});
    call.reset();
    ASSERT_EQ(sink.spans.size(), 1U);
    const Span& span = sink.spans[0];
    EXPECT_EQ(span.name, "ticket_service.update_ticket_status");
    EXPECT_EQ(span.kind, SpanKind::kClient);
    EXPECT_EQ(span.context.trace_id, work->trace_id);
    EXPECT_EQ(span.parent, work->span_id);
    EXPECT_NE(span.context.span_id, work->span_id);
    EXPECT_EQ(span.start_ns, 1'000'000'000'000);
    EXPECT_EQ(span.end_ns - span.start_ns, 7'000'000);
    EXPECT_EQ(span.status, SpanStatus::kUnset);
    EXPECT_THAT(carried, ElementsAre(Pair("traceparent", traceparent(span.context)), Pair("tracestate", "vendor=1")));
    EXPECT_THAT(attributes(span),
                ElementsAre(Pair("http.request.method", "PATCH"), Pair("http.request.resend_count", "2"),
                            Pair("http.response.status_code", "200"), Pair("neural.hive.ticket_id", "in-hand"),
                            Pair("server.address", "tickets.local"), Pair("server.port", "8080"),
                            Pair("url.path", "/api/v1/tickets/t/status")));
}

TEST_F(CallTracerTest, WhatItIsDoneForMayBeSettledByNow) {
    const auto cause = parse_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    begin({"a", "gone", cause}, patch())->ended({200, nullptr});
    begin({"a", "in-hand", cause}, patch())->ended({200, nullptr});
    for (const Span& span : sink.spans) {
        EXPECT_EQ(span.context.trace_id, cause->trace_id);
        EXPECT_EQ(span.parent, cause->span_id);
    }
    EXPECT_EQ(sink.spans.size(), 2U);
}

TEST_F(CallTracerTest, ACallForNoTicketBeginsATrace) {
    begin({"ticket_service.list_tickets"}, patch())->ended({200, nullptr});
    begin({"ticket_service.get_ticket", "not-here"}, patch())->ended({200, nullptr});
    ASSERT_EQ(sink.spans.size(), 2U);
    EXPECT_NE(sink.spans[0].context.trace_id, sink.spans[1].context.trace_id);
    for (const Span& span : sink.spans) {
        EXPECT_FALSE(span.parent);
        EXPECT_TRUE(span.context.sampled);
    }
    EXPECT_EQ(carried.at(0).second, traceparent(sink.spans[1].context));
}

TEST_F(CallTracerTest, WhatIsNotSampledCarriesItsContextAndMakesNoSpan) {
    work->sampled = false;
    EXPECT_FALSE(begin({"a", "in-hand"}, patch()));
    ASSERT_EQ(carried.size(), 1U);
    const auto context = parse_traceparent(carried[0].second);
    ASSERT_TRUE(context);
    EXPECT_EQ(context->trace_id, work->trace_id);
    EXPECT_NE(context->span_id, work->span_id);
    EXPECT_FALSE(context->sampled);
    make("always_off");
    EXPECT_FALSE(begin({"a"}, patch()));
    EXPECT_TRUE(carried.at(0).second.ends_with("-00")) << carried[0].second;
    EXPECT_TRUE(sink.spans.empty());
}

TEST_F(CallTracerTest, TracesOfCallsAloneAreOnlySoManyInASecond) {
    for (int i = 0; i < 1000; ++i) {
        begin({"a"}, patch()).reset();
        ASSERT_EQ(carried.size(), 1U) << "they carry a context all the same";
    }
    EXPECT_EQ(sink.spans.size(), 50U);
    EXPECT_TRUE(carried[0].second.ends_with("-00"));
    EXPECT_TRUE(begin({"a", "in-hand"}, patch())) << "what belongs to a ticket is not counted";
    clock.since_start += 1s;
    EXPECT_TRUE(begin({"a"}, patch()));
}

TEST_F(CallTracerTest, AnAnswerThatRefusesIsAnError) {
    begin({"a"}, patch())->ended({503, nullptr});
    const Span& span = sink.spans.at(0);
    EXPECT_EQ(span.status, SpanStatus::kError);
    EXPECT_EQ(span.status_message, "the answer was 503");
    EXPECT_EQ(attributes(span)["http.response.status_code"], "503");
    EXPECT_EQ(attributes(span)["error.type"], "503");
    EXPECT_EQ(attributes(span)["error"], "true");
    ASSERT_EQ(span.events.size(), 1U);
    EXPECT_EQ(span.events[0].name, "exception");
    begin({"a"}, patch())->ended({307, nullptr});
    EXPECT_EQ(sink.spans.at(1).status, SpanStatus::kUnset);
}

TEST_F(CallTracerTest, NoAnswerIsAnErrorInItsWords) {
    const Error error = make_error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kService, "http",
                                   "GET http://x:1/y: no complete answer in time");
    begin({"a"}, patch())->ended({{}, &error});
    const Span& span = sink.spans.at(0);
    EXPECT_EQ(span.status, SpanStatus::kError);
    EXPECT_EQ(span.status_message, error.message);
    EXPECT_EQ(attributes(span)["error.type"], "timeout");
    EXPECT_FALSE(attributes(span).contains("http.response.status_code"));
}

TEST_F(CallTracerTest, ACallOfGrpcIsToldInItsTerms) {
    const Error error =
        make_error(ErrorCode::kNotFound, Retry::kNever, Fault::kService, "grpc", "Heartbeat at r:1: NOT_FOUND");
    begin({"service_registry.heartbeat", {}, {}, 1}, {Protocol::kGrpc, "Heartbeat", "hive.Registry", "r", 50051})
        ->ended({5, &error});
    EXPECT_THAT(attributes(sink.spans.at(0)),
                ElementsAre(Pair("error", "true"), Pair("error.type", "not_found"), Pair("neural.hive.retry", "1"),
                            Pair("rpc.grpc.status_code", "5"), Pair("rpc.method", "Heartbeat"),
                            Pair("rpc.service", "hive.Registry"), Pair("rpc.system", "grpc"),
                            Pair("server.address", "r"), Pair("server.port", "50051")));
    begin({}, {Protocol::kGrpc, "Heartbeat", "hive.Registry", "r", 1})->ended({0, nullptr});
    EXPECT_EQ(sink.spans.at(1).name, "hive.Registry/Heartbeat");
    EXPECT_EQ(sink.spans.at(1).status, SpanStatus::kUnset);
}

TEST_F(CallTracerTest, ACommandOfRedisIsToldInItsTerms) {
    begin({"redis.acquire_lease", "in-hand"}, {Protocol::kRedis, "SET", "", "/run/redis.sock", 0})->ended({});
    EXPECT_THAT(attributes(sink.spans.at(0)),
                ElementsAre(Pair("db.operation.name", "SET"), Pair("db.system.name", "redis"),
                            Pair("neural.hive.ticket_id", "in-hand"), Pair("server.address", "/run/redis.sock")));
}

TEST_F(CallTracerTest, ACallThatIsGivenUpSaysSo) {
    begin({"a"}, patch()).reset();
    ASSERT_EQ(sink.spans.size(), 1U);
    EXPECT_EQ(attributes(sink.spans[0])["neural.hive.abandoned"], "true");
    EXPECT_EQ(sink.spans[0].status, SpanStatus::kUnset);
    EXPECT_EQ(sink.spans[0].name, "a");
}

TEST_F(CallTracerTest, ACallMayOutliveTheTracer) {
    auto first = begin({"a"}, patch());
    const auto second = begin({"a"}, patch());
    tracer.reset();
    first.reset();
    second->ended({200, nullptr});
    EXPECT_TRUE(sink.spans.empty());
}

TEST_F(CallTracerTest, LongTextsAreClipped) {
    const std::string path(5000, 'x');
    OutgoingCall call = patch();
    call.subject = path;
    begin({"a", path}, call)->ended({200, nullptr});
    for (const auto& [name, text] : attributes(sink.spans.at(0)))
        EXPECT_LT(text.size(), 300U) << name;
}

TEST(SpanTime, GoesWithTheMonotonicClockUntilTheCalendarIsSet) {
    HandClock clock;
    tracing::SpanTime time(clock);
    EXPECT_EQ(time.now(), 1'000'000'000'000);
    clock.since_start += 300us;
    EXPECT_EQ(time.now(), 1'000'000'300'000) << "finer than the calendar";
    clock.since_start += 2ms;
    clock.wall += 3;
    EXPECT_EQ(time.now(), 1'000'002'300'000);
    clock.wall += 3'600'000;
    EXPECT_EQ(time.now(), 4'600'003'000'000) << "somebody set the clock";
    clock.wall -= 3'600'000;
    EXPECT_EQ(time.now(), 1'000'003'000'000);
}

}  // namespace
}  // namespace wa
