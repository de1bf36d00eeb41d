// A simulated world around the real engine: virtual time, a broker that behaves like Kafka as cluster-rules.md
// describes it (or one embedded store), workers that crash, executors that are slow, fail and lie. Everything follows
// from one seed. After every step the promises of design.md are checked against what the world itself saw.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "flow/engine.h"

namespace wa::sim {

struct Options {
    std::uint64_t seed = 0;
    Variant variant = Variant::kNone;
    bool trace = false;
    bool leases = true;  // a share of the histories has them; without, all is as it was before there were any
};

struct Verdict {
    std::optional<std::string> violation;  // the broken promise, with the facts
    std::set<std::string> marks;           // rare things that happened ("sometimes" checks)
    std::vector<std::string> trace;        // when asked for
    std::uint64_t steps = 0;
    std::uint64_t trace_hash = 0;
};

Verdict simulate(const Options& options);

class SimClock final : public Clock {
public:
    [[nodiscard]] MonoTime now() const override { return now_; }
    [[nodiscard]] EpochMillis wall_now() const override {
        return 1'700'000'000'000 + to_millis(now_.time_since_epoch()) + skew_ms_;
    }
    void advance_to(MonoTime when) { now_ = when; }
    void jump_wall(std::int64_t ms) { skew_ms_ += ms; }

private:
    MonoTime now_{std::chrono::seconds(1)};
    std::int64_t skew_ms_ = 0;
};

// How one ticket behaves when it is run.
struct Behaviour {
    std::int32_t transient_failures = 0;  // attempts that fail in a retryable way before the rest applies
    bool fails = false;
    bool hangs = false;         // never ends by itself
    bool ignores_stop = false;  // takes very long to stop
    bool success_when_stopped = false;
    bool simulated = false;
    bool unreachable = false;  // its back-end is away for some time
    bool kills_worker = false;
    bool synchronous = false;  // ends inside start()
    bool remote = false;       // runs elsewhere (a Job, a container): outlives its worker and can be adopted
    Duration takes{};
};

struct Produced {  // one record of one ticket, as the outside world produced it
    std::string id;
    std::vector<std::string> dependencies;
    bool valid = true;
    bool pending = true;
    bool supported = true;
    bool compensates = false;
    std::optional<EpochMillis> deadline;
    SourcePosition position;
};

// A result, dead letter or other ending as readers of committed data see it.
struct Ending {
    std::string id;
    SettlementKind kind = SettlementKind::kResult;
    bool completed = false;
    Outcome outcome = Outcome::kCompleted;
    SourcePosition position;
    bool simulated_label = false;
    std::string compensation_id;
    std::size_t worker = 0;
    EpochMillis at = 0;
    MonoTime visible_at{};
    std::string detail;
};

class World {
public:
    explicit World(const Options& options);
    ~World();
    Verdict run();

private:
    struct LogEntry {
        bool data = false;  // else a transaction marker or an aborted record: takes an offset, is never delivered
        std::string payload;
        EpochMillis timestamp = 0;
        SourcePosition origin;
        std::uint32_t round = 0;
        std::int32_t deliveries = 0;
        std::string id;
        MonoTime produced_at{};
    };
    struct Row {  // embedded store: one open ticket
        std::string payload;
        std::string id;
        EpochMillis timestamp = 0;
        SourcePosition origin;
        std::uint32_t round = 0;
        std::int32_t attempts = 0;
        std::int32_t burned = 0;
        std::int32_t deliveries = 0;
        bool intent_open = false;
        bool run_again = false;
    };
    struct Committed {
        Offset offset = 0;
        std::string metadata;
    };
    struct PartitionState {
        std::vector<LogEntry> log;
        Committed committed;
        std::optional<std::size_t> owner;
        bool moving = false;
        std::optional<std::size_t> next_owner;
        std::set<Offset> settled;  // by committed data
        Offset checked = 0;        // everything below was seen to be settled when it counted as done
    };
    struct OpenTransaction {
        std::size_t worker = 0;
        std::uint64_t id = 0;
        std::vector<Ending> endings;
    };
    struct ResultEntry {
        std::optional<Ending> ending;  // empty: aborted
        std::uint64_t transaction = 0;
        bool open = false;
    };
    struct Live {  // an attempt that is really running somewhere
        std::size_t worker = 0;
        std::uint64_t incarnation = 0;
        AttemptKey key;
        std::string id;
        MonoTime started{};
        MonoTime limit{};
        std::optional<MonoTime> stop_by;
        bool unstoppable = false;
        bool simulated = false;
        std::int32_t number = 0;
        AttemptListener* listener = nullptr;
        std::uint64_t serial = 0;
        bool stopping = false;
        std::string remote;  // name of the work elsewhere that it is attached to
    };
    struct Lease {  // who works on a ticket, as the store that all workers share knows it
        std::size_t worker = 0;
        std::uint64_t incarnation = 0;
        LeasePosition position;
        MonoTime runs_out = MonoTime::max();  // renewed for as long as its worker lives
    };
    // How good the store of leases is in this history. While it is steady, the same ticket may come on two partitions.
    enum class LeaseStore : std::uint8_t { kNone, kSteady, kFlaky };
    struct RemoteWork {  // goes on whether or not a worker is attached
        std::string id;
        std::optional<MonoTime> ends;  // empty: never by itself
        std::optional<AttemptReport> report;
    };
    struct Worker;
    class Source;
    class Sink;
    class Tickets;
    class Leases;
    class Exec;
    class Attempt;
    class Observer;
    struct Scheduled {
        MonoTime at{};
        std::uint64_t sequence = 0;
        std::function<void()> action;
        bool operator<(const Scheduled& other) const {
            return at != other.at ? at > other.at : sequence > other.sequence;
        }
    };

    // set-up
    void draw_profile();
    void make_tickets();
    void produce(std::size_t index);
    std::string payload_of(const Produced& produced);

    // the loop
    void after(Duration delay, std::function<void()> action);
    void on_worker(std::size_t worker, Duration delay, std::function<void(Worker&)> action);
    void feed(Worker& worker, EngineInput input);
    void arm_timer(Worker& worker);
    void fault();
    void ask_again();
    void service_lags(bool yes);
    [[nodiscard]] Duration small() { return Duration(random_.between(10'000, 5'000'000)); }

    // workers
    void start_worker(std::size_t index);
    void crash(std::size_t index);
    void deliver_next(Worker& worker);
    void schedule_delivery(Worker& worker);
    void poll_results(Worker& worker);
    void announce_assignment(Worker& worker, PartitionId partition, Epoch epoch, std::size_t must_pass);
    void rebalance();
    void revoke(PartitionId partition, bool lost);
    void released(std::size_t worker, PartitionId partition, Epoch epoch);
    void assign(PartitionId partition, std::size_t worker);

    // committing
    void commit(Worker& worker, const CommitBatch& batch);
    void finish_commit(Worker& worker, const CommitBatch& batch, int fate);
    bool apply_cluster(const CommitBatch& batch, std::size_t worker, CommitResult& result);
    void apply_embedded(const CommitBatch& batch, std::size_t worker, CommitResult& result);
    void publish(const Ending& ending);
    void abort_transaction(std::uint64_t id);
    [[nodiscard]] std::size_t stable_end() const;
    void recover(Worker& worker);

    // execution
    std::unique_ptr<RunningAttempt> start_attempt(Worker& worker, const AttemptContext& context,
                                                  AttemptListener& listener);
    void attach_remote(Worker& worker, const AttemptContext& context, std::uint64_t serial);
    void stop_attempt(std::uint64_t serial, StopReason reason, Duration grace);
    void end_attempt(std::uint64_t serial, AttemptReport report);
    AttemptReport report_for(const Live& live);

    // leases
    void draw_leases();
    void lease_fault();
    LeaseAnswer lease_answer(std::size_t worker, std::uint64_t incarnation, const std::string& id,
                             const LeasePosition& position);
    void give_back(const std::string& id, std::uint64_t incarnation);
    void leave_leases(const Worker& worker);
    void check_leases();
    [[nodiscard]] Duration lease_latency();
    [[nodiscard]] Duration slow_commit();

    // checking
    void violated(const std::string& what);
    void mark(const std::string& what) { verdict_.marks.insert(what); }
    void note(const std::string& text);
    void check_worker(Worker& worker);
    void check_commit(PartitionId partition);
    void check_end();
    void note_hands();
    void check_status(const StatusUpdate& update);
    void check_dependency_failure(const Ending& ending);
    [[nodiscard]] bool has_ending(const std::string& id, bool completed) const;
    [[nodiscard]] bool all_ended() const;

    Options options_;
    SeededRandom random_;
    SimClock clock_;
    Verdict verdict_;
    std::priority_queue<Scheduled> agenda_;
    std::uint64_t sequence_ = 0;
    bool stop_ = false;
    bool calm_ = false;  // faults are over: from here everything must end

    // profile, drawn from the seed
    bool cluster_ = true;
    std::size_t worker_count_ = 1;
    double fault_rate_ = 0;
    double commit_fault_rate_ = 0;
    bool disk_full_ = false;
    bool service_away_ = false;
    bool service_lags_ = false;    // when it comes back it has to catch up, until it is away again
    bool service_behind_ = false;  // it does so now
    std::uint64_t times_caught_up_ = 0;
    EngineOptions engine_options_;
    std::size_t metadata_limit_ = 4096;
    Duration reader_lag_{};
    SeededRandom lease_random_;  // of its own: histories without leases do not depend on it
    LeaseStore lease_store_ = LeaseStore::kNone;
    bool leases_away_ = false;
    std::map<std::string, Lease> leases_;
    std::map<std::string, LeaseNote> processed_;

    std::vector<Produced> produced_;
    std::map<std::string, Behaviour> behaviours_;
    std::map<std::string, MonoTime> away_until_;
    std::map<std::string, std::int32_t> transient_left_;
    std::map<std::string, std::size_t> starts_;
    std::size_t still_to_produce_ = 0;
    std::size_t open_records_ = 0;

    std::vector<PartitionState> partitions_;
    std::map<Offset, Row> rows_;  // embedded
    Offset next_row_ = 0;
    std::vector<ResultEntry> results_;
    std::map<std::uint64_t, OpenTransaction> transactions_;
    std::uint64_t next_transaction_ = 1;
    std::map<std::string, std::vector<Ending>> endings_;         // visible, by ticket
    std::map<SourcePosition, std::vector<Ending>> by_position_;  // visible, by record
    std::set<std::string> again_asked_;                          // had completed when it was asked for once more
    std::set<std::string> cancel_asked_;                         // somebody asked to cancel it
    std::set<std::string> compensations_;                        // visible compensation ids

    std::vector<std::unique_ptr<Worker>> workers_;
    std::uint64_t next_incarnation_ = 1;
    Epoch next_epoch_ = 1;
    std::map<std::uint64_t, Live> live_;
    std::map<std::string, RemoteWork> remote_;  // by attempt name
    std::uint64_t next_serial_ = 1;
};

}  // namespace wa::sim
