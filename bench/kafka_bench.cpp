// Tickets through a real broker, beside the least that any program would have to do: read a record, write a record.
// One JSON object on stdout.
//
//   kafka_bench BROKERS fill TOPIC COUNT [waiting]               tickets of about 1 KB, as JSON; waiting: every ticket
//                                                                but the first needs the first, which is not written
//   kafka_bench BROKERS echo IN OUT COUNT GROUP                  librdkafka alone: consume, produce, commit
//   kafka_bench BROKERS echo-tx IN OUT COUNT GROUP BATCH         the same in transactions of BATCH records
//   kafka_bench BROKERS worker IN OUT COUNT GROUP exactly_once|at_least_once [json|avro [TICKET_SERVICE_URL [WINDOW]]]
//                                                                the engine and its Kafka adapters, attempts end at
//                                                                once; with a URL every status is told there too;
//                                                                WINDOW tickets in flight, 2000 unless it is given
//
// Seconds are counted from the first record read to the last one acknowledged (committed, in transactions; with a
// ticket service, until it has taken the last status).
#include <librdkafka/rdkafka.h>
#include <sys/resource.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "adapters/kafka/results_reader.h"
#include "adapters/kafka/sink.h"
#include "adapters/kafka/source.h"
#include "adapters/ticket_service/http_ticket_service.h"
#include "base/clock.h"
#include "base/random.h"
#include "core/codec/avro_result.h"
#include "core/codec/result_json.h"
#include "core/codec/ticket_json.h"
#include "flow/engine.h"
#include "http_client/http_client.h"

namespace {

using namespace wa;

[[noreturn]] void give_up(const std::string& message) {
    std::fprintf(stderr, "kafka_bench: %s\n", message.c_str());
    std::exit(1);
}

double processor_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

long resident_kib() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("VmHWM:")) return std::strtol(line.c_str() + 6, nullptr, 10);
    }
    return 0;
}

void tell(std::size_t count, double seconds, double cpu) {
    std::printf("{\"records\":%zu,\"seconds\":%.4f,\"per_second\":%.0f,\"cpu_seconds\":%.4f,\"peak_rss_kib\":%ld}\n",
                count, seconds, static_cast<double>(count) / seconds, cpu, resident_kib());
}

class Stopwatch {
public:
    void start() {
        if (running_) return;
        running_ = true;
        began_ = clock_.now();
        cpu_ = processor_seconds();
    }
    void tell(std::size_t count) const { ::tell(count, to_seconds(clock_.now() - began_), processor_seconds() - cpu_); }

private:
    SystemClock clock_;
    bool running_ = false;
    MonoTime began_{};
    double cpu_ = 0;
};

std::string ticket_id(std::size_t n) {
    char text[37];
    std::snprintf(text, sizeof text, "00000000-0000-4000-8000-%012zx", n);
    return text;
}

std::string ticket_text(std::size_t n, bool waiting = false) {
    constexpr std::size_t kSize = 1000;
    Ticket ticket;
    ticket.ticket_id = ticket_id(n);
    ticket.plan_id = "bench-plan";
    ticket.intent_id = "bench";
    ticket.decision_id = "bench";
    ticket.task_id = "task-" + std::to_string(n);
    ticket.parameters["command"] = "true";
    ticket.parameters["simulated_duration_ms"] = 0;
    if (waiting) ticket.dependencies = {ticket_id(0)};
    ticket.created_at = 1'760'000'000'000;
    std::string text = write_ticket(ticket);
    if (text.size() < kSize) {
        ticket.description = std::string(kSize - text.size(), 'x');
        text = write_ticket(ticket);
    }
    return text;
}

using Settings = std::vector<std::pair<const char*, std::string>>;

rd_kafka_t* make(rd_kafka_type_t type, const Settings& settings) {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    std::array<char, 512> why{};
    for (const auto& [name, value] : settings) {
        if (rd_kafka_conf_set(conf, name, value.c_str(), why.data(), why.size()) != RD_KAFKA_CONF_OK)
            give_up(why.data());
    }
    if (type == RD_KAFKA_PRODUCER) {
        rd_kafka_conf_set_dr_msg_cb(conf, [](rd_kafka_t*, const rd_kafka_message_t* message, void*) {
            if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) give_up(rd_kafka_err2str(message->err));
        });
    }
    rd_kafka_t* client = rd_kafka_new(type, conf, why.data(), why.size());
    if (client == nullptr) give_up(why.data());
    return client;
}

void produce(rd_kafka_t* producer, const std::string& topic, const void* key, std::size_t key_size, const void* value,
             std::size_t size) {
    std::array<rd_kafka_vu_t, 4> values{};
    values[0].vtype = RD_KAFKA_VTYPE_TOPIC;
    values[0].u.cstr = topic.c_str();
    values[1].vtype = RD_KAFKA_VTYPE_KEY;
    values[1].u.mem = {const_cast<void*>(key), key_size};
    values[2].vtype = RD_KAFKA_VTYPE_VALUE;
    values[2].u.mem = {const_cast<void*>(value), size};
    values[3].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    values[3].u.i = RD_KAFKA_MSG_F_COPY;
    while (rd_kafka_error_t* error = rd_kafka_produceva(producer, values.data(), values.size())) {
        if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL) give_up(rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        rd_kafka_poll(producer, 10);
    }
    rd_kafka_poll(producer, 0);
}

void check(rd_kafka_error_t* error) {
    if (error != nullptr) give_up(rd_kafka_error_string(error));
}

int fill(const std::string& brokers, const std::string& topic, std::size_t count, bool waiting) {
    rd_kafka_t* producer = make(RD_KAFKA_PRODUCER, {{"bootstrap.servers", brokers}, {"linger.ms", "5"}});
    Stopwatch watch;
    watch.start();
    for (std::size_t n = waiting ? 1 : 0; n < count; ++n) {
        const std::string id = ticket_id(n);
        const std::string text = ticket_text(n, waiting);
        produce(producer, topic, id.data(), id.size(), text.data(), text.size());
    }
    if (rd_kafka_flush(producer, 60'000) != RD_KAFKA_RESP_ERR_NO_ERROR) give_up("not all records were taken");
    watch.tell(count);
    rd_kafka_destroy(producer);
    return 0;
}

rd_kafka_t* consumer_of(const std::string& brokers, const std::string& topic, const std::string& group) {
    rd_kafka_t* consumer = make(RD_KAFKA_CONSUMER, {{"bootstrap.servers", brokers},
                                                    {"group.id", group},
                                                    {"enable.auto.commit", "false"},
                                                    {"auto.offset.reset", "earliest"},
                                                    {"isolation.level", "read_committed"}});
    rd_kafka_poll_set_consumer(consumer);
    rd_kafka_topic_partition_list_t* topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic.c_str(), RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(consumer, topics) != RD_KAFKA_RESP_ERR_NO_ERROR) give_up("cannot subscribe");
    rd_kafka_topic_partition_list_destroy(topics);
    return consumer;
}

rd_kafka_topic_partition_list_t* positions(rd_kafka_t* consumer) {
    rd_kafka_topic_partition_list_t* list = nullptr;
    if (rd_kafka_assignment(consumer, &list) != RD_KAFKA_RESP_ERR_NO_ERROR) give_up("no assignment");
    if (rd_kafka_position(consumer, list) != RD_KAFKA_RESP_ERR_NO_ERROR) give_up("no position");
    return list;
}

// `batch` 0: no transactions.
int echo(const std::string& brokers, const std::string& in, const std::string& out, std::size_t count,
         const std::string& group, std::size_t batch) {
    rd_kafka_t* consumer = consumer_of(brokers, in, group);
    Settings settings{{"bootstrap.servers", brokers}, {"enable.idempotence", "true"}, {"linger.ms", "5"}};
    if (batch > 0) {
        settings.emplace_back("transactional.id", group);
        settings.emplace_back("retry.backoff.ms", "10");
    }
    rd_kafka_t* producer = make(RD_KAFKA_PRODUCER, settings);
    if (batch > 0) check(rd_kafka_init_transactions(producer, 30'000));
    Stopwatch watch;
    std::size_t done = 0;
    std::size_t open = 0;
    while (done < count) {
        rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer, 1000);
        if (message == nullptr) continue;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            watch.start();
            if (batch > 0 && open == 0) check(rd_kafka_begin_transaction(producer));
            produce(producer, out, message->key, message->key_len, message->payload, message->len);
            ++done;
            ++open;
        }
        rd_kafka_message_destroy(message);
        const bool last = done == count;
        if (batch > 0 && open > 0 && (open == batch || last)) {
            rd_kafka_flush(producer, 30'000);
            rd_kafka_topic_partition_list_t* offsets = positions(consumer);
            rd_kafka_consumer_group_metadata_t* metadata = rd_kafka_consumer_group_metadata(consumer);
            check(rd_kafka_send_offsets_to_transaction(producer, offsets, metadata, 30'000));
            check(rd_kafka_commit_transaction(producer, 30'000));
            rd_kafka_consumer_group_metadata_destroy(metadata);
            rd_kafka_topic_partition_list_destroy(offsets);
            open = 0;
        } else if (batch == 0 && last) {
            rd_kafka_flush(producer, 30'000);
            rd_kafka_topic_partition_list_t* offsets = positions(consumer);
            rd_kafka_commit(consumer, offsets, 0);
            rd_kafka_topic_partition_list_destroy(offsets);
        }
    }
    watch.tell(done);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    rd_kafka_destroy(producer);
    return 0;
}

// Times are taken on one clock: written just before the ticket is handed to the client, read when its result is here.
int latency(const std::string& brokers, const std::string& in, const std::string& out, std::size_t count, double rate) {
    const SystemClock clock;
    rd_kafka_t* reader = consumer_of(brokers, out, "latency-" + std::to_string(clock.wall_now()));
    rd_kafka_t* producer = make(RD_KAFKA_PRODUCER, {{"bootstrap.servers", brokers}, {"linger.ms", "0"}});
    // Whatever lies in the topic from before is read away first.
    for (int quiet = 0; quiet < 3;) {
        rd_kafka_message_t* message = rd_kafka_consumer_poll(reader, 1000);
        quiet = message == nullptr ? quiet + 1 : 0;
        if (message != nullptr) rd_kafka_message_destroy(message);
    }
    constexpr std::size_t kIds = 1'000'000'000'000;  // an id has room for as many
    const std::size_t first = static_cast<std::size_t>(clock.wall_now()) * 1000 % kIds;
    std::vector<MonoTime> written(count);
    std::vector<double> took;
    const MonoTime began = clock.now();
    std::size_t next = 0;
    while (took.size() < count) {
        if (clock.now() - began > std::chrono::minutes(5)) give_up("not all results came");
        for (; next < count && clock.now() >= began + std::chrono::nanoseconds(static_cast<std::int64_t>(
                                                          static_cast<double>(next) / rate * 1e9));
             ++next) {
            const std::string id = ticket_id(first + next);
            const std::string text = ticket_text(first + next);
            written[next] = clock.now();
            produce(producer, in, id.data(), id.size(), text.data(), text.size());
        }
        rd_kafka_poll(producer, 0);
        rd_kafka_message_t* message = rd_kafka_consumer_poll(reader, 1);
        if (message == nullptr) continue;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && message->key_len == 36) {
            const std::string key(static_cast<const char*>(message->key), message->key_len);
            const std::size_t n = std::strtoull(key.c_str() + 24, nullptr, 16) - first;
            if (n < count) took.push_back(to_seconds(clock.now() - written[n]) * 1000);
        }
        rd_kafka_message_destroy(message);
    }
    std::sort(took.begin(), took.end());
    const auto at = [&](double share) {
        return took[static_cast<std::size_t>(share * static_cast<double>(took.size() - 1))];
    };
    std::printf("{\"records\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", took.size(), at(0.5), at(0.99));
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    rd_kafka_destroy(producer);
    return 0;
}

class NoTickets final : public TicketService {
public:
    void update_status(StatusUpdate) override {}
    void lookup(std::vector<std::string>) override {}
};

class NoOp final : public Executor {
public:
    [[nodiscard]] TaskType task_type() const override { return TaskType::kExecute; }
    [[nodiscard]] std::string backend(const Ticket&) const override { return "no-op"; }
    [[nodiscard]] bool has_effects(const Ticket&) const override { return false; }
    [[nodiscard]] bool can_detach(const Ticket&) const override { return false; }
    [[nodiscard]] Result<void> validate(const Ticket&) const override { return {}; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        AttemptListener& listener) override {
        AttemptReport report;
        report.success = true;
        report.runtime = "no-op";
        listener.attempt_ended(context.key, std::move(report));
        return std::make_unique<Attempt>();
    }

private:
    class Attempt final : public RunningAttempt {
    public:
        void stop(StopReason, Duration) override {}
    };
};

class Quiet final : public kafka::Listener {
public:
    void log(kafka::Severity severity, std::string_view event, std::string detail) override {
        if (severity == kafka::Severity::kError)
            std::fprintf(stderr, "%s: %s\n", std::string(event).c_str(), detail.c_str());
    }
};

class Run {
public:
    Run(const std::string& brokers, const std::string& in, const std::string& out, std::size_t count,
        const std::string& group, bool exactly_once, bool avro, const std::string& ticket_service, std::size_t window)
        : count_(count), timer_(loop_) {
        options_.brokers = brokers;
        options_.tickets_topic = in;
        options_.results_topic = out;
        options_.dead_letter_topic = out;
        options_.group = group;
        options_.transactional_id = group;
        options_.agent_id = "bench";
        options_.delivery = exactly_once ? kafka::Delivery::kExactlyOnce : kafka::Delivery::kAtLeastOnce;
        results_ = must(
            kafka::ResultsReader::make(loop_, clock_, options_, listener_, retirement_,
                                       [](std::string_view, const kafka::EndingDecoded& done) { done(std::nullopt); },
                                       {[this](EndingSeen ending) { feed(std::move(ending)); },
                                        [this](ResultsReaderCaughtUp caught_up) { feed(caught_up); }}));
        source_ = must(kafka::Source::make(
            {loop_, clock_, options_, listener_, retirement_, *results_,
             [this](kafka::SourceInput input) { std::visit([this](auto& value) { feed(std::move(value)); }, input); },
             [](std::string_view) { return EpochMillis{0}; }}));
        sink_ = std::make_unique<kafka::Sink>(kafka::Sink::Parts{
            loop_, clock_, random_, options_, listener_,
            [this](kafka::SinkInput input) { std::visit([this](auto& value) { feed(std::move(value)); }, input); },
            [avro](const ExecutionResult& result) {
                constexpr std::uint32_t kAnyId = 7;
                return avro ? kafka::EncodedResult{encode_result_avro(result, kAnyId), kafka::ValueKind::kAvro}
                            : kafka::EncodedResult{write_result(result), kafka::ValueKind::kJson};
            },
            [](const Ticket& ticket) { return write_ticket(ticket); },
            [](std::string_view) -> std::optional<Ticket> { return std::nullopt; },
            [this] { return source_->group_metadata(); },
            [this](const rd_kafka_topic_partition_list_t& list, const std::function<bool()>& give_up) {
                return source_->commit(list, give_up);
            },
            [this](auto answer) { source_->committed_now(std::move(answer)); }});
        EngineOptions engine;
        engine.max_concurrent_tasks = 1024;
        engine.max_concurrent_tickets = window;
        engine.reads_results = true;
        engine.max_known_endings = 50'000;
        if (!ticket_service.empty()) {
            TicketServiceOptions options;
            options.base_url = ticket_service;
            client_ = std::make_unique<http::Client>(loop_, clock_, http::ClientOptions{});
            service_ = std::make_unique<HttpTicketService>(
                loop_, clock_, random_, *client_, options, [](DependencyStatuses) {}, service_listener_);
        }
        TicketService& tickets = service_ ? static_cast<TicketService&>(*service_) : tickets_;
        engine_ =
            std::make_unique<Engine>(engine, EnginePorts{*source_,
                                                         *sink_,
                                                         tickets,
                                                         observer_,
                                                         clock_,
                                                         random_,
                                                         {{TaskType::kExecute, &no_op_}},
                                                         [](std::string_view text) { return parse_ticket(text); }});
    }

    int measure() {
        if (auto started = source_->start(); !started) give_up(started.error().describe());
        arm();
        loop_.run();
        if (service_) tell_all();
        watch_.tell(observer_.settled);
        service_.reset();
        sink_.reset();
        source_.reset();
        results_.reset();
        return 0;
    }

private:
    // What was settled but not told, or told in vain, is not done.
    void tell_all() {
        all_settled_ = true;
        std::size_t left = 0;
        loop_.restart();
        service_->flush(std::chrono::minutes(5), [&](std::size_t waiting) {
            left = waiting;
            loop_.stop();
        });
        loop_.run();
        if (left > 0 || service_listener_.lost > 0)
            give_up(std::to_string(service_listener_.lost) + " statuses were lost (" + service_listener_.why +
                    "), and " + std::to_string(left) + " did not arrive in time");
    }
    struct Statuses final : TicketServiceListener {
        void status_lost(const StatusUpdate& /*update*/, const Error& error) override {
            ++lost;
            why = error.describe();
        }
        std::size_t lost = 0;
        std::string why;
    };
    struct Counting final : FlowObserver {
        explicit Counting(Run& owner) : run(owner) {}
        void ticket_consumed(const TicketView&) override { run.watch_.start(); }
        void ticket_settled(const TicketView&, const Settlement&) override {
            if (++settled == run.count_) run.loop_.stop();
        }
        Run& run;
        std::size_t settled = 0;
    };
    template <class T>
    static T must(Result<T> result) {
        if (!result) give_up(result.error().describe());
        return std::move(*result);
    }
    void feed(EngineInput input) {
        if (all_settled_) return;  // whatever else is in the topic is not asked for
        engine_->handle(std::move(input));
        arm();
    }
    void arm() {
        if (!engine_) return;
        const auto due = engine_->next_due();
        if (!due || (armed_ && *armed_ <= *due)) return;
        armed_ = due;
        timer_.expires_at(*due);
        timer_.async_wait([this](const boost::system::error_code& error) {
            if (error) return;
            armed_.reset();
            feed(TimePassed{});
        });
    }

    std::size_t count_;
    bool all_settled_ = false;
    boost::asio::io_context loop_{1};
    boost::asio::steady_timer timer_;
    SystemClock clock_;
    SystemRandom random_;
    kafka::Options options_;
    Quiet listener_;
    NoTickets tickets_;
    Statuses service_listener_;
    std::unique_ptr<http::Client> client_;
    std::unique_ptr<HttpTicketService> service_;
    Counting observer_{*this};
    NoOp no_op_;
    Stopwatch watch_;
    std::optional<MonoTime> armed_;
    kafka::Retirement retirement_;
    std::unique_ptr<kafka::ResultsReader> results_;
    std::unique_ptr<kafka::Source> source_;
    std::unique_ptr<kafka::Sink> sink_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    const auto number = [&](std::size_t at) { return std::strtoul(words.at(at).c_str(), nullptr, 10); };
    if (words.size() >= 4 && words[1] == "fill")
        return fill(words[0], words[2], number(3), words.size() > 4 && words[4] == "waiting");
    if (words.size() == 6 && words[1] == "echo") return echo(words[0], words[2], words[3], number(4), words[5], 0);
    if (words.size() == 7 && words[1] == "echo-tx")
        return echo(words[0], words[2], words[3], number(4), words[5], number(6));
    if (words.size() >= 7 && words[1] == "worker") {
        Run run(words[0], words[2], words[3], number(4), words[5], words[6] == "exactly_once",
                words.size() > 7 && words[7] == "avro", words.size() > 8 ? words[8] : std::string(),
                words.size() > 9 ? number(9) : 2000);
        return run.measure();
    }
    if (words.size() == 6 && words[1] == "latency")
        return latency(words[0], words[2], words[3], number(4), std::strtod(words[5].c_str(), nullptr));
    give_up("see the head of kafka_bench.cpp for its words");
}
