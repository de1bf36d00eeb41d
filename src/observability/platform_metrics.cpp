#include "observability/platform_metrics.h"

#include <vector>

namespace wa::observability {
namespace {

std::string named(std::string_view name) {
    return "worker_agent_" + std::string(name);
}

Label closed(std::string name, std::vector<std::string> values) {
    return {std::move(name), std::move(values)};
}

const std::vector<double> kCommitEdges{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10};
constexpr const char* kService = "worker-agents";

}  // namespace

PlatformMetrics::PlatformMetrics(Registry& registry)
    : consumer_made_(registry.counter(named("kafka_consumer_initialized_total"), "Kafka consumers made.").with({})),
      producer_made_(registry.counter(named("kafka_producer_initialized_total"), "Kafka producers made.").with({})),
      consumer_errors_(
          registry
              .counter(named("kafka_consumer_errors_total"), "Errors on the way of tickets from Kafka.",
                       {closed("error_type", {"decode", "schema_registry", "broker", "commit", "processing", "other"})})
              .create_all()),
      producer_errors_(
          registry.counter(named("kafka_producer_errors_total"), "Results that a broker did not take.").with({})),
      connected_(registry.gauge(named("kafka_connected"), "1 while the brokers answer.").with({})),
      partitions_(registry.gauge(named("kafka_partitions_assigned"), "Partitions of tickets that are ours.").with({})),
      rebalances_(registry
                      .counter(named("kafka_rebalances_total"), "What the group said about partitions.",
                               {closed("kind", {"assigned", "revoked", "lost"})})
                      .create_all()),
      lag_(registry.gauge(named("kafka_consumer_lag"), "Offsets between what was read and the stable end.",
                          {{"topic", {}, 10}, {"partition", {}, 10'000}})),
      stalled_(
          registry.gauge(named("kafka_stalled_partitions"), "Partitions that are behind and do not move.").with({})),
      results_lag_(registry.gauge(named("results_reader_lag"), "Offsets of results that were not read yet.").with({})),
      offsets_lost_(registry
                        .counter(named("kafka_offsets_lost_total"),
                                 "Committed offsets that do not lie within their log any more.")
                        .with({})),
      commit_duration_(registry
                           .histogram(named("kafka_commit_duration_seconds"),
                                      "From a batch of outcomes to their commit.", {}, kCommitEdges)
                           .with({})),
      transactions_failed_(registry
                               .counter(named("kafka_transaction_failures_total"), "Steps of transactions that failed.",
                                        {closed("kind", {"retry", "abort", "fatal"})})
                               .create_all()),
      json_fallback_(registry
                         .counter(named("results_json_fallback_total"),
                                  "Results written as JSON because the schema registry could not be asked.")
                         .with({})),
      dlq_duration_(registry
                        .histogram(named("dlq_publish_duration_seconds"), "Time until a dead letter was committed.", {},
                                   {0.1, 0.5, 1, 2, 5, 10})
                        .with({})),
      dlq_errors_(registry
                      .counter(named("dlq_publish_errors_total"), "Dead letters that a broker did not take.",
                               {closed("error_type", {"all_retries_exhausted"})})
                      .with({"all_retries_exhausted"})),
      alerts_(registry.counter(named("dlq_alerts_sent_total"), "Alerts about dead letters.",
                               {closed("severity", {"warning"}), {"task_type", {}, 20}})),
      api_calls_(registry
                     .counter(named("ticket_api_calls_total"), "Calls of the Execution Ticket Service.",
                              {closed("method", {"get_ticket", "update_ticket_status", "get_ticket_token",
                                                 "list_tickets", "request_compensation"}),
                               closed("status", {"success", "error"})})
                     .create_all()),
      status_updates_(
          registry
              .counter(named("ticket_status_updates_total"), "Statuses that the Execution Ticket Service took.",
                       {closed("status", {"PENDING", "RUNNING", "COMPLETED", "FAILED", "COMPENSATING", "COMPENSATED"})})
              .create_all()),
      status_lost_(registry
                       .counter(named("ticket_status_updates_lost_total"),
                                "Statuses that the Execution Ticket Service never took.")
                       .with({})),
      status_waiting_(
          registry.gauge(named("ticket_status_updates_waiting"), "Tickets with a status on its way.").with({})),
      tokens_(registry.counter(named("ticket_tokens_obtained_total"), "Tokens of tickets that were fetched.").with({})),
      schema_requests_(registry
                           .counter(named("schema_registry_requests_total"), "Requests to the schema registry.",
                                    {closed("status", {"success", "not_found", "error"})})
                           .create_all()),
      redis_available_(registry.gauge(named("redis_available"), "1 while Redis answers.").with({})),
      redis_breaker_(
          &registry
               .gauge("redis_circuit_breaker_state", "0 closed, 1 half-open, 2 open.", {closed("service", {kService})})
               .with({kService})),
      cache_hits_(registry.counter(named("idempotency_cache_hits_total"), "Repeats that Redis knew.").with({})),
      spans_exported_(
          registry.counter("neural_hive_span_export_success_total", "Spans that the collector took.").with({})),
      span_failures_(
          registry.counter("neural_hive_span_export_failures_total", "Spans that the collector did not take.")
              .with({})),
      span_queue_(registry.gauge("neural_hive_span_export_queue_size", "Spans that wait to be exported.").with({})),
      spans_dropped_(
          registry.counter(named("spans_dropped_total"), "Spans that found no room while the collector was away.")
              .with({})) {}

void PlatformMetrics::consumer_error(std::string_view kind) {
    consumer_errors_.with({kind}).add();
}

void PlatformMetrics::rebalanced(std::string_view kind) {
    rebalances_.with({kind}).add();
}

void PlatformMetrics::lag(const std::string& topic, std::int32_t partition, std::int64_t offsets) {
    lag_.with({topic, std::to_string(partition)}).set(static_cast<double>(offsets));
}

void PlatformMetrics::transaction_failed(std::string_view kind) {
    transactions_failed_.with({kind}).add();
}

void PlatformMetrics::alert_sent(std::string_view task_type) {
    alerts_.with({"warning", task_type}).add();
}

void PlatformMetrics::ticket_api_call(std::string_view method, bool ok) {
    api_calls_.with({method, ok ? "success" : "error"}).add();
}

void PlatformMetrics::status_delivered(std::string_view status) {
    status_updates_.with({status}).add();
}

void PlatformMetrics::schema_request(std::string_view status) {
    schema_requests_.with({status}).add();
}

}  // namespace wa::observability
