// Stage 2: a ticket waits until everything that it depends on is done. Nothing here holds a slot or polls per ticket.
#include <algorithm>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "flow/engine.h"

namespace wa {

void Engine::wait_for_dependencies(Slot slot) {
    TicketRecord& record = records_[slot];
    const std::shared_ptr<const Ticket> ticket = record.active->ticket;
    if (!broken(Variant::kIgnoreDependencies)) {
        for (const std::string& dependency : ticket->dependencies) {
            const NodeId node_id = index_.intern(dependency);
            DependencyIndex::Node& node = index_.at(node_id);
            if (node.ending == Ending::kCompleted) continue;
            if (failure_counts(node, record)) {
                const std::string detail = node.detail();
                stop_waiting(slot);
                return fail_by_dependency(slot, dependency, detail);
            }
            if (!node.waiters.empty() && node.waiters.back().slot == slot &&
                node.waiters.back().generation == record.generation)
                continue;  // named twice
            record.waits_for.add(node_id);
            node.waiters.push_back({slot, record.generation});
            if (node.in_hand == kNoSlot) {
                set_known_open(node, node.known_open);
                ask_for(node_id);
            }
        }
    }
    record.waits_for.seal();
    if (record.waits_for.empty()) return dependencies_done(slot);

    move(slot, Event::kDependenciesOpen, "deps: " + std::to_string(record.waits_for.size()) + " open");
    record.active.reset();
    if (record.steps->size() == 1) {
        record.parked_at = record.steps->front().at;
        record.parked_on = static_cast<std::uint32_t>(record.waits_for.size());
        record.steps.reset();
    }
    parked_order_.emplace_back(slot, record.generation);
    if (broken(Variant::kParkedHoldsWindow)) {
        record.admitted = true;
        ++admitted_;
    }
    // Only a ticket that others wait for can close a cycle. The search is paid from a budget that each admission
    // refills, so that reading n tickets costs O(n) in all; what it did not reach is swept when nothing else moves.
    constexpr std::int64_t kBudgetPerTicket = 64;
    constexpr std::int64_t kBudgetLimit = 100'000;
    cycle_budget_ = std::min(cycle_budget_ + kBudgetPerTicket, kBudgetLimit);
    const DependencyIndex::Node& self = index_.at(record.node);
    if (self.waiters.size() > self.stale_waiters) {
        const std::vector<Slot> cycle = find_cycle(slot);
        if (!cycle.empty()) return break_cycle(cycle);
    }
}

void Engine::dependencies_done(Slot slot) {
    TicketRecord& record = records_[slot];
    wake(record);
    const Duration waited = record.state == State::kParked ? ports_.clock.now() - record.received_at : Duration::zero();
    record.active->dependency_wait = waited;
    if (!record.active->ticket->dependencies.empty())
        ports_.observer.dependency_wait_ended(view(record), "success", waited);
    enter_ready(slot);
}

// A failure ends a waiter only if it is newer than the waiter's own record and the results reader has passed what was
// there when the waiter came in; a ticket that is in hand again may still complete (rule 15).
bool Engine::failure_counts(const DependencyIndex::Node& node, const TicketRecord& waiter) const {
    if (node.ending != Ending::kFailed) return false;
    if (broken(Variant::kOldFailureEndsWaiter)) return true;
    if (node.in_hand != kNoSlot || node.has_held()) return false;
    if (node.ending_at <= waiter.timestamp) return false;
    return !options_.reads_results || reader_caught_up_ >= waiter.received_at;
}

void Engine::fail_by_dependency(Slot slot, std::string_view dependency, std::string_view detail) {
    TicketRecord& record = records_[slot];
    wake(record);
    const Duration waited = ports_.clock.now() - record.received_at;
    record.active->dependency_wait = waited;
    ports_.observer.dependency_wait_ended(view(record), "failed", waited);
    std::string message = "dependency " + std::string(dependency) + " did not complete";
    if (!detail.empty()) message += " (" + std::string(detail) + ")";
    decide(slot, Outcome::kDependencyFailed,
           make_error(ErrorCode::kDependencyFailed, Retry::kNever, Fault::kTask, "engine", std::move(message)),
           nullptr);
}

void Engine::stop_waiting(Slot slot) {
    TicketRecord& record = records_[slot];
    const WaitList waited_for = std::exchange(record.waits_for, {});
    for (std::size_t place = 0; place < waited_for.places(); ++place) {
        if (!waited_for.open_at(place)) continue;
        const NodeId node_id = waited_for.node_at(place);
        DependencyIndex::Node& node = index_.at(node_id);
        ++node.stale_waiters;
        constexpr std::size_t kWorthCompacting = 32;
        if (node.waiters.size() > kWorthCompacting && node.stale_waiters * 2 > node.waiters.size()) {
            std::erase_if(node.waiters, [&](const DependencyIndex::Waiter& waiter) {
                const TicketRecord* other = live(waiter.slot, waiter.generation);
                return other == nullptr || waiter.slot == slot || !other->waits_for.contains(node_id);
            });
            node.stale_waiters = 0;
        }
        if (node.waiters.size() <= node.stale_waiters) {
            node.waiters.clear();
            node.stale_waiters = 0;
            asked_.erase(node_id);
        }
        index_.release(node_id);
    }
}

void Engine::dependency_completed(NodeId node_id) {
    asked_.erase(node_id);
    DependencyIndex::Node& node = index_.at(node_id);
    std::vector<DependencyIndex::Waiter> waiters = std::exchange(node.waiters, {});
    node.stale_waiters = 0;
    bool woken = false;
    for (const auto& waiter : waiters) {
        TicketRecord* record = live(waiter.slot, waiter.generation);
        if (record == nullptr || !record->waits_for.remove(node_id)) continue;
        if (record->waits_for.empty() && record->state == State::kParked) {
            dependencies_done(waiter.slot);
            woken = true;
        }
        if (broken(Variant::kWakeLost)) break;
    }
    if (woken) progress();
}

// The dependency ended without completing. `asked_at` is when the answer was asked for: a waiter that came later is not
// meant by it. With `last_word` the source knows that nothing newer of that ticket exists.
void Engine::fail_waiters(NodeId node_id, MonoTime asked_at, bool last_word) {
    DependencyIndex::Node& node = index_.at(node_id);
    if (node.in_hand != kNoSlot || node.has_held()) return;
    const std::string id = node.id;
    const std::string detail = node.detail();
    std::vector<Slot> failed;
    for (const auto& waiter : node.waiters) {
        const TicketRecord* record = live(waiter.slot, waiter.generation);
        if (record == nullptr || !record->waits_for.contains(node_id)) continue;
        const bool counts = last_word ? record->received_at <= asked_at : failure_counts(node, *record);
        if (counts) failed.push_back(waiter.slot);
    }
    for (const Slot slot : failed) {
        stop_waiting(slot);
        fail_by_dependency(slot, id, detail);
    }
}

void Engine::on_statuses(const DependencyStatuses& statuses) {
    for (const DependencyStatus& status : statuses.statuses) {
        // "Completed" is kept even if nobody waits at the moment: the one who asked may have been re-queued meanwhile.
        const bool completed = status.state == DependencyState::kCompleted;
        const NodeId node_id = completed ? index_.intern(status.ticket_id) : index_.find(status.ticket_id);
        if (node_id == kNoSlot) continue;
        DependencyIndex::Node& node = index_.at(node_id);
        const MonoTime asked_at = std::exchange(node.asked_at, MonoTime{});
        if (node.ending == Ending::kCompleted) continue;
        switch (status.state) {
            case DependencyState::kUnknown: set_known_open(node, false); break;
            case DependencyState::kOpen: set_known_open(node, true); break;
            case DependencyState::kCompleted:
                index_.remember_ending(node_id, Ending::kCompleted, ports_.clock.wall_now(), false, {});
                if (index_.find(status.ticket_id) == node_id) dependency_completed(node_id);
                break;
            case DependencyState::kFailed:
                set_known_open(node, false);
                node.set_detail(status.detail);
                if (status.last_word && asked_at != MonoTime{}) fail_waiters(node_id, asked_at, true);
                break;
        }
    }
}

void Engine::on_ending_seen(const EndingSeen& ending) {
    // Every ending is remembered as long as there is room: the ticket that depends on it may only come later.
    const NodeId node_id = index_.intern(ending.ticket_id);
    index_.remember_ending(node_id, ending.completed ? Ending::kCompleted : Ending::kFailed, ending.at, true,
                           ending.detail);
    progress();  // what was rotated away may be able to run now
    if (index_.find(ending.ticket_id) == kNoSlot) return;
    if (ending.completed) {
        dependency_completed(node_id);
    } else {
        fail_waiters(node_id, MonoTime{}, false);
    }
}

void Engine::on_reader_caught_up(const ResultsReaderCaughtUp& caught_up) {
    reader_caught_up_ = std::max(reader_caught_up_, caught_up.as_of);
    // Failures that were seen before the reader had caught up may count now.
    const std::vector<NodeId> awaited(asked_.begin(), asked_.end());
    for (const NodeId node_id : awaited) {
        if (asked_.contains(node_id) && index_.at(node_id).ending == Ending::kFailed)
            fail_waiters(node_id, MonoTime{}, false);
    }
}

void Engine::set_known_open(DependencyIndex::Node& node, bool known) {
    node.known_open = known;
    if (known) {
        node.unknown_since = MonoTime{};
    } else if (node.unknown_since == MonoTime{}) {
        node.unknown_since = ports_.clock.now();
    }
}

void Engine::ask_for(NodeId node_id) {
    asked_.insert(node_id);
    DependencyIndex::Node& node = index_.at(node_id);
    if (!node.lookup_due) {
        node.lookup_due = true;
        lookups_due_.push_back(node_id);
    }
}

void Engine::send_lookups() {
    if (!lookup_timer_armed_ && !asked_.empty()) {
        lookup_timer_armed_ = true;
        // Jitter keeps many workers from asking in step.
        const auto jitter = Duration(static_cast<std::int64_t>(
            static_cast<double>(options_.dependency_interval.count()) * 0.2 * ports_.random.unit()));
        timers_.arm(ports_.clock.now() + options_.dependency_interval + jitter, TimerKind::kLookup);
    }
    if (lookups_due_.empty()) return;
    constexpr std::size_t kBatch = 1000;
    std::vector<std::string> ids;
    for (const NodeId node_id : std::exchange(lookups_due_, {})) {
        DependencyIndex::Node& node = index_.at(node_id);
        node.lookup_due = false;
        if (!node.alive || !asked_.contains(node_id) || node.asked_at != MonoTime{}) continue;
        node.asked_at = ports_.clock.now();
        ids.push_back(node.id);
        if (ids.size() == kBatch) ports_.tickets.lookup(std::exchange(ids, {}));
    }
    if (!ids.empty()) ports_.tickets.lookup(std::move(ids));
}

void Engine::on_lookup_timer() {
    lookup_timer_armed_ = false;
    for (const NodeId node_id : asked_) {
        DependencyIndex::Node& node = index_.at(node_id);
        node.asked_at = MonoTime{};  // an answer that has not come by now is not awaited any more
        if (!node.lookup_due) {
            node.lookup_due = true;
            lookups_due_.push_back(node_id);
        }
    }
    end_unknown();
    if (cycles_unchecked_) sweep_for_cycles();
    if (rotation_blocked_ && count(State::kParked) + count(State::kHeld) > options_.max_parked) {
        // Rotating fast did not help. One ticket at a time still goes round, so that each gets its time in hand: to
        // have its dependencies asked for, and to end when they stay unknown.
        rotated_reads_ = 0;
        requeue_longest_parked();
        rotated_reads_ = SIZE_MAX / 2;
    }
}

// What nobody knows is waited for only so long; looked at whenever it is asked for again. What is known is waited for
// until the deadline; what becomes unknown later gets its own time.
void Engine::end_unknown() {
    const std::vector<NodeId> awaited(asked_.begin(), asked_.end());
    for (const NodeId node_id : awaited) {
        if (!asked_.contains(node_id)) continue;  // an ending just now has ended those who wait for this one too
        std::vector<std::pair<Slot, std::uint32_t>> over;
        const DependencyIndex::Node& node = index_.at(node_id);
        for (const auto& waiter : node.waiters) {
            const TicketRecord* record = live(waiter.slot, waiter.generation);
            if (record == nullptr || record->state != State::kParked || !record->waits_for.contains(node_id)) continue;
            if (unknown_for_too_long(node, *record)) over.emplace_back(waiter.slot, waiter.generation);
        }
        for (const auto& [slot, generation] : over) {
            const TicketRecord* record = live(slot, generation);
            if (record != nullptr && record->state == State::kParked) fail_by_unknown(slot, node_id);
        }
    }
}

bool Engine::unknown_for_too_long(const DependencyIndex::Node& node, const TicketRecord& waiter) const {
    if (node.in_hand != kNoSlot || node.has_held() || node.unknown_since == MonoTime{}) return false;
    const Duration bound = options_.dependency_interval * options_.dependency_attempts;
    // A copy that went round has waited before it came back: it stays only until its dependencies have been asked for.
    const bool went_round = waiter.requeue_round > 0 && waiter.admitted_at - waiter.timestamp > to_millis(bound);
    const MonoTime over = went_round ? waiter.received_at + options_.dependency_interval
                                     : std::max(node.unknown_since, waiter.received_at) + bound;
    return over <= ports_.clock.now();
}

void Engine::fail_by_unknown(Slot slot, NodeId node_id) {
    TicketRecord& record = records_[slot];
    const DependencyIndex::Node& node = index_.at(node_id);
    const Duration bound = options_.dependency_interval * options_.dependency_attempts;
    std::string message =
        "dependency " + node.id + " is not known to anybody after " + std::to_string(to_millis(bound) / 1000) + " s";
    if (node.why) {
        message = "dependency " + node.id + " ended before this ticket was submitted and was not run again (" +
                  *node.why + ")";
    }
    const Duration waited = ports_.clock.now() - record.received_at;
    wake(record);
    ports_.observer.dependency_wait_ended(view(record), "timeout", waited);
    record.active->dependency_wait = waited;
    decide(slot, Outcome::kDependencyTimeout,
           make_error(ErrorCode::kDependencyTimeout, Retry::kNever, Fault::kInput, "engine", std::move(message)),
           nullptr);
}

// The one step of a parked ticket is kept without its text.
void Engine::restore_steps(TicketRecord& record) const {
    if (record.parked_at == 0) return;
    if (!record.steps) record.steps = std::make_unique<std::vector<Step>>();
    record.steps->insert(record.steps->begin(),
                         Step{record.parked_at, State::kReceived, State::kParked, record.attempts_made,
                              "deps: " + std::to_string(record.parked_on) + " open"});
    record.parked_at = 0;
}

// Walks from `start` along what it waits for, through parked tickets, looking for the way back. Empty = none found.
std::vector<Engine::Slot> Engine::find_cycle(Slot start) {
    struct Frame {
        Slot slot;
        std::size_t next = 0;
    };
    std::vector<Frame> path{{start}};
    std::unordered_set<Slot> seen{start};
    while (!path.empty()) {
        Frame& top = path.back();
        const TicketRecord& record = records_[top.slot];
        if (top.next == record.waits_for.places()) {
            path.pop_back();
            continue;
        }
        if (--cycle_budget_ < 0) {
            cycle_budget_ = 0;
            cycles_unchecked_ = true;
            return {};
        }
        const std::size_t place = top.next++;
        if (!record.waits_for.open_at(place)) continue;
        const Slot target = index_.at(record.waits_for.node_at(place)).in_hand;
        if (target == start) {
            std::vector<Slot> cycle;
            for (const Frame& frame : path)
                cycle.push_back(frame.slot);
            return cycle;
        }
        if (target == kNoSlot || records_[target].state != State::kParked || !seen.insert(target).second) continue;
        path.push_back({target});
    }
    return {};
}

void Engine::break_cycle(const std::vector<Slot>& cycle) {
    constexpr std::size_t kShown = 20;
    std::string path;
    for (std::size_t i = 0; i < cycle.size() && i < kShown; ++i)
        path += index_.at(records_[cycle[i]].node).id + " -> ";
    if (cycle.size() > kShown) path += "… (" + std::to_string(cycle.size()) + " tickets) -> ";
    path += index_.at(records_[cycle.front()].node).id;
    const Error error =
        make_error(ErrorCode::kDependencyFailed, Retry::kNever, Fault::kInput, "engine", "dependency cycle: " + path);
    for (const Slot slot : cycle) {
        wake(records_[slot]);
        ports_.observer.dependency_wait_ended(view(records_[slot]), "failed",
                                              ports_.clock.now() - records_[slot].received_at);
        decide(slot, Outcome::kDependencyFailed, error, nullptr);
    }
}

// Linear: peels off every parked ticket that waits for nothing parked; what remains stands on or behind a cycle.
void Engine::sweep_for_cycles() {
    cycles_unchecked_ = false;
    std::unordered_map<Slot, std::size_t> open;
    std::vector<Slot> peel;
    for (const auto& [slot, generation] : parked_order_) {
        const TicketRecord* record = live(slot, generation);
        if (record == nullptr || record->state != State::kParked) continue;
        std::size_t parked_dependencies = 0;
        for (std::size_t place = 0; place < record->waits_for.places(); ++place) {
            if (!record->waits_for.open_at(place)) continue;
            const Slot target = index_.at(record->waits_for.node_at(place)).in_hand;
            if (target != kNoSlot && records_[target].state == State::kParked) ++parked_dependencies;
        }
        open[slot] = parked_dependencies;
        if (parked_dependencies == 0) peel.push_back(slot);
    }
    while (!peel.empty()) {
        const Slot done = peel.back();
        peel.pop_back();
        open.erase(done);
        for (const auto& waiter : index_.at(records_[done].node).waiters) {
            const auto found = open.find(waiter.slot);
            if (found == open.end() || live(waiter.slot, waiter.generation) == nullptr) continue;
            if (--found->second == 0) peel.push_back(waiter.slot);
        }
    }
    while (!open.empty()) {
        // From any of the rest, walking along what it waits for must come back to a ticket seen before.
        std::vector<Slot> path;
        std::unordered_map<Slot, std::size_t> place;
        Slot at = open.begin()->first;
        while (!place.contains(at)) {
            place[at] = path.size();
            path.push_back(at);
            Slot ahead = kNoSlot;
            const WaitList& waits_for = records_[at].waits_for;
            for (std::size_t entry = 0; entry < waits_for.places(); ++entry) {
                if (!waits_for.open_at(entry)) continue;
                const Slot target = index_.at(waits_for.node_at(entry)).in_hand;
                if (target != kNoSlot && open.contains(target)) ahead = target;
            }
            if (ahead == kNoSlot) break;
            at = ahead;
        }
        if (const auto closes = place.find(at); closes != place.end() && records_[at].state == State::kParked) {
            break_cycle({path.begin() + static_cast<std::ptrdiff_t>(closes->second), path.end()});
        }
        for (const Slot slot : path)
            open.erase(slot);
    }
}

void Engine::progress() {
    rotated_.clear();
    rotated_reads_ = 0;
    rotation_blocked_ = false;
}

// The bound on parked tickets is reached: the one that has waited longest goes to the tail of its partition, so that
// what it waits for can be read. When for a good while nothing but such copies was read and nothing has moved, every
// partition has been read through and rotating further cannot help: intake closes until there is an event (rule 14).
void Engine::requeue_longest_parked() {
    constexpr std::size_t kRounds = 8;
    constexpr std::size_t kSlack = 32;
    if (rotated_reads_ > kRounds * (rotated_.size() + kSlack)) {
        rotation_blocked_ = true;
        return;
    }
    while (!parked_order_.empty()) {
        const auto [slot, generation] = parked_order_.front();
        parked_order_.pop_front();
        TicketRecord* record = live(slot, generation);
        if (record == nullptr || record->state != State::kParked) continue;
        rotated_.insert(std::hash<std::string>{}(index_.at(record->node).id));
        return requeue(slot, "parked-full: goes to the tail of its partition");
    }
    rotation_blocked_ = true;
}

bool Engine::requeue_lowest_parked(PartitionId partition) {
    Slot lowest = kNoSlot;
    for (Slot slot = 0; slot < records_.size(); ++slot) {
        const TicketRecord& record = records_[slot];
        if (!record.in_use || record.state != State::kParked || record.position.partition != partition) continue;
        if (lowest == kNoSlot || record.position.offset < records_[lowest].position.offset) lowest = slot;
    }
    if (lowest == kNoSlot) return false;
    requeue(lowest, "metadata-full: goes to the tail of its partition");
    return true;
}

void Engine::requeue(Slot slot, std::string reason) {
    TicketRecord& record = records_[slot];
    stop_waiting(slot);
    wake(record);
    Settlement settlement;
    settlement.kind = SettlementKind::kRequeue;
    settlement.ticket_id = record.active->ticket->ticket_id;
    settlement.plan_id = record.active->ticket->plan_id;
    settlement.payload = record.payload;
    settlement.timestamp = record.timestamp;
    settlement.requeue_round = record.requeue_round + 1;
    if (record.headers) {
        settlement.traceparent = record.headers->traceparent;
        settlement.tracestate = record.headers->tracestate;
        settlement.other_headers = record.headers->others;
    }
    settlement.deliveries = record.deliveries;
    into_outbox(slot, std::move(settlement), std::move(reason));
}

std::string Engine::describe_waits(const TicketRecord& record) const {
    constexpr std::size_t kShown = 5;
    std::string text;
    std::size_t shown = 0;
    for (std::size_t place = 0; place < record.waits_for.places() && shown < kShown; ++place) {
        if (!record.waits_for.open_at(place)) continue;
        ++shown;
        const DependencyIndex::Node& node = index_.at(record.waits_for.node_at(place));
        std::string_view state = "not known to anybody";
        if (node.in_hand != kNoSlot) {
            state = phase(records_[node.in_hand].state);
        } else if (node.known_open) {
            state = "not read yet";
        }
        if (!text.empty()) text += ", ";
        text += node.id + " (" + std::string(state) + ")";
    }
    if (record.waits_for.size() > kShown) text += " and " + std::to_string(record.waits_for.size() - kShown) + " more";
    return text;
}

}  // namespace wa
