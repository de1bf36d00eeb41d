// The platform of a cluster: tickets, results and dead letters in Kafka; many workers, one group.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <mutex>
#include <string>

#include "adapters/kafka/dead_letter_topic.h"
#include "adapters/kafka/file_watch.h"
#include "adapters/kafka/options.h"
#include "adapters/kafka/results_reader.h"
#include "adapters/kafka/retirement.h"
#include "adapters/kafka/sink.h"
#include "adapters/kafka/source.h"
#include "adapters/ticket_service/running_told.h"
#include "app/cluster_services.h"
#include "app/instance.h"
#include "app/message_codec.h"
#include "app/platform.h"
#include "app/tracing.h"
#include "observability/platform_metrics.h"

namespace wa::app {

// From the settings; `instance` is the stable name of this worker.
[[nodiscard]] kafka::Options kafka_options(const config::Settings& settings, const std::string& instance,
                                           const std::string& agent_id);

class ClusterPlatform final : public Platform {
public:
    explicit ClusterPlatform(PlatformParts parts);
    ~ClusterPlatform() override;

    Result<void> open() override;
    Result<void> connect() override;
    [[nodiscard]] TicketSource& source() override { return *source_; }
    [[nodiscard]] ResultSink& sink() override { return *sink_; }
    [[nodiscard]] TicketService& tickets() override;
    [[nodiscard]] std::function<Result<Ticket>(std::string_view)> decoder() override;
    [[nodiscard]] TicketLeases* leases() override;
    [[nodiscard]] std::string source_name() const override { return options_.tickets_topic; }
    [[nodiscard]] std::string pool() const override { return options_.group + "/" + options_.tickets_topic; }
    [[nodiscard]] std::string instance() const override { return options_.transactional_id; }
    [[nodiscard]] CallWatch* calls() override { return &tracing_->calls(); }
    [[nodiscard]] std::vector<FlowObserver*> observers() override;
    void adapt(EngineOptions& options) const override;
    void introduce(const std::vector<TaskType>& types, const std::string& endpoint) override;
    void offer(const std::vector<std::string>& runtimes) override;
    Result<void> begin() override;
    void draining(bool yes) override;
    void leave(std::function<void()> done) override;
    void disconnect() override;
    void close(bool /*drained*/) override {}
    [[nodiscard]] bool leaves_threads() const override { return clients_left_ > 0; }
    [[nodiscard]] DeadLetters& dead_letters() override { return *dead_letters_; }
    [[nodiscard]] admin::Registration registration() const override;
    [[nodiscard]] std::vector<std::vector<std::string>> checks() override;
    [[nodiscard]] std::string where() const override;

private:
    class Listener;
    class Tickets;
    class Counting;
    void every_moment();
    [[nodiscard]] bool renew_connections();
    void tell_again(std::vector<EndingSeen> endings);

    PlatformParts parts_;
    observability::PlatformMetrics metrics_;
    std::unique_ptr<Counting> counting_;
    std::unique_ptr<InstanceSlot> slot_;
    kafka::Options options_;
    std::unique_ptr<Listener> listener_;
    std::unique_ptr<ClusterServices> services_;
    std::unique_ptr<MessageCodec> codec_;
    std::unique_ptr<Tracing> tracing_;
    kafka::Retirement retirement_;
    std::unique_ptr<kafka::ResultsReader> results_;
    std::unique_ptr<kafka::Source> source_;
    std::unique_ptr<kafka::Sink> sink_;
    std::unique_ptr<Tickets> tickets_;
    std::unique_ptr<kafka::DeadLetterTopic> dead_letters_;
    std::unique_ptr<kafka::FileWatch> certificates_;
    ticket_service::RunningTold running_told_;
    boost::asio::steady_timer timer_;
    std::uint64_t json_fallbacks_ = 0;
    std::size_t clients_left_ = 0;  // that did not end

    // Read by the HTTP threads.
    struct Seen {
        bool assignment_known = false;
        bool connected = false;
        kafka::Trouble trouble = kafka::Trouble::kUnreachable;
        std::string trouble_detail;  // in the client's words; of the time since the last connection
        bool producer_ready = false;
        std::string stalled;
        std::vector<kafka::Source::PartitionState> partitions;
        std::vector<std::vector<std::string>> services;  // doctor's rows
        bool registry_configured = false;
        RegistryState registry;
    };
    mutable std::mutex seen_mutex_;
    Seen seen_;
};

}  // namespace wa::app
