// Metrics of what the engine is connected to in a cluster: Kafka, the ticket service, the schema registry, Redis, the
// collector of traces. Names, labels and buckets: contract/metrics.md 2.4, 2.5, 3 and 4.
//
// Threading: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "observability/registry.h"

namespace wa::observability {

class PlatformMetrics {
public:
    // Registers everything, with the known label sets at 0. The registry must outlive this.
    explicit PlatformMetrics(Registry& registry);

    // ---- Kafka
    void consumer_made() { consumer_made_.add(); }
    void producer_made() { producer_made_.add(); }
    void consumer_error(std::string_view kind);  // decode, schema_registry, broker, commit, processing
    void producer_error() { producer_errors_.add(); }
    void kafka_connected(bool yes) { connected_.set(yes ? 1 : 0); }
    void partitions_assigned(std::size_t count) { partitions_.set(static_cast<double>(count)); }
    void rebalanced(std::string_view kind);  // assigned, revoked, lost
    void lag(const std::string& topic, std::int32_t partition, std::int64_t offsets);
    void stalled_partitions(std::size_t count) { stalled_.set(static_cast<double>(count)); }
    void results_lag(std::int64_t offsets) { results_lag_.set(static_cast<double>(offsets)); }
    void offsets_lost() { offsets_lost_.add(); }
    void committed(Duration took) { commit_duration_.observe(to_seconds(took)); }
    void transaction_failed(std::string_view kind);  // retry, abort, fatal
    void json_instead_of_avro() { json_fallback_.add(); }
    void dead_letter_published(Duration took) { dlq_duration_.observe(to_seconds(took)); }
    void dead_letter_failed() { dlq_errors_.add(); }
    void alert_sent(std::string_view task_type);

    // ---- ticket service
    void ticket_api_call(std::string_view method, bool ok);
    void status_delivered(std::string_view status);
    void status_lost() { status_lost_.add(); }
    void statuses_waiting(std::size_t count) { status_waiting_.set(static_cast<double>(count)); }
    void token_obtained() { tokens_.add(); }

    // ---- schema registry
    void schema_request(std::string_view status);  // success, not_found, error

    // ---- Redis
    void redis_available(bool yes) { redis_available_.set(yes ? 1 : 0); }
    void redis_breaker(int state) { redis_breaker_->set(state); }  // 0 closed, 1 half-open, 2 open
    void cache_hit() { cache_hits_.add(); }

    // ---- traces
    void spans_exported(std::size_t spans) { spans_exported_.add(static_cast<double>(spans)); }
    void span_export_failed(std::size_t spans) { span_failures_.add(static_cast<double>(spans)); }
    void span_queue(std::size_t spans) { span_queue_.set(static_cast<double>(spans)); }
    void spans_dropped(std::size_t spans) { spans_dropped_.add(static_cast<double>(spans)); }

private:
    Counter& consumer_made_;
    Counter& producer_made_;
    Family<Counter>& consumer_errors_;
    Counter& producer_errors_;
    Gauge& connected_;
    Gauge& partitions_;
    Family<Counter>& rebalances_;
    Family<Gauge>& lag_;
    Gauge& stalled_;
    Gauge& results_lag_;
    Counter& offsets_lost_;
    Histogram& commit_duration_;
    Family<Counter>& transactions_failed_;
    Counter& json_fallback_;
    Histogram& dlq_duration_;
    Counter& dlq_errors_;
    Family<Counter>& alerts_;
    Family<Counter>& api_calls_;
    Family<Counter>& status_updates_;
    Counter& status_lost_;
    Gauge& status_waiting_;
    Counter& tokens_;
    Family<Counter>& schema_requests_;
    Gauge& redis_available_;
    Gauge* redis_breaker_;
    Counter& cache_hits_;
    Counter& spans_exported_;
    Counter& span_failures_;
    Gauge& span_queue_;
    Counter& spans_dropped_;
};

}  // namespace wa::observability
