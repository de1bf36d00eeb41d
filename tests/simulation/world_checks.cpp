// The promises of design.md, checked against what the world itself saw.
#include <algorithm>
#include <utility>

#include "simulation/world_ports.h"

namespace wa::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

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
    // (A copy on another partition may have failed without a start, say by its deadline, while this one was under way:
    // no lease keeps that apart, and COMPLETED stays what it is.)
    const bool apart = lease_store_ == LeaseStore::kSteady && !ending.completed;
    if (ending.kind == SettlementKind::kResult && has_ending(ending.id, true) && !apart) {
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
    // (One that was asked for once more between its commit and its status has ended all the same.)
    if (wrong && !again_asked_.contains(update.ticket_id))
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
    check_leases();
    for (const Produced& produced : produced_) {
        if (produced.valid && produced.pending && !endings_.contains(produced.id))
            violated("nothing lost: " + produced.id + " has no result");
    }
}

}  // namespace wa::sim
