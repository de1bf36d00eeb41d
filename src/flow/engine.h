// The engine: takes records from a source, waits for their dependencies, runs them on executors, and settles each with
// exactly one outcome.
//
// It is a state machine without threads, sockets or a clock of its own: inputs are handed in by handle(), time by the
// injected clock, and everything that it wants done goes out through ports. The same object runs under the real loop
// and under the simulator. The files of this folder follow a ticket's way:
//   intake.cpp -> waiting.cpp -> admission.cpp -> execution.cpp -> reporting.cpp (-> ownership.cpp, drain.cpp,
//   explain.cpp)
//
// Threading: one loop. A port may answer from inside a call; the input then waits until the current one is finished.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "core/admission/backpressure.h"
#include "core/admission/offset_tracker.h"
#include "core/admission/slot_queue.h"
#include "core/dependencies/dependency_index.h"
#include "core/dependencies/wait_list.h"
#include "core/retry/backoff.h"
#include "core/retry/circuit_breaker.h"
#include "core/ticket/ticket_state.h"
#include "flow/timer_queue.h"
#include "flow/variants.h"
#include "ports/engine_control.h"
#include "ports/executor.h"
#include "ports/flow_observer.h"
#include "ports/result_sink.h"
#include "ports/ticket_leases.h"
#include "ports/ticket_service.h"
#include "ports/ticket_source.h"

namespace wa {

enum class DeadlineMode : std::uint8_t { kEnforce, kWarn, kOff };

struct EngineOptions {
    std::string agent_id = "worker";
    std::size_t max_concurrent_tasks = 5;     // execution slots
    std::size_t max_concurrent_tickets = 10;  // in-flight window
    double pause_threshold = 0.8;
    double resume_threshold = 0.5;
    std::size_t max_parked = 100'000;
    double timeout_multiplier = 1.5;
    std::int32_t max_retries = 3;  // when the ticket does not say
    BackoffPolicy backoff;
    DeadlineMode deadline_mode = DeadlineMode::kEnforce;
    Duration dependency_interval = std::chrono::seconds(5);
    std::int32_t dependency_attempts = 60;            // times the interval: how long a dependency may stay unknown
    Duration stop_grace = std::chrono::seconds(10);   // TERM to KILL
    Duration stop_margin = std::chrono::seconds(5);   // after the grace: then it counts as not stoppable
    Duration revoke_grace = std::chrono::seconds(5);  // cluster-rule 3
    Duration shutdown_grace = std::chrono::seconds(30);
    // In a drain, once nothing runs any more: for what is decided to be committed (contract/engine.md 11, step 5).
    Duration drain_commit_limit = std::chrono::seconds(10);
    Duration aging_step = std::chrono::seconds(60);  // waiting that lifts a ticket by one priority class
    Duration commit_retry = std::chrono::milliseconds(500);
    std::int32_t max_deliveries = 3;  // unclean deaths that a ticket may be near
    std::int32_t breaker_threshold = 5;
    Duration breaker_cool_down = std::chrono::seconds(60);
    std::size_t max_known_endings = 200'000;
    bool reads_results = false;  // cluster: a results reader feeds endings, rule 15 waits for it
    bool compensation_enabled = true;
    bool compensation_supported = false;  // COMPENSATE is a served task type here
    bool simulation_allowed = true;
#ifdef WA_BROKEN_VARIANTS
    Variant variant = Variant::kNone;
#endif
};

struct EnginePorts {
    TicketSource& source;
    ResultSink& sink;
    TicketService& tickets;
    FlowObserver& observer;
    const Clock& clock;
    Random& random;
    std::map<TaskType, Executor*> executors;  // served task types
    std::function<Result<Ticket>(std::string_view payload)> decode;
    // Which worker works on a ticket, across workers; null = not known (rule 11).
    TicketLeases* leases = nullptr;
    std::string source_name{};  // of the topic, for leases
    // Called when an input has been dealt with, whoever brought it: next_due() may have changed.
    std::function<void()> handled{};
};

struct AttemptEnded {
    AttemptKey key;
    AttemptReport report;
};
struct CancelTicket {
    CancelRequest request;
    std::function<void(Result<CancelAnswer>)> answer;
};
struct StartDrain {
    bool now = false;
    std::string reason;
};
struct StopDrain {
    std::function<void(Result<void>)> answer;
};
// New limits while the worker runs. What runs beyond a smaller limit runs on; nothing new starts above it.
struct ChangeLimits {
    std::size_t max_concurrent_tasks = 5;
    std::size_t max_concurrent_tickets = 10;
    double pause_threshold = 0.8;
    double resume_threshold = 0.5;
};
struct TimePassed {};
// The word about a lease that was asked for before an attempt.
struct LeaseAnswered {
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    std::uint64_t stamp = 0;
    LeaseAnswer answer;
};

using EngineInput = std::variant<Record, PartitionAssigned, PartitionRevoked, CommitResult, SinkRecovered, AttemptEnded,
                                 DependencyStatuses, EndingSeen, ResultsReaderCaughtUp, CancelTicket, StartDrain,
                                 StopDrain, ChangeLimits, TimePassed, LeaseAnswered>;

enum class DrainPhase : std::uint8_t { kNone, kDraining, kCancelling, kDrained };

class Engine final : private AttemptListener {
public:
    Engine(EngineOptions options, EnginePorts ports);
    ~Engine() override;
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // The one way in. Never throws; never blocks.
    void handle(EngineInput input);
    // When handle(TimePassed{}) must be called next; nullopt = nothing is timed.
    [[nodiscard]] std::optional<MonoTime> next_due() const { return timers_.next_due(); }

    // Questions, answered from the state between two inputs.
    [[nodiscard]] FlowGauges gauges() const;
    [[nodiscard]] EngineSnapshot snapshot() const;
    [[nodiscard]] Result<Explanation> explain(std::string_view ticket_id) const;
    [[nodiscard]] DrainPhase drain_phase() const { return drain_; }
    [[nodiscard]] std::size_t handed_back() const { return handed_back_; }
    // Outcomes that a drain left without knowing that they were committed: whoever has their tickets next finds out.
    [[nodiscard]] std::size_t left_uncommitted() const { return left_uncommitted_; }
    [[nodiscard]] bool idle() const { return live_ == 0 && !batch_ && !recovering_; }
    [[nodiscard]] std::size_t quarantined() const { return quarantined_; }
    // For tests: limits that are kept, those of ended tickets among them.
    [[nodiscard]] std::size_t timers() const { return timers_.size(); }
    // For tests and the simulation's checker: every ticket in hand.
    void visit(const std::function<void(std::string_view id, State state, SourcePosition position)>& visitor) const;

private:
    using Slot = std::uint32_t;
    using NodeId = DependencyIndex::NodeId;
    static constexpr Slot kNoSlot = DependencyIndex::kNoSlot;

    struct RecordHeaders {
        std::string traceparent;
        std::string tracestate;
        std::string others;
    };
    struct Step {
        EpochMillis at = 0;
        State from = State::kReceived;
        State to = State::kReceived;
        std::int32_t attempt = 0;
        std::string reason;
    };
    // What only a ticket on its way to an executor needs; a parked one does without.
    struct Active {
        std::shared_ptr<const Ticket> ticket;
        std::unique_ptr<RunningAttempt> attempt;
        SlotQueue::Entry entry;
        MonoTime attempt_started{};
        EpochMillis attempt_started_wall = 0;
        std::optional<StopReason> stop;
        std::string stop_detail;
        MonoTime stop_requested{};
        MonoTime retry_at{};
        Duration executed{};
        Duration queue_wait{};
        Duration dependency_wait{};
        std::string breaker;  // back-end whose breaker waits for this attempt's word
        bool intent_pending = false;
        std::vector<AttemptRecord> attempts;
        std::vector<Effect> effects;
        std::string compensation_id;
        std::optional<AttemptReport> last;
        std::shared_ptr<Settlement> settlement;  // a batch on its way shares it
        bool held_back = false;                  // its target refuses it for now (rule 8)
        std::int32_t too_large = 0;              // how often its result was refused as too large
    };
    struct TicketRecord {
        std::uint32_t generation = 0;
        State state = State::kReceived;
        bool in_use = false;
        bool admitted = false;         // holds a place in the in-flight window
        bool uncertain_start = false;  // an earlier owner may have been running it: count before start (rule 4)
        bool in_batch = false;
        bool run_again = false;     // asked for once more: its own earlier ending is void
        bool leased = false;        // nobody else works on this ticket, as far as anybody can say
        std::uint8_t doubts = 0;    // how often somebody else said that it has ended
        bool queued_entry = false;  // stands in ready_ or queue_
        NodeId node = 0;
        Slot next_held = kNoSlot;
        SourcePosition position;
        SourcePosition origin;
        Epoch epoch = 0;
        std::unique_ptr<std::string> key;        // only where it is not the ticket's id
        std::unique_ptr<RecordHeaders> headers;  // null when it had none
        std::string payload;
        EpochMillis timestamp = 0;
        EpochMillis admitted_at = 0;
        std::uint32_t requeue_round = 0;
        std::int32_t attempts_made = 0;
        std::int32_t attempts_burned = 0;
        std::int32_t deliveries = 0;
        std::uint64_t stamp = 0;
        MonoTime received_at{};
        MonoTime deadline = MonoTime::max();
        WaitList waits_for;
        std::uint32_t parked_on = 0;  // how many it waited for at first
        EpochMillis parked_at = 0;    // a parked ticket's only step, kept small; 0 = the steps stand in `steps`
        std::unique_ptr<std::vector<Step>> steps;  // null or not empty
        std::unique_ptr<Active> active;
    };
    struct Partition {
        Epoch epoch = 0;
        OffsetTracker tracker{0};
        Offset uncertain_below = 0;
        bool dirty = false;   // offsets or metadata moved without a settlement
        bool marked = false;  // a commit of ours has taken back the last owner's "clean"
        bool releasing = false;
        bool release_overdue = false;
        bool clean_committed = false;
        bool metadata_full = false;  // outcomes wait because the finished set with them is too long
        bool starved = false;        // not one of them fitted
        std::size_t records = 0;     // tickets of this assignment in hand
    };
    struct FittingCommit {
        std::size_t outcomes = 0;  // how many of those that wait are in it
        Offset offset = 0;
        std::string metadata;
    };
    struct InFlightBatch {
        CommitBatch batch;
        std::vector<std::pair<Slot, std::uint32_t>> settled;  // slot, generation
        std::vector<std::pair<Slot, std::uint32_t>> intents;
        std::vector<std::pair<PartitionId, Epoch>> partitions;
        MonoTime started{};
        bool waiting_to_retry = false;
    };
    struct Zombie {  // an attempt that could not be stopped: its slot stays taken until it is really gone
        AttemptKey key;
        std::unique_ptr<RunningAttempt> attempt;
    };
    // A decision and what it rests on: the pump acts on it, explain() shows it.
    struct Verdict {
        bool allowed = true;
        std::string_view code;  // reason code
        std::string detail;
    };

    // --- the loop (engine.cpp)
    void process(EngineInput& input);
    void pump();
    void on_limits(const ChangeLimits& limits);
    void on_time();
    void forget_stale_timers();
    void fire(const Timer& timer);
    bool timer_is_live(const Timer& timer) const;
    void attempt_ended(AttemptKey key, AttemptReport report) override;

    // --- records (engine.cpp)
    Slot new_record();
    void free_record(Slot slot);
    [[nodiscard]] TicketRecord* live(Slot slot, std::uint32_t generation);
    void move(Slot slot, Event event, std::string reason);
    void wake(TicketRecord& record);  // decodes the payload again; `active` is there afterwards
    [[nodiscard]] TicketView view(const TicketRecord& record) const;
    [[nodiscard]] std::size_t& counter(State state) { return by_state_[static_cast<std::size_t>(state)]; }
    [[nodiscard]] std::size_t count(State state) const { return by_state_[static_cast<std::size_t>(state)]; }

    // --- intake.cpp
    void on_record(Record& record);
    void accept(Slot slot);  // decide about a received record: dead letter, duplicate, deadline, dependencies
    void dead_letter(Slot slot, DeadLetter letter);
    void suppress(Slot slot, std::string reason);
    [[nodiscard]] Verdict intake_verdict() const;
    void update_intake();

    // --- waiting.cpp
    void wait_for_dependencies(Slot slot);
    void on_statuses(const DependencyStatuses& statuses);
    void on_ending_seen(const EndingSeen& ending);
    void on_reader_caught_up(const ResultsReaderCaughtUp& caught_up);
    void dependency_completed(NodeId node);
    void fail_waiters(NodeId node, MonoTime asked_at, bool last_word);
    [[nodiscard]] bool failure_counts(const DependencyIndex::Node& node, const TicketRecord& waiter) const;
    void fail_by_dependency(Slot slot, std::string_view dependency, std::string_view detail);
    void stop_waiting(Slot slot);
    void dependencies_done(Slot slot);
    std::vector<Slot> find_cycle(Slot start);
    void break_cycle(const std::vector<Slot>& cycle);
    void sweep_for_cycles();
    void progress();  // something started or ended: rotation of parked tickets may go on
    void ask_for(NodeId node);
    void set_known_open(DependencyIndex::Node& node, bool known);
    void send_lookups();
    void on_lookup_timer();
    void end_unknown();
    [[nodiscard]] bool unknown_for_too_long(const DependencyIndex::Node& node, const TicketRecord& waiter) const;
    void fail_by_unknown(Slot slot, NodeId node);
    void restore_steps(TicketRecord& record) const;
    void requeue_longest_parked();
    bool requeue_lowest_parked(PartitionId partition);
    void requeue(Slot slot, std::string reason);
    [[nodiscard]] std::string describe_waits(const TicketRecord& record) const;

    // --- admission.cpp
    void enter_ready(Slot slot);
    void grant_window();
    void grant_slots();
    void leave_queues(Slot slot);
    [[nodiscard]] Verdict window_verdict() const;
    [[nodiscard]] Verdict slot_verdict() const;
    [[nodiscard]] std::size_t in_flight() const;
    [[nodiscard]] std::size_t executing() const;

    // --- execution.cpp
    void start(Slot slot);
    [[nodiscard]] bool ended_elsewhere(const TicketRecord& record) const;
    void ask_for_lease(Slot slot);
    void on_lease(const LeaseAnswered& answered);
    void wait_for_lease(Slot slot, std::string reason);
    void give_lease_back(TicketRecord& record);
    [[nodiscard]] LeasePosition lease_position(const TicketRecord& record) const;
    void begin_attempt(Slot slot);
    void run(Slot slot);
    void on_attempt_ended(AttemptEnded& ended);
    void after_attempt(Slot slot, AttemptReport report);
    bool try_again(Slot slot, const Error& error);
    void back_off(Slot slot, MonoTime until, Event event, std::string reason);
    void on_backoff_over(Slot slot);
    void on_attempt_limit(Slot slot);
    void on_stop_overdue(Slot slot);
    void request_stop(Slot slot, StopReason reason, Duration grace, std::string detail);
    void on_cancel(CancelTicket& cancel);
    bool remember_cancel(CancelRequest request);
    void on_ticket_deadline(Slot slot);
    CircuitBreaker& breaker(const std::string& backend);
    void settle_breaker(TicketRecord& record, const AttemptReport* report);

    // --- reporting.cpp
    void decide(Slot slot, Outcome outcome, const std::optional<Error>& error, const AttemptReport* report);
    void build_result(TicketRecord& record, Settlement& settlement, Outcome outcome, const std::optional<Error>& error,
                      const AttemptReport* report);
    void add_compensation(TicketRecord& record, Settlement& settlement, bool simulated);
    void into_outbox(Slot slot, Settlement settlement, std::string reason);
    void commit_next();
    bool fill_batch(InFlightBatch& next);
    void order_outbox_by_offset();
    void add_offsets(InFlightBatch& next);
    [[nodiscard]] std::optional<FittingCommit> fitting_commit(const Partition& partition, std::vector<Offset> offsets,
                                                              bool leaving) const;
    void leave_for_later(InFlightBatch& next, SourcePosition position);
    bool make_room_in_metadata();
    void on_commit(const CommitResult& result);
    void committed(const CommitResult& result);
    void after_commit(Slot slot, const CommitResult& result);
    void public_effects(TicketRecord& record);
    void commit_aborted(const CommitResult& result);
    void on_recovered(const SinkRecovered& recovered);
    void put_back(const InFlightBatch& batch);
    void shrink(Settlement& settlement, std::int32_t times);
    void release_held(NodeId node);
    void hold(DependencyIndex::Node& node, Slot slot);
    void let_go(DependencyIndex::Node& node, Slot slot);

    // --- ownership.cpp
    void on_assigned(const PartitionAssigned& assigned);
    void on_revoked(const PartitionRevoked& revoked);
    [[nodiscard]] bool owned(const TicketRecord& record) const;
    void hand_back(Slot slot, std::string reason);
    void release_partitions();
    void drop_partition(PartitionId partition);

    // --- drain.cpp
    void on_drain(const StartDrain& drain);
    void on_undrain(StopDrain& stop);
    void cancel_for_drain();
    void finish_drain();
    bool everything_committed();

    [[nodiscard]] bool broken([[maybe_unused]] Variant variant) const {
#ifdef WA_BROKEN_VARIANTS
        return options_.variant == variant;
#else
        return false;
#endif
    }

    EngineOptions options_;
    EnginePorts ports_;
    SinkTraits sink_traits_;

    std::deque<EngineInput> inbox_;
    bool busy_ = false;

    std::deque<TicketRecord> records_;  // a deque: records keep their address
    std::vector<Slot> free_;
    std::size_t live_ = 0;
    std::array<std::size_t, kStateCount> by_state_{};
    std::size_t admitted_ = 0;
    std::size_t quarantined_ = 0;
    std::size_t handed_back_ = 0;

    TimerQueue timers_;
    std::uint64_t next_stamp_ = 1;

    DependencyIndex index_;
    std::set<NodeId> asked_;  // awaited, neither in hand nor ended: the backstop asks for them
    std::vector<NodeId> lookups_due_;
    bool lookup_timer_armed_ = false;
    std::deque<std::pair<Slot, std::uint32_t>> parked_order_;
    std::int64_t cycle_budget_ = 0;
    bool cycles_unchecked_ = false;
    bool rotation_blocked_ = false;            // re-queueing did not help for a whole round; waits for an event
    std::unordered_set<std::size_t> rotated_;  // tickets (hash of the id) re-queued since something last moved
    std::size_t rotated_reads_ = 0;            // records read in a row that were only such copies
    MonoTime reader_caught_up_ = MonoTime::min();

    Backpressure backpressure_;
    bool intake_open_ = false;
    std::string intake_reason_;
    bool intake_timer_ = false;
    MonoTime intake_changed_{};
    SlotQueue ready_;
    SlotQueue queue_;
    std::map<std::string, CircuitBreaker, std::less<>> breakers_;
    std::vector<Zombie> zombies_;

    std::deque<std::pair<Slot, std::uint32_t>> outbox_;
    std::vector<std::pair<Slot, std::uint32_t>> intents_due_;
    std::vector<AttemptEnd> attempt_ends_due_;
    std::optional<InFlightBatch> batch_;
    std::uint64_t next_batch_ = 1;
    bool recovering_ = false;
    bool sink_healthy_ = true;
    std::string sink_error_;
    std::size_t metadata_limit_ = 0;
    std::size_t metadata_accepted_ = 0;  // longest that a commit carried so far
    std::int32_t commit_failures_ = 0;
    bool commit_paused_ = false;  // after an aborted commit, for a moment
    std::vector<std::pair<Slot, std::uint32_t>> held_back_;
    std::vector<std::unique_ptr<RunningAttempt>> retired_;  // ended attempts, freed when their own call is over

    std::map<PartitionId, Partition> partitions_;
    std::unordered_map<std::string, CancelRequest> cancel_on_arrival_;

    DrainPhase drain_ = DrainPhase::kNone;
    std::string drain_reason_;
    std::uint64_t drain_number_ = 0;  // the limits of one that was taken back are not those of the next
    bool drain_commits_timed_ = false;
    bool drain_commits_overdue_ = false;
    std::size_t left_uncommitted_ = 0;

    // For the registry's telemetry and /status.
    std::deque<std::pair<bool, std::int64_t>> recent_endings_;
    std::int64_t completed_ = 0;
    std::int64_t failed_ = 0;
    EpochMillis last_ended_at_ = 0;
};

}  // namespace wa
