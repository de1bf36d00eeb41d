// The store of leases that all workers share (Redis): contract/engine.md R1 to R6. Either it is there all the time, and
// then two workers never run one ticket at once, whatever partitions its records are on; or it is late, away and
// forgetful, and then nothing may be worse than without it.
#include <algorithm>
#include <utility>

#include "simulation/world_ports.h"

namespace wa::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

void World::draw_leases() {
    if (!cluster_ || !options_.leases) return;
    const double draw = lease_random_.unit();
    if (draw < 0.25) lease_store_ = LeaseStore::kSteady;
    if (draw > 0.85) lease_store_ = LeaseStore::kFlaky;
    // (Slow readers: then it is the store that says first how a copy elsewhere ended.)
    if (lease_store_ == LeaseStore::kSteady && lease_random_.chance(0.5))
        reader_lag_ += milliseconds(lease_random_.below(4000));
}

Duration World::lease_latency() {
    const bool late = lease_store_ == LeaseStore::kFlaky && lease_random_.chance(0.05);
    return late ? Duration(milliseconds(lease_random_.below(5000)))
                : Duration(lease_random_.between(10'000, 5'000'000));
}

// Between an ending's decision and its commit only the lease keeps others away: with leases that moment is often long.
// (Never as long as a group needs to give a partition to somebody else, who would wait for stable offsets.)
Duration World::slow_commit() {
    if (lease_store_ != LeaseStore::kSteady || !lease_random_.chance(0.3)) return {};
    return milliseconds(lease_random_.below(900));
}

void World::lease_fault() {
    if (calm_) return;
    if (lease_random_.chance(0.3)) {
        note("the store of leases forgets");
        mark("leases_forgotten");
        leases_.clear();
        processed_.clear();
    } else {
        leases_away_ = !leases_away_;
        note(leases_away_ ? "the store of leases is away" : "the store of leases is back");
    }
    after(seconds(1 + lease_random_.below(40)), [this] { lease_fault(); });
}

LeaseAnswer World::lease_answer(std::size_t worker, std::uint64_t incarnation, const std::string& id,
                                const LeasePosition& position) {
    if (leases_away_) {
        mark("lease_unavailable");
        return {id, LeaseState::kUnavailable, {}, "connection refused"};
    }
    const auto ended = processed_.find(id);
    if (ended != processed_.end() &&
        (ended->second.status == to_string(TicketStatus::kCompleted) || ended->second.position == position)) {
        mark("lease_processed");
        return {id, LeaseState::kProcessed, ended->second, {}};
    }
    const auto held = leases_.find(id);
    if (held != leases_.end() && held->second.runs_out > clock_.now()) {
        const Lease& lease = held->second;
        const LeaseNote holder{"w" + std::to_string(lease.worker), "RUNNING", lease.position, 0};
        const bool same_record = lease.position == position;  // its partition has another owner now
        if (lease.worker != worker && !same_record) {
            mark("lease_held");
            return {id, LeaseState::kHeld, holder, {}};
        }
        if (lease.worker != worker) mark("lease_succeeded");
        if (lease.incarnation == incarnation) return {id, LeaseState::kHeldHere, holder, {}};
        if (lease.worker == worker) mark("lease_of_earlier_life");
    }
    note("lease of " + id + " to w" + std::to_string(worker));
    leases_[id] = Lease{worker, incarnation, position, MonoTime::max()};
    return {id, LeaseState::kAcquired, {}, {}};
}

void World::give_back(const std::string& id, std::uint64_t incarnation) {
    const auto held = leases_.find(id);
    if (held != leases_.end() && held->second.incarnation == incarnation) leases_.erase(held);
}

// Nobody renews them any more.
void World::leave_leases(const Worker& worker) {
    for (auto& [id, lease] : leases_) {
        if (lease.incarnation == worker.incarnation)
            lease.runs_out = clock_.now() + seconds(400 + lease_random_.below(200));
    }
}

// A lease that nobody works under would keep every other worker away from its ticket for as long as this one lives.
void World::check_leases() {
    for (const auto& worker : workers_) {
        if (!worker) continue;
        std::set<std::string> idle = worker->leased;
        worker->engine->visit([&](std::string_view id, State, SourcePosition) { idle.erase(std::string(id)); });
        if (!idle.empty())
            violated("leases: w" + std::to_string(worker->index) + " keeps the lease of " + *idle.begin() +
                     ", which it does not have in hand");
    }
}

}  // namespace wa::sim
