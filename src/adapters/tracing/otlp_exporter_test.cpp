#include "adapters/tracing/otlp_exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "adapters/tracing/testing/collector.h"
#include "core/codec/json_limits.h"
#include "http_client/testing/raw_server.h"

namespace wa {
namespace {

using namespace std::chrono_literals;
using http::testing::run_for;
using http::testing::run_until;
using ::testing::HasSubstr;
using wa::testing::Collector;
namespace otlp = wa::testing::otlp;

class Notes final : public TraceExportListener {
public:
    std::size_t exported = 0;
    std::map<std::string, std::size_t> dropped;
    std::vector<std::string> failures;

    void spans_exported(std::size_t count) override { exported += count; }
    void spans_dropped(std::size_t count, SpanDrop why) override { dropped[std::string(to_string(why))] += count; }
    void export_failed(const Error& why, bool) override { failures.push_back(why.describe()); }
};

Span span(const std::string& name) {
    Span made;
    made.context.trace_id = *parse_trace_id("4bf92f3577b34da6a3ce929d0e0e4736");
    made.context.span_id = *parse_span_id("00f067aa0ba902b7");
    made.context.sampled = true;
    made.name = name;
    made.start_ns = 1'767'220'006'000'000'000;
    made.end_ns = made.start_ns + 5'000'000;
    return made;
}

class OtlpExporterTest : public ::testing::Test {
protected:
    OtlpOptions quick() const {
        OtlpOptions options;
        options.endpoint = collector.url();
        options.delay = 20ms;
        options.timeout = 2s;
        options.first_backoff = 5ms;
        options.longest_backoff = 20ms;
        return options;
    }
    void make(OtlpOptions options) {
        auto made = OtlpExporter::make(loop, clock, random, notes, std::move(options));
        ASSERT_TRUE(made) << made.error().describe();
        exporter = std::move(*made);
    }

    boost::asio::io_context loop;
    SystemClock clock;
    SeededRandom random{3};
    Notes notes;
    Collector collector;
    std::unique_ptr<OtlpExporter> exporter;
};

TEST_F(OtlpExporterTest, SendsAllThereIsToASpan) {
    auto options = quick();
    options.resource = {{"service.name", std::string("worker-agents")}};
    options.headers = {{"x-neural-hive-source", "worker-agents"}};
    make(options);
    Span one = span("ticket_execution");
    one.kind = SpanKind::kConsumer;
    one.parent = parse_span_id("1111111111111111");
    one.context.state = "vendor=1";
    one.attributes = {{"text", std::string("t")}, {"number", std::int64_t{-5}}, {"real", 0.5}, {"truth", true}};
    one.events = {{7, "exception", {{"exception.type", std::string("timeout")}}}};
    one.links = {{*parse_traceparent("00-11111111111111111111111111111111-2222222222222222-01"), {}}};
    one.status = SpanStatus::kError;
    one.status_message = "why";
    exporter->end(one);
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 1; }));
    const auto batches = collector.batches();
    ASSERT_EQ(batches.size(), 1U);
    const auto& resource = batches[0].resource_spans(0);
    EXPECT_EQ(resource.resource().attributes(0).key(), "service.name");
    EXPECT_EQ(resource.resource().attributes(0).value().string_value(), "worker-agents");
    const otlp::Span& sent = resource.scope_spans(0).spans(0);
    EXPECT_EQ(sent.trace_id().size(), 16U);
    EXPECT_EQ(sent.trace_id()[0], '\x4b');
    EXPECT_EQ(sent.span_id().size(), 8U);
    EXPECT_EQ(sent.parent_span_id(), std::string(8, '\x11'));
    EXPECT_EQ(sent.trace_state(), "vendor=1");
    EXPECT_EQ(sent.name(), "ticket_execution");
    EXPECT_EQ(sent.kind(), otlp::Span::SPAN_KIND_CONSUMER);
    EXPECT_EQ(sent.start_time_unix_nano(), 1'767'220'006'000'000'000U);
    EXPECT_EQ(sent.end_time_unix_nano() - sent.start_time_unix_nano(), 5'000'000U);
    ASSERT_EQ(sent.attributes_size(), 4);
    EXPECT_EQ(sent.attributes(1).value().int_value(), -5);
    EXPECT_EQ(sent.attributes(2).value().double_value(), 0.5);
    EXPECT_TRUE(sent.attributes(3).value().bool_value());
    EXPECT_EQ(sent.events(0).attributes(0).value().string_value(), "timeout");
    EXPECT_EQ(sent.links(0).span_id(), std::string(8, '\x22'));
    EXPECT_EQ(sent.status().code(), otlp::Status::STATUS_CODE_ERROR);
    EXPECT_EQ(sent.status().message(), "why");
    EXPECT_EQ(collector.header("x-neural-hive-source"), "worker-agents");
}

TEST_F(OtlpExporterTest, ARootHasNoParentAndNoStatusMeansNone) {
    make(quick());
    exporter->end(span("root"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 1; }));
    EXPECT_EQ(collector.spans()[0].parent_span_id(), "");
    EXPECT_FALSE(collector.spans()[0].has_status());
}

TEST_F(OtlpExporterTest, UnsampledSpansAreNotSent) {
    make(quick());
    Span quiet = span("quiet");
    quiet.context.sampled = false;
    exporter->end(quiet);
    exporter->end(span("loud"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 1; }));
    EXPECT_EQ(collector.spans().size(), 1U);
    EXPECT_EQ(exporter->stats().dropped, 0U);
}

TEST_F(OtlpExporterTest, FullBatchesGoAtOnceAndTheRestAfterTheDelay) {
    auto options = quick();
    options.batch_spans = 10;
    options.delay = 300ms;
    make(options);
    for (int i = 0; i < 25; ++i)
        exporter->end(span("s" + std::to_string(i)));
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 20; }));
    EXPECT_EQ(collector.calls(), 2);
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 25; }));
    const auto spans = collector.spans();
    for (std::size_t i = 0; i < spans.size(); ++i)
        EXPECT_EQ(spans[i].name(), "s" + std::to_string(i));
}

TEST_F(OtlpExporterTest, AFullQueueDropsAndCounts) {
    auto options = quick();
    options.queue_spans = 5;
    options.batch_spans = 2;
    make(options);
    collector.set_hanging(true);
    for (int i = 0; i < 20; ++i)
        exporter->end(span("s"));
    // Two are under way, five wait.
    EXPECT_EQ(exporter->stats().waiting, 7U);
    EXPECT_EQ(notes.dropped["queue_full"], 13U);
    collector.set_hanging(false);
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 7; }));
    EXPECT_EQ(exporter->stats().exported, 7U);
    EXPECT_EQ(exporter->stats().dropped, 13U);
}

TEST_F(OtlpExporterTest, WhatMayPassIsTriedAgain) {
    make(quick());
    collector.refuse(2, {grpc::StatusCode::UNAVAILABLE, "busy"});
    exporter->end(span("s"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 1; }));
    EXPECT_EQ(notes.failures.size(), 2U);
    EXPECT_EQ(collector.spans().size(), 1U);
}

TEST_F(OtlpExporterTest, WhatWillNotPassIsDroppedAtOnce) {
    make(quick());
    collector.refuse(1, {grpc::StatusCode::PERMISSION_DENIED, "no"});
    exporter->end(span("s"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.dropped["export_failed"] == 1; }));
    EXPECT_EQ(collector.calls(), 1);
    exporter->end(span("next"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 1; }));
}

TEST_F(OtlpExporterTest, ACollectorThatStaysAwayCostsItsSpansOnly) {
    collector.close();
    auto options = quick();
    options.tries = 3;
    make(options);
    exporter->end(span("s"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.dropped["export_failed"] == 1; }));
    EXPECT_EQ(notes.failures.size(), 3U);
    EXPECT_EQ(exporter->stats().waiting, 0U);
}

TEST_F(OtlpExporterTest, RejectedSpansAreCounted) {
    make(quick());
    collector.reject(2);
    for (int i = 0; i < 3; ++i)
        exporter->end(span("s"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported + notes.dropped["rejected"] == 3; }));
    EXPECT_EQ(notes.dropped["rejected"], 2U);
}

TEST_F(OtlpExporterTest, FlushSendsWhatIsThereWithoutWaiting) {
    auto options = quick();
    options.delay = 1h;
    options.batch_spans = 4;
    make(options);
    for (int i = 0; i < 3; ++i)
        exporter->end(span("s"));
    int done = 0;
    exporter->flush(10s, [&] { ++done; });
    EXPECT_EQ(done, 0);
    ASSERT_TRUE(run_until(loop, [&] { return done == 1; }));
    EXPECT_EQ(notes.exported, 3U);
    exporter->flush(10s, [&] { ++done; });  // nothing to do
    ASSERT_TRUE(run_until(loop, [&] { return done == 2; }));
}

TEST_F(OtlpExporterTest, FlushEndsAtItsDeadlineAndTheRestIsCounted) {
    auto options = quick();
    options.delay = 1h;
    make(options);
    collector.set_hanging(true);
    exporter->end(span("s"));
    int done = 0;
    exporter->flush(50ms, [&] { ++done; });
    ASSERT_TRUE(run_until(loop, [&] { return done == 1; }));
    exporter.reset();
    EXPECT_EQ(notes.dropped["closing"], 1U);
    collector.set_hanging(false);
    run_for(loop, 30ms);
    EXPECT_EQ(done, 1);
    EXPECT_EQ(notes.exported, 0U);
}

TEST_F(OtlpExporterTest, FlushDoesNotWaitForTheBackoff) {
    auto options = quick();
    options.first_backoff = 1h;
    options.longest_backoff = 2h;
    make(options);
    collector.refuse(1, {grpc::StatusCode::UNAVAILABLE, "busy"});
    exporter->end(span("s"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.failures.size() == 1; }));
    int done = 0;
    exporter->flush(10s, [&] { ++done; });
    ASSERT_TRUE(run_until(loop, [&] { return done == 1; }));
    EXPECT_EQ(notes.exported, 1U);
}

TEST_F(OtlpExporterTest, TextsAreCutAndMadeUtf8) {
    auto options = quick();
    options.max_text_bytes = 10;
    options.max_attributes = 2;
    make(options);
    Span big = span("a name that is far too long");
    big.attributes = {{"one", std::string(1000, 'x')}, {"two", std::string("a\xFF")}, {"three", true}};
    exporter->end(big);
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 1; }));
    const auto sent = collector.spans()[0];
    EXPECT_EQ(sent.name().size(), 10U);
    ASSERT_EQ(sent.attributes_size(), 2);
    EXPECT_EQ(sent.attributes(0).value().string_value(), std::string(10, 'x'));
    EXPECT_EQ(sent.attributes(1).value().string_value(), "a\uFFFD");
}

TEST_F(OtlpExporterTest, SpeaksHttpToo) {
    std::vector<http::testing::Seen> seen;
    http::testing::RawServer server(loop, [&](const http::testing::Seen& request) {
        seen.push_back(request);
        if (seen.size() == 1) return http::testing::reply(503, "", "Retry-After: 0\r\n");
        return http::testing::reply(200, "");
    });
    auto options = quick();
    options.endpoint = server.url("/collector/");
    options.protocol = OtlpOptions::Protocol::kHttpProtobuf;
    options.headers = {{"authorization", "Bearer secret"}};
    make(options);
    exporter->end(span("s"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported == 1; }));
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[1].method, "POST");
    EXPECT_EQ(seen[1].target, "/collector/v1/traces");
    EXPECT_EQ(seen[1].headers.at("content-type"), "application/x-protobuf");
    EXPECT_EQ(seen[1].headers.at("authorization"), "Bearer secret");
    otlp::ExportTraceServiceRequest request;
    ASSERT_TRUE(request.ParseFromString(seen[1].body));
    EXPECT_EQ(request.resource_spans(0).scope_spans(0).spans(0).name(), "s");
    EXPECT_THAT(notes.failures.at(0), HasSubstr("503"));
    EXPECT_THAT(notes.failures.at(0), ::testing::Not(HasSubstr("secret")));
}

TEST_F(OtlpExporterTest, SpeaksJsonToo) {
    std::vector<http::testing::Seen> seen;
    http::testing::RawServer server(loop, [&](const http::testing::Seen& request) {
        seen.push_back(request);
        return http::testing::reply(200, R"({"partialSuccess": {"rejectedSpans": "1", "errorMessage": "old"}})");
    });
    auto options = quick();
    options.endpoint = server.url();
    options.protocol = OtlpOptions::Protocol::kHttpJson;
    options.resource = {{"service.name", std::string("worker-agents")}};
    make(options);
    Span one = span("with \"quotes\"");
    one.parent = parse_span_id("1111111111111111");
    one.attributes = {{"text", std::string("t")}, {"number", std::int64_t{-5}}, {"real", 0.5}, {"truth", true}};
    one.events = {{7, "retry", {}}};
    one.links = {{*parse_traceparent("00-11111111111111111111111111111111-2222222222222222-01"), {}}};
    one.status = SpanStatus::kError;
    one.status_message = "why";
    exporter->end(one);
    exporter->end(span("second"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.exported + notes.dropped["rejected"] == 2; }));
    EXPECT_EQ(notes.dropped["rejected"], 1U);
    EXPECT_EQ(seen[0].headers.at("content-type"), "application/json");
    const auto body = parse_json(seen[0].body);
    ASSERT_TRUE(body) << body.error().message;
    const auto& resource = body->at("resourceSpans").at(0);
    EXPECT_EQ(resource.at("resource").at("attributes").at(0).at("value").at("stringValue"), "worker-agents");
    const auto& sent = resource.at("scopeSpans").at(0).at("spans").at(0);
    EXPECT_EQ(sent.at("traceId"), "4bf92f3577b34da6a3ce929d0e0e4736");
    EXPECT_EQ(sent.at("spanId"), "00f067aa0ba902b7");
    EXPECT_EQ(sent.at("parentSpanId"), "1111111111111111");
    EXPECT_EQ(sent.at("name"), "with \"quotes\"");
    EXPECT_EQ(sent.at("kind"), 1);
    EXPECT_EQ(sent.at("startTimeUnixNano"), "1767220006000000000");
    EXPECT_EQ(sent.at("attributes").at(1).at("value").at("intValue"), "-5");
    EXPECT_EQ(sent.at("attributes").at(2).at("value").at("doubleValue"), 0.5);
    EXPECT_EQ(sent.at("attributes").at(3).at("value").at("boolValue"), true);
    EXPECT_EQ(sent.at("events").at(0).at("timeUnixNano"), "7");
    EXPECT_EQ(sent.at("links").at(0).at("spanId"), "2222222222222222");
    EXPECT_EQ(sent.at("status").at("code"), 2);
}

TEST_F(OtlpExporterTest, HttpErrorsThatWillNotPassDropTheBatch) {
    http::testing::RawServer server(loop, [](const http::testing::Seen&) { return http::testing::reply(400, "bad"); });
    auto options = quick();
    options.endpoint = server.url("/v1/traces");
    options.protocol = OtlpOptions::Protocol::kHttpProtobuf;
    make(options);
    exporter->end(span("s"));
    ASSERT_TRUE(run_until(loop, [&] { return notes.dropped["export_failed"] == 1; }));
    EXPECT_EQ(notes.failures.size(), 1U);
}

TEST_F(OtlpExporterTest, EndpointsThatAreNoneAreRefused) {
    for (const char* bad : {"", "ftp://x", "http://", "http://user:secret@host", "http://host/a?b"}) {
        auto options = quick();
        options.endpoint = bad;
        const auto made = OtlpExporter::make(loop, clock, random, notes, options);
        ASSERT_FALSE(made) << bad;
        EXPECT_EQ(made.error().field, "OTEL_EXPORTER_ENDPOINT");
        EXPECT_THAT(made.error().message, ::testing::Not(HasSubstr("secret")));
    }
}

}  // namespace
}  // namespace wa
