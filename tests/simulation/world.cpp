#include "simulation/world.h"

#include <algorithm>
#include <utility>

#include "core/codec/ticket_json.h"

namespace wa::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kTransactionTimeout = seconds(10);
constexpr Duration kCalmLimit = std::chrono::hours(24);

std::string at(const SourcePosition& position) {
    return std::to_string(position.partition) + "@" + std::to_string(position.offset);
}

}  // namespace

// One worker process. Everything in here is lost in a crash.
struct World::Worker {
    std::size_t index = 0;
    std::uint64_t incarnation = 0;
    bool open = false;
    bool fenced = false;  // kicked out of the group: its commits are refused until it has joined again
    bool delivering = false;
    bool draining = false;
    std::size_t reader_position = 0;
    struct Assigned {
        Epoch epoch = 0;
        Offset next = 0;
        bool announced = false;
    };
    std::map<PartitionId, Assigned> assigned;
    std::uint64_t applied_batch = 0;  // embedded: the store knows a batch that it has applied
    std::optional<std::uint64_t> transaction;
    std::set<std::string> cancel_accepted;
    std::unique_ptr<Source> source;
    std::unique_ptr<Sink> sink;
    std::unique_ptr<Tickets> tickets;
    std::unique_ptr<Exec> exec;
    std::unique_ptr<Observer> observer;
    std::unique_ptr<Engine> engine;
    std::optional<MonoTime> timer;
};

class World::Source final : public TicketSource {
public:
    Source(World& world, Worker& worker) : world_(world), worker_(worker) {}
    void set_open(bool open) override {
        worker_.open = open;
        if (open) world_.schedule_delivery(worker_);
    }
    void release(PartitionId partition, Epoch epoch) override {
        const std::size_t index = worker_.index;
        world_.after(Duration::zero(), [this, index, partition, epoch] { world_.released(index, partition, epoch); });
    }

private:
    World& world_;
    Worker& worker_;
};

class World::Sink final : public ResultSink {
public:
    Sink(World& world, Worker& worker) : world_(world), worker_(worker) {}
    [[nodiscard]] SinkTraits traits() const override {
        SinkTraits traits;
        traits.wants_offsets = world_.cluster_;
        traits.keeps_attempts = !world_.cluster_;
        traits.metadata_limit = 4096;
        traits.batch_limit = 1 + static_cast<std::size_t>(world_.engine_options_.max_concurrent_tickets);
        return traits;
    }
    void commit(const CommitBatch& batch) override { world_.commit(worker_, batch); }
    void recover() override { world_.recover(worker_); }

private:
    World& world_;
    Worker& worker_;
};

class World::Tickets final : public TicketService {
public:
    Tickets(World& world, Worker& worker) : world_(world), worker_(worker) {}
    void update_status(StatusUpdate update) override { world_.check_status(update); }
    void lookup(std::vector<std::string> ids) override {
        if (world_.service_away_) return;
        world_.on_worker(worker_.index, world_.small(), [this, ids = std::move(ids)](Worker& worker) {
            DependencyStatuses answer;
            for (const std::string& id : ids)
                answer.statuses.push_back(status(id));
            world_.feed(worker, std::move(answer));
        });
    }

private:
    [[nodiscard]] DependencyStatus status(const std::string& id) const {
        DependencyStatus status{id, DependencyState::kUnknown, false, {}};
        bool open = false;
        if (!world_.cluster_) {
            open = std::any_of(world_.rows_.begin(), world_.rows_.end(),
                               [&](const auto& row) { return row.second.id == id; }) &&
                   std::any_of(world_.produced_.begin(), world_.produced_.end(), [&](const Produced& produced) {
                       return produced.id == id && produced.valid && produced.pending;
                   });
        } else {
            open = std::any_of(world_.produced_.begin(), world_.produced_.end(), [&](const Produced& produced) {
                return produced.id == id && produced.position.offset >= 0 && produced.valid && produced.pending;
            });
        }
        const auto endings = world_.endings_.find(id);
        if (endings != world_.endings_.end() && world_.has_ending(id, true)) {
            status.state = DependencyState::kCompleted;
        } else if (endings != world_.endings_.end() && !(open && !world_.cluster_)) {
            status.state = DependencyState::kFailed;
            status.last_word = !world_.cluster_;
            status.detail = "FAILED";
        } else if (open) {
            status.state = DependencyState::kOpen;
        }
        return status;
    }
    World& world_;
    Worker& worker_;
};

class World::Attempt final : public RunningAttempt {
public:
    Attempt(World& world, std::uint64_t serial) : world_(world), serial_(serial) {}
    ~Attempt() override { world_.live_.erase(serial_); }
    void stop(StopReason reason, Duration grace) override { world_.stop_attempt(serial_, reason, grace); }

private:
    World& world_;
    std::uint64_t serial_;
};

class World::Exec final : public Executor {
public:
    Exec(World& world, Worker& worker) : world_(world), worker_(worker) {}
    [[nodiscard]] TaskType task_type() const override { return TaskType::kExecute; }
    [[nodiscard]] std::string backend(const Ticket& ticket) const override {
        return world_.behaviours_.at(ticket.ticket_id).unreachable ? "shaky" : "local";
    }
    [[nodiscard]] bool has_effects(const Ticket& ticket) const override {
        return !world_.behaviours_.at(ticket.ticket_id).simulated;
    }
    [[nodiscard]] bool can_detach(const Ticket& /*ticket*/) const override { return false; }
    [[nodiscard]] Result<void> validate(const Ticket& /*ticket*/) const override { return {}; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        AttemptListener& listener) override {
        return world_.start_attempt(worker_, context, listener);
    }

private:
    World& world_;
    Worker& worker_;
};

class World::Observer final : public FlowObserver {
public:
    Observer(World& world, Worker& worker) : world_(world), worker_(worker) {}
    void ticket_moved(const TicketView& ticket, State from, Event event, State to, std::string_view reason) override {
        world_.note("w" + std::to_string(worker_.index) + " " + std::string(ticket.ticket_id) + " " +
                    std::string(to_string(from)) + " -> " + std::string(to_string(to)) + " (" +
                    std::string(to_string(event)) + "; " + std::string(reason) + ")");
        if (to == State::kHeld) world_.mark("held");
        if (event == Event::kDeferred) world_.mark("breaker_deferred");
        if (to == State::kParked) world_.mark("parked");
        if (from == State::kRunning && event == Event::kAttemptFailed) world_.mark("retry");
        if (from == State::kCancelling && event == Event::kAttemptFailed) world_.mark("retry_after_timeout");
        if (to == State::kHandedBack) world_.mark("handed_back_" + std::string(to_string(from)));
    }
    void stop_requested(const TicketView& /*ticket*/, StopReason reason) override {
        world_.mark("stop_" + std::string(to_string(reason)));
    }
    void outcome_decided(const TicketView& ticket, const Settlement& settlement) override {
        if (settlement.kind == SettlementKind::kRequeue) return world_.mark("requeued");
        if (settlement.kind == SettlementKind::kSuppressed) return world_.mark("suppressed");
        if (settlement.kind == SettlementKind::kDeadLetter)
            return world_.mark("dead_letter_" + settlement.dead_letter.reason);
        world_.mark("outcome_" + std::string(to_string(settlement.outcome)));
        if (settlement.result.error_message.find("cycle") != std::string::npos) world_.mark("cycle");
        const std::string id(ticket.ticket_id);
        const bool cancelled = settlement.outcome == Outcome::kCancelled || settlement.outcome == Outcome::kPreempted;
        if (cancelled && !world_.cancel_asked_.contains(id))
            world_.violated("drain: " + id + " was cancelled though nobody asked for it");
        if (worker_.cancel_accepted.erase(id) == 0) return;
        if (settlement.outcome != Outcome::kCancelled && settlement.outcome != Outcome::kPreempted &&
            settlement.outcome != Outcome::kDeadlineExceeded) {
            world_.violated("one ending: cancel of " + id + " was accepted, yet it ended as " +
                            std::string(to_string(settlement.outcome)));
        }
    }
    void intake_changed(bool open, std::string_view why, Duration /*since*/) override {
        if (!open) world_.mark("intake_closed_" + std::string(why));
    }

private:
    World& world_;
    Worker& worker_;
};

World::World(const Options& options) : options_(options), random_(options.seed) {
    verdict_.trace_hash = 0xcbf29ce484222325ULL;
}
World::~World() = default;

void World::note(const std::string& text) {
    for (const char c : text)
        verdict_.trace_hash = (verdict_.trace_hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    if (options_.trace)
        verdict_.trace.push_back(std::to_string(to_millis(clock_.now().time_since_epoch())) + " ms  " + text);
}

void World::violated(const std::string& what) {
    if (verdict_.violation) return;
    verdict_.violation = what + " (at " + std::to_string(to_millis(clock_.now().time_since_epoch())) + " ms)";
    note("VIOLATION " + what);
    stop_ = true;
}

// --- set-up ----------------------------------------------------------------------------------------------------------

void World::draw_profile() {
    cluster_ = random_.chance(0.65);
    worker_count_ = cluster_ ? 1 + random_.below(3) : 1;
    partitions_.resize(cluster_ ? 1 + random_.below(4) : 1);
    fault_rate_ = random_.chance(0.25) ? 0.0 : random_.unit();
    commit_fault_rate_ = random_.chance(0.4) ? 0.0 : random_.unit() * 0.4;
    engine_options_.max_concurrent_tasks = 1 + random_.below(4);
    engine_options_.max_concurrent_tickets = engine_options_.max_concurrent_tasks + random_.below(7);
    if (random_.chance(0.3)) engine_options_.max_parked = 2 + random_.below(10);
    engine_options_.max_retries = static_cast<std::int32_t>(random_.below(4));
    engine_options_.timeout_multiplier = 1.0;
    engine_options_.backoff = BackoffPolicy{milliseconds(200 + random_.below(2000)), seconds(20)};
    engine_options_.stop_grace = seconds(1 + random_.below(10));
    engine_options_.shutdown_grace = seconds(random_.below(30));
    engine_options_.breaker_threshold = 2 + static_cast<std::int32_t>(random_.below(4));
    engine_options_.breaker_cool_down = seconds(5 + random_.below(30));
    if (random_.chance(0.2)) engine_options_.max_known_endings = 1 + random_.below(10);
    engine_options_.reads_results = cluster_;
    engine_options_.compensation_supported = true;
#ifdef WA_BROKEN_VARIANTS
    engine_options_.variant = options_.variant;
#endif
    metadata_limit_ = random_.chance(0.25) ? 48 + random_.below(40) : 4096;
    reader_lag_ = milliseconds(100 + random_.below(1500));
    service_away_ = cluster_ && random_.chance(0.2);
}

void World::make_tickets() {
    const std::size_t count = 3 + random_.below(30);
    const bool cyclic = random_.chance(0.15);
    const double edges = random_.unit() * 0.25;
    for (std::size_t i = 0; i < count; ++i) {
        Produced ticket;
        ticket.id = "t" + std::to_string(i);
        for (std::size_t j = 0; j < count; ++j) {
            if (j == i || (j > i && !cyclic)) continue;
            if (random_.chance(j > i ? edges * 0.3 : edges)) ticket.dependencies.push_back("t" + std::to_string(j));
        }
        if (random_.chance(0.02)) ticket.dependencies.emplace_back("ghost");
        ticket.valid = !random_.chance(0.03);
        ticket.pending = !random_.chance(0.02);
        ticket.supported = !random_.chance(0.02);
        ticket.compensates = random_.chance(0.3);
        // A cycle across workers is seen by none of them; deadlines end it.
        if (random_.chance(0.15) || (cyclic && worker_count_ > 1))
            ticket.deadline = clock_.wall_now() + random_.between(-1000, 200'000);
        ticket.position = SourcePosition{static_cast<PartitionId>(random_.below(partitions_.size())), -1};
        Behaviour behaviour;
        behaviour.takes =
            random_.chance(0.8) ? Duration(milliseconds(random_.below(3000))) : Duration(seconds(random_.below(50)));
        if (random_.chance(0.2)) behaviour.transient_failures = 1 + static_cast<std::int32_t>(random_.below(4));
        behaviour.fails = random_.chance(0.12);
        behaviour.hangs = random_.chance(0.05);
        behaviour.ignores_stop = random_.chance(0.05);
        behaviour.success_when_stopped = random_.chance(0.2);
        behaviour.simulated = random_.chance(0.1);
        behaviour.unreachable = random_.chance(0.08);
        behaviour.kills_worker = random_.chance(0.015);
        behaviour.synchronous = random_.chance(0.05);
        behaviours_[ticket.id] = behaviour;
        transient_left_[ticket.id] = behaviour.transient_failures;
        if (behaviour.unreachable) away_until_[ticket.id] = clock_.now() + seconds(random_.below(120));
        produced_.push_back(std::move(ticket));
    }
    // The same ticket again, some time later.
    const std::size_t originals = produced_.size();
    // (A bounded memory of endings cannot recognise every repeat without looking back; that is the adapter's part.)
    const bool repeats = cluster_ && engine_options_.max_known_endings > 1000;
    for (std::size_t i = 0; i < originals && repeats; ++i) {
        if (!random_.chance(0.1)) continue;
        Produced copy = produced_[i];
        produced_.push_back(std::move(copy));
    }
    // Any order of arrival.
    const bool in_order = random_.chance(0.3);
    const Duration spread = random_.chance(0.5) ? Duration(seconds(1)) : Duration(seconds(60));
    still_to_produce_ = produced_.size();
    for (std::size_t i = 0; i < produced_.size(); ++i) {
        const Duration when =
            in_order && i < originals ? Duration(milliseconds(i)) : Duration(random_.between(0, spread.count()));
        after(i < originals ? when : when + seconds(5), [this, i] { produce(i); });
    }
}

std::string World::payload_of(const Produced& produced) {
    if (!produced.valid)
        return random_.chance(0.5) ? "{\"ticket_id\": \"" + produced.id + "\"" : std::string("\x00\x01garbage", 9);
    Ticket ticket;
    ticket.ticket_id = produced.id;
    ticket.task_id = produced.id;
    ticket.plan_id = "plan";
    ticket.task_type = produced.supported ? TaskType::kExecute : TaskType::kQuery;
    ticket.dependencies = produced.dependencies;
    ticket.status = produced.pending ? TicketStatus::kPending : TicketStatus::kCompleted;
    ticket.priority = static_cast<Priority>(random_.below(4));
    ticket.sla.timeout_ms = 1000 + static_cast<std::int64_t>(random_.below(20'000));
    ticket.sla.deadline = produced.deadline;
    if (ticket.sla.deadline && *ticket.sla.deadline <= 0) ticket.sla.deadline = 1;
    if (random_.chance(0.5)) ticket.sla.max_retries = static_cast<std::int32_t>(random_.below(4));
    if (produced.compensates) ticket.metadata.emplace("compensation_action", "generic_cleanup");
    return write_ticket(ticket);
}

void World::produce(std::size_t index) {
    --still_to_produce_;
    Produced& ticket = produced_[index];
    std::string payload = payload_of(ticket);
    note("produce " + ticket.id);
    if (cluster_) {
        PartitionState& partition = partitions_[static_cast<std::size_t>(ticket.position.partition)];
        if (random_.chance(0.1)) partition.log.push_back(LogEntry{});  // a marker takes an offset
        ticket.position.offset = static_cast<Offset>(partition.log.size());
        ++open_records_;
        partition.log.push_back(
            LogEntry{true, std::move(payload), clock_.wall_now(), ticket.position, 0, 0, ticket.id, clock_.now()});
    } else {
        ticket.position = SourcePosition{0, next_row_++};
        rows_[ticket.position.offset] =
            Row{std::move(payload), ticket.id, clock_.wall_now(), ticket.position, 0, 0, 0, 0, false};
    }
    for (auto& worker : workers_) {
        if (worker) schedule_delivery(*worker);
    }
}

// --- the loop --------------------------------------------------------------------------------------------------------

void World::after(Duration delay, std::function<void()> action) {
    agenda_.push(Scheduled{clock_.now() + delay, sequence_++, std::move(action)});
}

void World::on_worker(std::size_t index, Duration delay, std::function<void(Worker&)> action) {
    const std::uint64_t incarnation = workers_[index] ? workers_[index]->incarnation : 0;
    after(delay, [this, index, incarnation, action = std::move(action)] {
        if (workers_[index] && workers_[index]->incarnation == incarnation) action(*workers_[index]);
    });
}

void World::feed(Worker& worker, EngineInput input) {
    ++verdict_.steps;
    worker.engine->handle(std::move(input));
    if (stop_) return;
    check_worker(worker);
    arm_timer(worker);
    if (worker.draining && worker.engine->drain_phase() == DrainPhase::kDrained) {
        mark("drained");
        const std::size_t index = worker.index;
        on_worker(index, Duration::zero(), [this, index](Worker& drained) {
            std::vector<PartitionId> owned;
            for (const auto& [partition, assigned] : drained.assigned)
                owned.push_back(partition);
            for (const auto& [serial, live] : live_) {
                if (live.worker == index && !live.unstoppable)
                    violated("drain: " + live.id + " still runs after the worker has left");
            }
            workers_[index].reset();
            for (const PartitionId partition : owned) {
                if (!cluster_) continue;
                partitions_[static_cast<std::size_t>(partition)].owner.reset();
                after(seconds(1), [this, partition] { assign(partition, random_.below(worker_count_)); });
            }
            after(seconds(1 + random_.below(5)), [this, index] { start_worker(index); });
        });
    }
}

void World::arm_timer(Worker& worker) {
    const auto due = worker.engine->next_due();
    if (!due || (worker.timer && *worker.timer <= *due && *worker.timer > clock_.now())) return;
    worker.timer = *due;
    const Duration delay = std::max(*due - clock_.now(), Duration::zero());
    on_worker(worker.index, delay, [this](Worker& alive) {
        alive.timer.reset();
        feed(alive, TimePassed{});
    });
}

void World::fault() {
    if (calm_) return;
    const std::size_t index = random_.below(worker_count_);
    Worker* worker = workers_[index].get();
    switch (random_.below(8)) {
        case 0: crash(index); break;
        case 1:
        case 2: rebalance(); break;
        case 3:
        case 4:
            if (worker != nullptr && !produced_.empty()) {
                const std::string id = produced_[random_.below(produced_.size())].id;
                CancelRequest request{id, random_.chance(0.5) ? "preemption" : "user_request", "other",
                                      seconds(random_.below(20)), "test"};
                cancel_asked_.insert(id);
                feed(*worker, CancelTicket{request, [this, worker, id](Result<CancelAnswer> answer) {
                                               note("cancel " + id + (answer ? " accepted" : " refused"));
                                               const auto stands = worker->engine->explain(id);
                                               if (answer && stands && stands->phase == "cancelling")
                                                   worker->cancel_accepted.insert(id);
                                           }});
            }
            break;
        case 5:
            if (worker != nullptr && !worker->draining) {
                worker->draining = true;
                note("drain w" + std::to_string(index));
                feed(*worker, StartDrain{random_.chance(0.3), "test"});
            }
            break;
        case 6:
            clock_.jump_wall(random_.between(-3'600'000, 3'600'000));
            mark("clock_jump");
            break;
        case 7:
            if (cluster_) {
                service_away_ = !service_away_;
            } else {
                disk_full_ = !disk_full_;
                mark("disk_full");
            }
            break;
        default: break;
    }
    after(Duration(random_.between(1, static_cast<std::int64_t>(2e10 / (fault_rate_ + 0.05)))), [this] { fault(); });
}

Verdict World::run() {
    draw_profile();
    note(std::string(cluster_ ? "cluster" : "embedded") + " workers=" + std::to_string(worker_count_) + " partitions=" +
         std::to_string(partitions_.size()) + " slots=" + std::to_string(engine_options_.max_concurrent_tasks) +
         " window=" + std::to_string(engine_options_.max_concurrent_tickets));
    workers_.resize(worker_count_);
    for (std::size_t i = 0; i < worker_count_; ++i)
        start_worker(i);
    for (std::size_t p = 0; p < partitions_.size() && cluster_; ++p)
        assign(static_cast<PartitionId>(p), random_.below(worker_count_));
    make_tickets();
    if (fault_rate_ > 0) after(seconds(1), [this] { fault(); });
    MonoTime calm_at = clock_.now() + seconds(20 + random_.below(200));
    after(calm_at - clock_.now(), [this] {
        calm_ = true;
        service_away_ = false;
        disk_full_ = false;
        note("calm");
    });
    constexpr std::uint64_t kMaxEvents = 3'000'000;
    std::uint64_t events = 0;
    while (!agenda_.empty() && !stop_) {
        if (++events > kMaxEvents) {
            note_hands();
            violated("no deadlock: the world does not come to rest");
            break;
        }
        Scheduled next = agenda_.top();
        agenda_.pop();
        clock_.advance_to(std::max(clock_.now(), next.at));
        next.action();
        if (calm_ && still_to_produce_ == 0 && all_ended()) break;
        if (clock_.now() > calm_at + kCalmLimit) break;
    }
    if (!stop_) check_end();
    for (auto& worker : workers_) {
        if (worker) worker->engine.reset();
    }
    return verdict_;
}

// --- workers ---------------------------------------------------------------------------------------------------------

void World::start_worker(std::size_t index) {
    if (workers_[index]) return;
    auto worker = std::make_unique<Worker>();
    worker->index = index;
    worker->incarnation = next_incarnation_++;
    worker->source = std::make_unique<Source>(*this, *worker);
    worker->sink = std::make_unique<Sink>(*this, *worker);
    worker->tickets = std::make_unique<Tickets>(*this, *worker);
    worker->exec = std::make_unique<Exec>(*this, *worker);
    worker->observer = std::make_unique<Observer>(*this, *worker);
    engine_options_.agent_id = "w" + std::to_string(index);
    worker->engine = std::make_unique<Engine>(
        engine_options_, EnginePorts{*worker->source,
                                     *worker->sink,
                                     *worker->tickets,
                                     *worker->observer,
                                     clock_,
                                     random_,
                                     {{TaskType::kExecute, worker->exec.get()}},
                                     [](std::string_view payload) { return parse_ticket(payload); }});
    note("start w" + std::to_string(index));
    workers_[index] = std::move(worker);
    // A new producer of the same id ends what the old one left open (rule 7).
    std::vector<std::uint64_t> left;
    for (const auto& [id, transaction] : transactions_) {
        if (transaction.worker == index) left.push_back(id);
    }
    for (const std::uint64_t id : left)
        abort_transaction(id);
    Worker& alive = *workers_[index];
    if (cluster_) {
        on_worker(index, small(), [this](Worker& reader) { poll_results(reader); });
    } else {
        for (auto& [sequence, row] : rows_) {
            if (row.intent_open) ++row.deliveries;
            row.intent_open = false;
        }
        const Epoch epoch = next_epoch_++;
        alive.assigned[0] = Worker::Assigned{epoch, 0, true};
        feed(alive, PartitionAssigned{0, epoch, 0, {}, 0, {}});
    }
    feed(alive, TimePassed{});
}

void World::crash(std::size_t index) {
    if (!workers_[index]) return;
    note("crash w" + std::to_string(index));
    mark("crash");
    Worker& worker = *workers_[index];
    const auto gauges = worker.engine->gauges();
    if (gauges.reporting > 0) mark("crash_while_reporting");
    if (gauges.executing > 0) mark("crash_while_executing");
    std::vector<PartitionId> owned;
    for (const auto& [partition, assigned] : worker.assigned)
        owned.push_back(partition);
    std::erase_if(live_, [&](const auto& entry) { return entry.second.worker == index; });
    workers_[index].reset();
    for (const auto& [id, transaction] : transactions_) {
        if (transaction.worker != index) continue;
        mark("crash_in_transaction");
        after(kTransactionTimeout, [this, transaction_id = id] { abort_transaction(transaction_id); });
    }
    if (cluster_) {
        for (const PartitionId partition : owned) {
            partitions_[static_cast<std::size_t>(partition)].owner.reset();
            after(Duration(seconds(1 + random_.below(10))),
                  [this, partition] { assign(partition, random_.below(worker_count_)); });
        }
    }
    after(Duration(milliseconds(100 + random_.below(20'000))), [this, index] { start_worker(index); });
}

void World::schedule_delivery(Worker& worker) {
    if (!worker.open || worker.delivering) return;
    worker.delivering = true;
    on_worker(worker.index, Duration(random_.between(1000, 3'000'000)), [this](Worker& alive) {
        alive.delivering = false;
        deliver_next(alive);
    });
}

void World::deliver_next(Worker& worker) {
    if (!worker.open) return;
    if (!cluster_) {
        Worker::Assigned& assigned = worker.assigned.at(0);
        const auto row = rows_.lower_bound(assigned.next);
        if (row == rows_.end()) return;
        assigned.next = row->first + 1;
        Record record{SourcePosition{0, row->first},
                      assigned.epoch,
                      row->second.id,
                      row->second.payload,
                      row->second.timestamp,
                      row->second.origin,
                      row->second.round,
                      row->second.attempts,
                      row->second.burned,
                      row->second.deliveries};
        feed(worker, std::move(record));
        if (!stop_) schedule_delivery(worker);
        return;
    }
    std::vector<PartitionId> readable;
    for (auto& [id, assigned] : worker.assigned) {
        const auto& log = partitions_[static_cast<std::size_t>(id)].log;
        while (assigned.next < static_cast<Offset>(log.size()) && !log[static_cast<std::size_t>(assigned.next)].data)
            ++assigned.next;
        if (assigned.announced && assigned.next < static_cast<Offset>(log.size())) readable.push_back(id);
    }
    if (readable.empty()) return;
    const PartitionId id = readable[random_.below(readable.size())];
    Worker::Assigned& assigned = worker.assigned.at(id);
    const LogEntry& entry = partitions_[static_cast<std::size_t>(id)].log[static_cast<std::size_t>(assigned.next)];
    Record record{SourcePosition{id, assigned.next},
                  assigned.epoch,
                  entry.id,
                  entry.payload,
                  entry.timestamp,
                  entry.origin,
                  entry.round,
                  0,
                  0,
                  entry.deliveries};
    ++assigned.next;
    feed(worker, std::move(record));
    if (!stop_) schedule_delivery(worker);
}

std::size_t World::stable_end() const {
    for (std::size_t i = 0; i < results_.size(); ++i) {
        if (results_[i].open) return i;
    }
    return results_.size();
}

void World::poll_results(Worker& worker) {
    const MonoTime as_of = clock_.now();
    const std::size_t end = stable_end();
    if (end < results_.size()) mark("readers_held_back");
    const std::size_t index = worker.index;
    while (worker.reader_position < end && !stop_) {
        const ResultEntry& entry = results_[worker.reader_position++];
        if (!entry.ending || entry.ending->kind != SettlementKind::kResult) continue;
        feed(worker, EndingSeen{entry.ending->id, entry.ending->completed, entry.ending->at, entry.ending->detail});
        if (!workers_[index]) return;
    }
    if (stop_) return;
    feed(worker, ResultsReaderCaughtUp{as_of});
    on_worker(index, reader_lag_, [this](Worker& reader) { poll_results(reader); });
}

void World::assign(PartitionId id, std::size_t index) {
    PartitionState& partition = partitions_[static_cast<std::size_t>(id)];
    if (partition.owner) return;
    if (!workers_[index] || workers_[index]->draining) {
        after(seconds(1), [this, id] { assign(id, random_.below(worker_count_)); });
        return;
    }
    Worker& worker = *workers_[index];
    partition.owner = index;
    partition.moving = false;
    worker.fenced = false;
    const Epoch epoch = next_epoch_++;
    worker.assigned[id] = Worker::Assigned{epoch, 0, false};
    note("assign p" + std::to_string(id) + " to w" + std::to_string(index) + " epoch " + std::to_string(epoch));
    announce_assignment(worker, id, epoch, results_.size());
}

void World::announce_assignment(Worker& worker, PartitionId id, Epoch epoch, std::size_t must_pass) {
    on_worker(worker.index, reader_lag_ / 2 + small(), [this, id, epoch, must_pass](Worker& alive) {
        const auto found = alive.assigned.find(id);
        if (found == alive.assigned.end() || found->second.epoch != epoch) return;
        if (alive.reader_position < must_pass) return announce_assignment(alive, id, epoch, must_pass);
        const PartitionState& partition = partitions_[static_cast<std::size_t>(id)];
        PartitionAssigned assigned{id,
                                   epoch,
                                   partition.committed.offset,
                                   partition.committed.metadata,
                                   static_cast<Offset>(partition.log.size()),
                                   {}};
        if (random_.chance(0.05)) {
            mark("foreign_metadata");
            assigned.metadata = "not ours";
            for (const auto& [position, endings] : by_position_) {
                if (position.partition == id && position.offset >= assigned.committed)
                    assigned.finished_by_results.push_back(position.offset);
            }
        }
        found->second.next = assigned.committed;
        found->second.announced = true;
        feed(alive, std::move(assigned));
        if (!stop_) schedule_delivery(alive);
    });
}

void World::rebalance() {
    if (!cluster_) return;
    const auto id = static_cast<PartitionId>(random_.below(partitions_.size()));
    revoke(id, random_.chance(0.3));
}

void World::revoke(PartitionId id, bool lost) {
    PartitionState& partition = partitions_[static_cast<std::size_t>(id)];
    if (!partition.owner || partition.moving || !workers_[*partition.owner]) return;
    const std::size_t index = *partition.owner;
    Worker& worker = *workers_[index];
    const auto found = worker.assigned.find(id);
    if (found == worker.assigned.end()) return;
    const Epoch epoch = found->second.epoch;
    note(std::string(lost ? "lost" : "revoke") + " p" + std::to_string(id) + " from w" + std::to_string(index));
    if (worker.engine->gauges().executing > 0) mark(lost ? "lost_while_executing" : "revoke_while_executing");
    if (lost) {
        // A member that lost its partitions was kicked out: its generation is dead and its transactions are refused.
        worker.fenced = true;
        std::vector<std::pair<PartitionId, Epoch>> all;
        for (const auto& [partition_id, assigned] : worker.assigned)
            all.emplace_back(partition_id, assigned.epoch);
        worker.assigned.clear();
        for (const auto& [lost_id, lost_epoch] : all) {
            partitions_[static_cast<std::size_t>(lost_id)].owner.reset();
            partitions_[static_cast<std::size_t>(lost_id)].moving = false;
            if (!stop_) feed(worker, PartitionRevoked{lost_id, lost_epoch, true});
            after(seconds(1 + random_.below(5)),
                  [this, moved = lost_id] { assign(moved, random_.below(worker_count_)); });
        }
        return;
    }
    partition.moving = true;
    found->second.announced = false;  // nothing more is delivered
    feed(worker, PartitionRevoked{id, epoch, false});
    // A member that does not let go is kicked out in the end.
    on_worker(index, seconds(60), [this, id, epoch](Worker& slow) {
        const auto still = slow.assigned.find(id);
        if (still != slow.assigned.end() && still->second.epoch == epoch) {
            partitions_[static_cast<std::size_t>(id)].moving = false;
            mark("revoke_overdue");
            revoke(id, true);
        }
    });
}

void World::released(std::size_t index, PartitionId id, Epoch epoch) {
    if (!workers_[index]) return;
    Worker& worker = *workers_[index];
    const auto found = worker.assigned.find(id);
    if (found == worker.assigned.end() || found->second.epoch != epoch) return;
    mark("released");
    for (const auto& [serial, live] : live_) {
        const bool from_here =
            live.worker == index && std::any_of(produced_.begin(), produced_.end(), [&](const Produced& produced) {
                return produced.id == live.id && produced.position.partition == id;
            });
        if (from_here && !live.unstoppable)
            violated("revoke: " + live.id + " still runs on w" + std::to_string(index) +
                     " after the partition was let go");
    }
    worker.assigned.erase(found);
    PartitionState& partition = partitions_[static_cast<std::size_t>(id)];
    partition.owner.reset();
    partition.moving = false;
    assign(id, random_.below(worker_count_));
}

// --- committing ------------------------------------------------------------------------------------------------------

void World::commit(Worker& worker, const CommitBatch& batch) {
    enum Fate { kOk, kRetry, kAbort, kFatalUndone, kFatalDone, kReject, kRetryDone };
    int fate = kOk;
    if (!calm_ && random_.chance(commit_fault_rate_)) fate = 1 + static_cast<int>(random_.below(6));
    if (!cluster_) {
        if (disk_full_) fate = kRetry;
        if (fate == kAbort || fate == kReject || fate == kFatalUndone || fate == kFatalDone) fate = kRetry;
    } else if (fate == kRetryDone) {
        fate = kOk;
    }
    const std::size_t index = worker.index;
    const std::uint64_t transaction = next_transaction_++;
    if (cluster_) {
        // The records are written first; until the transaction ends they hold back every reader.
        transactions_[transaction] = OpenTransaction{index, transaction, {}};
        for (const Settlement& settlement : batch.settlements) {
            if (settlement.kind == SettlementKind::kResult)
                results_.push_back(ResultEntry{std::nullopt, transaction, true});
        }
        worker.transaction = transaction;
    }
    const bool arrives_anyway = random_.chance(0.5);  // if the worker dies before the broker has seen the commit
    const std::uint64_t incarnation = worker.incarnation;
    after(small(), [this, index, incarnation, batch, fate, transaction, arrives_anyway] {
        const bool alive = workers_[index] && workers_[index]->incarnation == incarnation;
        if (cluster_ && !transactions_.contains(transaction)) return;  // aborted by a new producer of the same id
        CommitResult result;
        result.number = batch.number;
        bool happens = fate == kOk || fate == kFatalDone || fate == kRetryDone;
        if (!alive && !arrives_anyway) return;
        if (alive && workers_[index]->fenced) happens = false;
        bool applied = false;
        if (happens && cluster_) {
            applied = apply_cluster(batch, index, result);
        } else if (happens) {
            if (!alive || workers_[index]->applied_batch != batch.number) apply_embedded(batch, index, result);
            if (alive) workers_[index]->applied_batch = batch.number;
            applied = true;
        }
        if (cluster_ && applied) {
            std::size_t next = 0;
            std::vector<const Settlement*> visible;
            for (const Settlement& settlement : batch.settlements) {
                if (settlement.kind == SettlementKind::kResult) visible.push_back(&settlement);
            }
            for (ResultEntry& entry : results_) {
                if (entry.transaction != transaction) continue;
                const Settlement& settlement = *visible[next++];
                Ending ending;
                ending.id = settlement.ticket_id;
                ending.completed = is_success(settlement.outcome);
                ending.at = settlement.result.timestamp;
                ending.detail = settlement.result.error_message;
                entry.ending = ending;
                entry.open = false;
            }
            transactions_.erase(transaction);
        } else if (cluster_) {
            abort_transaction(transaction);
        }
        note("batch " + std::to_string(batch.number) + " of w" + std::to_string(index) + " fate " +
             std::to_string(fate) + (applied ? " applied" : " not applied"));
        if (!alive || stop_) return;
        if (fate == kRetry || fate == kRetryDone) {
            result.status = CommitStatus::kRetry;
            result.error =
                make_error(ErrorCode::kDiskFull, Retry::kAfterBackoff, Fault::kWorker, "store", "no space left");
            mark("commit_retry");
        } else if (fate == kFatalDone || fate == kFatalUndone) {
            result.status = CommitStatus::kFatal;
            mark(applied ? "fatal_commit_happened" : "fatal_commit_undone");
        } else if (!applied) {
            result.status = CommitStatus::kAborted;
            mark("commit_aborted");
            if (fate == kReject && !batch.settlements.empty()) {
                const auto why = random_.chance(0.5) ? RejectedSettlement::Why::kTooLarge
                                                     : RejectedSettlement::Why::kTargetUnavailable;
                result.rejected.push_back(
                    RejectedSettlement{batch.settlements[random_.below(batch.settlements.size())].position, why});
                mark("settlement_rejected");
            }
        }
        on_worker(index, small(), [this, result](Worker& worker_alive) { feed(worker_alive, result); });
    });
}

void World::abort_transaction(std::uint64_t id) {
    if (transactions_.erase(id) == 0) return;
    for (ResultEntry& entry : results_) {
        if (entry.transaction == id) entry.open = false;  // stays without an ending: readers skip it
    }
}

void World::publish(const Ending& ending) {
    note("visible: " + ending.id + " " + std::string(to_string(ending.outcome)) + " kind " +
         std::to_string(static_cast<int>(ending.kind)) + " of " + at(ending.position));
    auto& here = by_position_[ending.position];
    here.push_back(ending);
    if (here.size() > 1)
        return violated("nothing twice: record " + at(ending.position) + " of " + ending.id + " has two endings");
    if (ending.kind == SettlementKind::kRequeue) return;
    if (ending.kind == SettlementKind::kSuppressed) {
        const bool pending = std::any_of(produced_.begin(), produced_.end(), [&](const Produced& produced) {
            return produced.id == ending.id && !produced.pending;
        });
        if (!has_ending(ending.id, true) && !pending)
            violated("nothing lost: " + ending.id + " was suppressed, but never completed");
        return;
    }
    if (ending.kind == SettlementKind::kResult && has_ending(ending.id, true)) {
        return violated("nothing twice: " + ending.id + " has completed already and got another result");
    }
    if (ending.kind == SettlementKind::kResult && ending.completed) {
        const Behaviour& behaviour = behaviours_.at(ending.id);
        if (behaviour.simulated && !ending.simulated_label)
            violated("nothing made up: " + ending.id + " was simulated and does not say so");
    }
    if (!ending.compensation_id.empty()) {
        for (const Ending& other : endings_[ending.id]) {
            if (!other.compensation_id.empty() && other.compensation_id != ending.compensation_id)
                violated("compensation: " + ending.id + " has two");
        }
        compensations_.insert(ending.compensation_id);
        mark("compensation");
    }
    const auto produced =
        std::find_if(produced_.begin(), produced_.end(), [&](const Produced& entry) { return entry.id == ending.id; });
    if (produced != produced_.end()) {
        const bool must = produced->compensates && ending.kind == SettlementKind::kResult &&
                          ending.outcome == Outcome::kExecutionFailed && !ending.simulated_label;
        if (must && ending.compensation_id.empty()) violated("compensation: " + ending.id + " failed and got none");
        if (ending.completed && !ending.compensation_id.empty())
            violated("compensation: " + ending.id + " completed and got one");
    }
    if (ending.kind == SettlementKind::kResult && ending.outcome == Outcome::kDependencyFailed)
        check_dependency_failure(ending);
    endings_[ending.id].push_back(ending);
    endings_[ending.id].back().visible_at = clock_.now();
}

// A waiter may fail by a dependency only if that failed after the waiter was submitted (rule 15).
void World::check_dependency_failure(const Ending& ending) {
    if (!cluster_ || verdict_.marks.contains("clock_jump") || ending.detail.find("cycle") != std::string::npos) return;
    const auto produced =
        std::find_if(produced_.begin(), produced_.end(), [&](const Produced& entry) { return entry.id == ending.id; });
    if (produced == produced_.end()) return;
    const MonoTime since = partitions_[static_cast<std::size_t>(ending.position.partition)]
                               .log[static_cast<std::size_t>(ending.position.offset)]
                               .produced_at;
    for (const std::string& dependency : produced->dependencies) {
        for (const Ending& other : endings_[dependency]) {
            if (!other.completed && other.visible_at >= since) return;
        }
    }
    violated("waiting: " + ending.id + " failed by a dependency that had failed before it was submitted");
}

namespace {

Ending ending_of(const Settlement& settlement, std::size_t worker) {
    Ending ending;
    ending.id = settlement.ticket_id;
    ending.kind = settlement.kind;
    ending.outcome = settlement.outcome;
    ending.completed = settlement.kind == SettlementKind::kResult && is_success(settlement.outcome);
    ending.position = settlement.position;
    ending.simulated_label = settlement.result.metadata.contains("simulated");
    if (settlement.compensation) ending.compensation_id = settlement.compensation->ticket_id;
    ending.worker = worker;
    ending.at = settlement.result.timestamp;
    ending.detail = settlement.result.error_message;
    return ending;
}

}  // namespace

bool World::apply_cluster(const CommitBatch& batch, std::size_t worker, CommitResult& result) {
    for (const PartitionCommit& commit : batch.offsets) {
        if (commit.metadata.size() > metadata_limit_) {
            result.metadata_too_large = true;
            mark("metadata_too_large");
            return false;
        }
    }
    for (const Settlement& settlement : batch.settlements) {
        PartitionState& partition = partitions_[static_cast<std::size_t>(settlement.position.partition)];
        if (partition.settled.insert(settlement.position.offset).second) --open_records_;
        publish(ending_of(settlement, worker));
        if (settlement.kind == SettlementKind::kRequeue) {
            const SourcePosition copy{settlement.position.partition, static_cast<Offset>(partition.log.size())};
            ++open_records_;
            partition.log.push_back(
                LogEntry{true, settlement.payload, settlement.timestamp, settlement.origin, settlement.requeue_round,
                         settlement.deliveries, settlement.ticket_id,
                         partition.log[static_cast<std::size_t>(settlement.position.offset)].produced_at});
            result.requeued.emplace_back(settlement.position, copy);
        }
    }
    for (const PartitionCommit& commit : batch.offsets) {
        PartitionState& partition = partitions_[static_cast<std::size_t>(commit.partition)];
        note("commit p" + std::to_string(commit.partition) + " offset " + std::to_string(commit.offset) + " " +
             commit.metadata + " by w" + std::to_string(worker));
        partition.committed = Committed{commit.offset, commit.metadata};
        check_commit(commit.partition);
    }
    if (random_.chance(0.3) && !batch.settlements.empty()) {
        partitions_[static_cast<std::size_t>(batch.settlements.front().position.partition)].log.push_back(LogEntry{});
    }
    for (auto& other : workers_) {
        if (other) schedule_delivery(*other);
    }
    return true;
}

void World::apply_embedded(const CommitBatch& batch, std::size_t worker, CommitResult& result) {
    for (const AttemptEnd& end : batch.attempt_ends) {
        const auto row = rows_.find(end.position.offset);
        if (row == rows_.end()) continue;
        row->second.intent_open = false;
        row->second.attempts = end.attempt.number;
        if (end.attempt.outcome != "handed_back") ++row->second.burned;
    }
    for (const AttemptIntent& intent : batch.intents) {
        const auto row = rows_.find(intent.position.offset);
        if (row == rows_.end()) continue;
        row->second.attempts = intent.number;
        row->second.intent_open = true;
    }
    for (const Settlement& settlement : batch.settlements) {
        publish(ending_of(settlement, worker));
        const auto row = rows_.find(settlement.position.offset);
        if (row == rows_.end()) {
            violated("nothing twice: row " + at(settlement.position) + " ended already");
            return;
        }
        if (settlement.kind == SettlementKind::kRequeue) {
            Row copy = row->second;
            copy.round = settlement.requeue_round;
            result.requeued.emplace_back(settlement.position, SourcePosition{0, next_row_});
            rows_[next_row_++] = std::move(copy);
        }
        rows_.erase(settlement.position.offset);
    }
    if (workers_[worker]) schedule_delivery(*workers_[worker]);
}

void World::recover(Worker& worker) {
    on_worker(worker.index, milliseconds(100 + random_.below(2000)), [this](Worker& alive) {
        SinkRecovered recovered;
        std::vector<std::uint64_t> left;
        for (const auto& [id, transaction] : transactions_) {
            if (transaction.worker == alive.index) left.push_back(id);
        }
        for (const std::uint64_t id : left)
            abort_transaction(id);
        for (const auto& [id, assigned] : alive.assigned) {
            const PartitionState& partition = partitions_[static_cast<std::size_t>(id)];
            recovered.partitions.push_back(
                RecoveredPartition{id, assigned.epoch, partition.committed.offset, partition.committed.metadata});
        }
        feed(alive, std::move(recovered));
    });
}

// --- execution -------------------------------------------------------------------------------------------------------

std::unique_ptr<RunningAttempt> World::start_attempt(Worker& worker, const AttemptContext& context,
                                                     AttemptListener& listener) {
    const std::string& id = context.ticket->ticket_id;
    const Behaviour& behaviour = behaviours_.at(id);
    note("w" + std::to_string(worker.index) + " starts " + context.name);
    ++starts_[id];
    for (const std::string& dependency : context.ticket->dependencies) {
        if (!has_ending(dependency, true))
            violated("order: " + id + " started before its dependency " + dependency + " completed");
    }
    for (const auto& [serial, other] : live_) {
        if (other.id == id && !other.unstoppable && (other.worker != worker.index || other.number == context.number)) {
            violated("one attempt: " + id + " started while it was running on w" + std::to_string(other.worker));
        }
    }
    const std::uint64_t serial = next_serial_++;
    live_[serial] =
        Live{worker.index,        worker.incarnation, context.key, id,     clock_.now(), context.deadline, {}, false,
             behaviour.simulated, context.number,     &listener,   serial, false};
    auto attempt = std::make_unique<Attempt>(*this, serial);
    if (behaviour.kills_worker && !behaviour.simulated) {
        mark("ticket_kills_worker");
        const std::size_t limit =
            (static_cast<std::size_t>(engine_options_.max_deliveries) + 2) *
            (1 + static_cast<std::size_t>(
                     std::count_if(produced_.begin(), produced_.end(), [&](const Produced& p) { return p.id == id; })));
        // A first death before anything was ever committed for its partition cannot have been counted.
        if (starts_[id] > limit + 2) violated("bounds: " + id + " killed " + std::to_string(starts_[id]) + " workers");
        const std::uint64_t incarnation = worker.incarnation;
        after(small(), [this, index = worker.index, incarnation] {
            if (workers_[index] && workers_[index]->incarnation == incarnation) crash(index);
        });
        return attempt;
    }
    if (behaviour.synchronous) {
        AttemptReport report = report_for(live_.at(serial));
        live_.erase(serial);
        listener.attempt_ended(context.key, std::move(report));
        return attempt;
    }
    if (!behaviour.hangs) {
        on_worker(worker.index, behaviour.takes + Duration(1), [this, serial](Worker&) {
            const auto found = live_.find(serial);
            if (found != live_.end() && !found->second.stopping) end_attempt(serial, report_for(found->second));
        });
    }
    return attempt;
}

AttemptReport World::report_for(const Live& live) {
    const Behaviour& behaviour = behaviours_.at(live.id);
    AttemptReport report;
    report.runtime = "local";
    report.simulated = behaviour.simulated;
    if (const auto away = away_until_.find(live.id); away != away_until_.end() && away->second > clock_.now()) {
        report.error =
            make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "shaky", "connection refused");
    } else if (transient_left_[live.id] > 0) {
        --transient_left_[live.id];
        report.error =
            make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "local", "cannot spawn");
        report.error->code = ErrorCode::kInterrupted;
    } else if (behaviour.fails) {
        report.error = make_error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kTask, "local", "exit code 1");
    } else {
        report.success = true;
    }
    return report;
}

void World::stop_attempt(std::uint64_t serial, StopReason /*reason*/, Duration grace) {
    const auto found = live_.find(serial);
    if (found == live_.end()) return;
    Live& live = found->second;
    const Behaviour& behaviour = behaviours_.at(live.id);
    live.stopping = true;
    live.stop_by = clock_.now() + grace;
    Duration needs = Duration(random_.between(0, std::max<std::int64_t>(1, grace.count())));
    if (behaviour.ignores_stop) {
        live.unstoppable = true;
        mark("unstoppable");
        needs = grace + engine_options_.stop_margin + seconds(1 + random_.below(100));
    }
    on_worker(live.worker, needs, [this, serial](Worker&) {
        const auto stopped = live_.find(serial);
        if (stopped == live_.end()) return;
        AttemptReport report;
        report.runtime = "local";
        report.simulated = stopped->second.simulated;
        if (behaviours_.at(stopped->second.id).success_when_stopped) {
            report.success = true;
            mark("finished_when_stopped");
        } else {
            report.error =
                make_error(ErrorCode::kCancelled, Retry::kNever, Fault::kTask, "local", "killed by signal 15");
        }
        end_attempt(serial, std::move(report));
    });
}

void World::end_attempt(std::uint64_t serial, AttemptReport report) {
    const auto found = live_.find(serial);
    if (found == live_.end()) return;
    const Live live = found->second;
    live_.erase(found);
    if (!workers_[live.worker] || workers_[live.worker]->incarnation != live.incarnation) return;
    note("w" + std::to_string(live.worker) + " ended " + live.id + (report.success ? " well" : " badly"));
    feed(*workers_[live.worker], AttemptEnded{live.key, std::move(report)});
}

// --- checking --------------------------------------------------------------------------------------------------------

bool World::has_ending(const std::string& id, bool completed) const {
    const auto found = endings_.find(id);
    if (found == endings_.end()) return false;
    return std::any_of(found->second.begin(), found->second.end(),
                       [&](const Ending& ending) { return ending.completed == completed; });
}

void World::check_status(const StatusUpdate& update) {
    const bool wrong = (update.status == TicketStatus::kCompleted && !has_ending(update.ticket_id, true)) ||
                       (update.status == TicketStatus::kFailed && !has_ending(update.ticket_id, false) &&
                        update.ticket_id != "unknown");
    if (wrong)
        violated("order of effects: status " + std::string(to_string(update.status)) + " of " + update.ticket_id +
                 " went out before its result was committed");
}

void World::check_worker(Worker& worker) {
    const FlowGauges gauges = worker.engine->gauges();
    if (gauges.in_flight > engine_options_.max_concurrent_tickets)
        violated("bounds: " + std::to_string(gauges.in_flight) + " tickets in flight");
    if (gauges.parked > engine_options_.max_parked + 1)
        violated("bounds: " + std::to_string(gauges.parked) + " tickets parked");
    std::size_t running = 0;
    for (const auto& [serial, live] : live_) {
        if (live.worker != worker.index) continue;
        ++running;
        const Duration allowed = engine_options_.stop_grace + seconds(1);
        if (!live.unstoppable && !live.stop_by && clock_.now() > live.limit + allowed) {
            violated("deadlines: attempt of " + live.id + " runs past its limit");
        }
    }
    if (running > engine_options_.max_concurrent_tasks)
        violated("bounds: " + std::to_string(running) + " attempts at once on " +
                 std::to_string(engine_options_.max_concurrent_tasks) + " slots");
}

void World::check_commit(PartitionId id) {
    PartitionState& partition = partitions_[static_cast<std::size_t>(id)];
    const auto metadata = decode_offset_metadata(partition.committed.offset, partition.committed.metadata);
    const auto counts_as_done = [&](Offset offset) {
        if (offset < partition.committed.offset) return true;
        return metadata &&
               std::any_of(metadata->finished.begin(), metadata->finished.end(),
                           [&](const OffsetRange& range) { return range.from <= offset && offset < range.to; });
    };
    for (auto offset = static_cast<std::size_t>(partition.checked); offset < partition.log.size(); ++offset) {
        const auto value = static_cast<Offset>(offset);
        if (partition.log[offset].data && counts_as_done(value) && !partition.settled.contains(value)) {
            return violated("nothing lost: offset " + std::to_string(id) + "@" + std::to_string(value) + " (" +
                            partition.log[offset].id + ") counts as done without an outcome");
        }
    }
    partition.checked = std::max(partition.checked, partition.committed.offset);
}

bool World::all_ended() const {
    if (!cluster_) return rows_.empty();
    return open_records_ == 0;
}

// What every worker has in hand, and why.
void World::note_hands() {
    for (auto& worker : workers_) {
        if (!worker) continue;
        const auto due = worker->engine->next_due();
        note("w" + std::to_string(worker->index) + " due " +
             (due ? std::to_string(to_millis(due->time_since_epoch())) : "never") + " timer " +
             (worker->timer ? std::to_string(to_millis(worker->timer->time_since_epoch())) : "none"));
        worker->engine->visit([&](std::string_view id, State state, SourcePosition) {
            const auto why = worker->engine->explain(id);
            note("  " + std::string(id) + " " + std::string(to_string(state)) + " " + (why ? why->summary : ""));
        });
    }
}

void World::check_end() {
    if (!all_ended()) {
        std::string open;
        for (std::size_t p = 0; p < partitions_.size() && cluster_; ++p) {
            for (std::size_t offset = 0; offset < partitions_[p].log.size(); ++offset) {
                if (partitions_[p].log[offset].data && !partitions_[p].settled.contains(static_cast<Offset>(offset))) {
                    open += " " + partitions_[p].log[offset].id + "(" + std::to_string(p) + "@" +
                            std::to_string(offset) + ")";
                }
            }
        }
        for (const auto& [sequence, row] : rows_)
            open += " " + row.id + "(0@" + std::to_string(sequence) + ")";
        note_hands();
        return violated("no deadlock: these tickets never ended:" + open);
    }
    for (const Produced& produced : produced_) {
        if (produced.valid && produced.pending && !endings_.contains(produced.id))
            violated("nothing lost: " + produced.id + " has no result");
    }
}

Verdict simulate(const Options& options) {
    World world(options);
    return world.run();
}

}  // namespace wa::sim
