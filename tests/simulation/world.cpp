#include "simulation/world_ports.h"

#include <algorithm>
#include <utility>

#include "core/codec/ticket_json.h"

namespace wa::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kTransactionTimeout = seconds(10);
constexpr Duration kCalmLimit = std::chrono::hours(24);

}  // namespace

World::World(const Options& options)
    : options_(options), random_(options.seed), lease_random_(options.seed ^ 0x6c656173657321ULL) {
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
    metadata_limit_ = random_.chance(0.25) ? 16 + random_.below(10) : 4096;
    reader_lag_ = milliseconds(100 + random_.below(1500));
    service_away_ = cluster_ && random_.chance(0.2);
    service_lags_ = options_.seed % 10 == 3;  // the other worlds have the histories that they had before there was this
    draw_leases();
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
        // A cycle across workers, or one with more tickets than may be parked, is seen by nobody; deadlines end it.
        const bool unseen = worker_count_ > 1 || engine_options_.max_parked < count;
        if (random_.chance(0.15) || (cyclic && unseen))
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
        // (Where the metadata has no room for delivery counts they give way to the finished set.)
        behaviour.kills_worker = random_.chance(0.025) && metadata_limit_ == 4096;
        behaviour.synchronous = random_.chance(0.05);
        behaviour.remote = !behaviour.kills_worker && !behaviour.synchronous && random_.chance(0.2);
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
        const bool more = lease_store_ == LeaseStore::kSteady && lease_random_.chance(0.3);
        if (!random_.chance(0.1) && !more) continue;
        Produced copy = produced_[i];
        if (lease_store_ == LeaseStore::kSteady)
            copy.position.partition = static_cast<PartitionId>(lease_random_.below(partitions_.size()));
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
            Row{std::move(payload), ticket.id, clock_.wall_now(), ticket.position, 0, 0, 0, 0, false, false};
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
            leave_leases(drained);
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
    switch (random_.below(9)) {
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
                if (service_lags_) service_lags(!service_away_);
            } else {
                ask_again();
                disk_full_ = !disk_full_;
                mark("disk_full");
            }
            break;
        case 8:
            if (worker != nullptr) {
                ChangeLimits limits;
                limits.max_concurrent_tasks = 1 + random_.below(engine_options_.max_concurrent_tasks);
                limits.max_concurrent_tickets =
                    limits.max_concurrent_tasks +
                    random_.below(1 + engine_options_.max_concurrent_tickets - limits.max_concurrent_tasks);
                limits.pause_threshold = 0.5 + random_.unit() / 2;
                limits.resume_threshold = random_.unit() / 2;
                mark("limits_changed");
                note("limits of w" + std::to_string(index) + ": " + std::to_string(limits.max_concurrent_tasks) +
                     " slots, window " + std::to_string(limits.max_concurrent_tickets));
                feed(*worker, limits);
            }
            break;
        default: break;
    }
    after(Duration(random_.between(1, static_cast<std::int64_t>(2e10 / (fault_rate_ + 0.05)))), [this] { fault(); });
}

void World::service_lags(bool yes) {
    service_behind_ = yes;
    if (yes) return;
    after(seconds(1), [this, number = ++times_caught_up_] {
        if (service_behind_ || number != times_caught_up_) return;
        for (const auto& worker : workers_) {
            if (worker && !worker->draining && worker->intake_closed_for == "statuses-behind")
                violated("no deadlock: w" + std::to_string(worker->index) + " takes nothing, waiting for nothing");
        }
    });
}

// Embedded: somebody wants a ticket that has completed to run once more.
void World::ask_again() {
    const Produced& chosen = produced_[random_.below(produced_.size())];
    const bool open =
        std::any_of(rows_.begin(), rows_.end(), [&](const auto& row) { return row.second.id == chosen.id; });
    if (open || !chosen.valid || !chosen.pending || !has_ending(chosen.id, true)) return;
    mark("asked_again");
    note("again " + chosen.id);
    again_asked_.insert(chosen.id);
    endings_.erase(chosen.id);  // from here on it counts as never ended
    const SourcePosition position{0, next_row_++};
    rows_[position.offset] = Row{payload_of(chosen), chosen.id, clock_.wall_now(), position, 0, 0, 0, 0, false, true};
    if (workers_[0]) schedule_delivery(*workers_[0]);
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
    if (lease_store_ == LeaseStore::kFlaky) after(seconds(1), [this] { lease_fault(); });
    MonoTime calm_at = clock_.now() + seconds(20 + random_.below(200));
    after(calm_at - clock_.now(), [this] {
        calm_ = true;
        service_away_ = false;
        if (service_lags_) service_lags(false);
        disk_full_ = false;
        leases_away_ = false;
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
    worker->leases = std::make_unique<Leases>(*this, *worker);
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
                                     [](std::string_view payload) { return parse_ticket(payload); },
                                     lease_store_ == LeaseStore::kNone ? nullptr : worker->leases.get(),
                                     "tickets"});
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
    leave_leases(worker);
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
        auto row = rows_.lower_bound(assigned.next);
        while (row != rows_.end() && worker.ahead.contains(row->first))
            ++row;
        if (row == rows_.end()) return;
        const auto urgent = rows_.lower_bound(row->first + 1 + static_cast<Offset>(random_.below(5)));
        if (random_.chance(0.1) && urgent != rows_.end() && worker.ahead.insert(urgent->first).second) {
            row = urgent;
            mark("delivered_ahead");
        } else {
            assigned.next = row->first + 1;
        }
        Record record{SourcePosition{0, row->first},
                      assigned.epoch,
                      row->second.id,
                      row->second.payload,
                      row->second.timestamp,
                      row->second.origin,
                      row->second.round,
                      row->second.attempts,
                      row->second.burned,
                      row->second.deliveries,
                      row->second.run_again};
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
                  entry.deliveries,
                  false};
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
            for (const Produced& produced : produced_) {
                if (produced.position.partition == id) starts_[produced.id] = 0;  // the delivery counts stood in there
            }
            for (const auto& [position, endings] : by_position_) {
                if (position.partition == id && position.offset >= assigned.committed)
                    assigned.finished_by_results.emplace_back(position.offset, position.offset + 1);
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
        // The broker takes offsets without a generation all the same; only the adapter's own care keeps them away (rule
        // 2).
        const bool anonymous = options_.variant == Variant::kAnonymousOffsets;
        worker.fenced = !anonymous;
        std::vector<std::pair<PartitionId, Epoch>> all;
        for (const auto& [partition_id, assigned] : worker.assigned)
            all.emplace_back(partition_id, assigned.epoch);
        worker.assigned.clear();
        for (const auto& [lost_id, lost_epoch] : all) {
            partitions_[static_cast<std::size_t>(lost_id)].owner.reset();
            partitions_[static_cast<std::size_t>(lost_id)].moving = false;
            if (!stop_ && !anonymous) feed(worker, PartitionRevoked{lost_id, lost_epoch, true});
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
            live.worker == index && std::all_of(produced_.begin(), produced_.end(), [&](const Produced& produced) {
                return produced.id != live.id || produced.position.partition == id;
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
        for (const auto& shared : batch.settlements) {
            const Settlement& settlement = *shared;
            if (settlement.kind == SettlementKind::kResult)
                results_.push_back(ResultEntry{std::nullopt, transaction, true});
        }
        worker.transaction = transaction;
    }
    const bool arrives_anyway = random_.chance(0.5);  // if the worker dies before the broker has seen the commit
    const std::uint64_t incarnation = worker.incarnation;
    after(small() + slow_commit(), [this, index, incarnation, batch, fate, transaction, arrives_anyway] {
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
            for (const auto& shared : batch.settlements) {
                const Settlement& settlement = *shared;
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
                    RejectedSettlement{batch.settlements[random_.below(batch.settlements.size())]->position, why});
                mark("settlement_rejected");
            }
        }
        on_worker(index, small() + slow_commit(), [this, result](Worker& worker_alive) { feed(worker_alive, result); });
    });
}

void World::abort_transaction(std::uint64_t id) {
    if (transactions_.erase(id) == 0) return;
    for (ResultEntry& entry : results_) {
        if (entry.transaction == id) entry.open = false;  // stays without an ending: readers skip it
    }
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
    for (const auto& shared : batch.settlements) {
        const Settlement& settlement = *shared;
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
        partitions_[static_cast<std::size_t>(batch.settlements.front()->position.partition)].log.push_back(LogEntry{});
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
    for (const auto& shared : batch.settlements) {
        const Settlement& settlement = *shared;
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

Verdict simulate(const Options& options) {
    World world(options);
    return world.run();
}

}  // namespace wa::sim
