// What one simulated worker's engine sees of the world: its ports, and everything else that a crash takes away.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "simulation/world.h"

namespace wa::sim {

inline std::string at(const SourcePosition& position) {
    return std::to_string(position.partition) + "@" + std::to_string(position.offset);
}

// One worker process. Everything in here is lost in a crash.
struct World::Worker {
    std::size_t index = 0;
    std::uint64_t incarnation = 0;
    bool open = false;
    bool fenced = false;  // kicked out of the group: its commits are refused until it has joined again
    bool delivering = false;
    bool draining = false;
    std::string intake_closed_for;
    std::size_t reader_position = 0;
    std::set<Offset> ahead;  // embedded: delivered before their turn
    struct Assigned {
        Epoch epoch = 0;
        Offset next = 0;
        bool announced = false;
    };
    std::map<PartitionId, Assigned> assigned;
    std::uint64_t applied_batch = 0;  // embedded: the store knows a batch that it has applied
    std::optional<std::uint64_t> transaction;
    std::set<std::string> cancel_accepted;
    std::set<std::string> leased;  // as the worker's own client sees it: asked for and not given back
    std::unique_ptr<Source> source;
    std::unique_ptr<Sink> sink;
    std::unique_ptr<Tickets> tickets;
    std::unique_ptr<Exec> exec;
    std::unique_ptr<Leases> leases;
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
    bool behind() override { return world_.service_behind_; }
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

// One worker's client of the store that all share. What was sent arrives, even from a worker that dies meanwhile.
class World::Leases final : public TicketLeases {
public:
    Leases(World& world, Worker& worker) : world_(world), worker_(worker) {}
    void acquire(std::string ticket_id, LeasePosition position, std::function<void(const LeaseAnswer&)> done) override {
        const std::size_t index = worker_.index;
        const std::uint64_t incarnation = worker_.incarnation;
        world_.on_worker(index, way(),
                         [&world = world_, index, incarnation, id = std::move(ticket_id),
                          position = std::move(position), done = std::move(done)](Worker& asking) {
                             const LeaseAnswer answer = world.lease_answer(index, incarnation, id, position);
                             if (answer.state == LeaseState::kAcquired || answer.state == LeaseState::kUnavailable)
                                 asking.leased.insert(id);
                             world.on_worker(index, world.lease_latency(), [&world, answer, done](Worker& told) {
                                 done(answer);
                                 if (!world.stop_) world.feed(told, TimePassed{});
                             });
                         });
    }
    void release(const std::string& ticket_id) override {
        worker_.leased.erase(ticket_id);
        world_.after(way(), [&world = world_, ticket_id, incarnation = worker_.incarnation] {
            world.give_back(ticket_id, incarnation);
        });
    }
    void mark_processed(const std::string& ticket_id, TicketStatus status, LeasePosition position) override {
        worker_.leased.erase(ticket_id);
        if (status == TicketStatus::kCompleted && !world_.has_ending(ticket_id, true))
            world_.violated("order of effects: " + ticket_id + " is marked as ended before its result was committed");
        LeaseNote note{"w" + std::to_string(worker_.index), std::string(to_string(status)), std::move(position), 0};
        world_.after(way(), [&world = world_, ticket_id, note = std::move(note), incarnation = worker_.incarnation] {
            LeaseNote& kept = world.processed_[ticket_id];
            if (kept.status != to_string(TicketStatus::kCompleted)) kept = note;
            world.give_back(ticket_id, incarnation);
        });
    }

private:
    // One connection: what is sent later arrives later.
    Duration way() {
        last_arrival_ = std::max(last_arrival_, world_.clock_.now() + world_.lease_latency());
        return last_arrival_ - world_.clock_.now();
    }
    World& world_;
    Worker& worker_;
    MonoTime last_arrival_{};
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
    [[nodiscard]] bool can_detach(const Ticket& ticket) const override {
        return world_.behaviours_.at(ticket.ticket_id).remote;
    }
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
        worker_.intake_closed_for = open ? std::string() : std::string(why);
        if (!open) world_.mark("intake_closed_" + std::string(why));
    }

private:
    World& world_;
    Worker& worker_;
};

}  // namespace wa::sim
