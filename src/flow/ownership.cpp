// Which partitions are ours, and letting go of them. An outcome may be committed only while the assignment under which
// its record was read is current; the broker does not check that, so it is done here (cluster-rules 1-3, 12).
#include <algorithm>
#include <utility>

#include "flow/engine.h"

namespace wa {
namespace {

OffsetMetadata from_results(std::vector<std::pair<Offset, Offset>> finished) {
    std::sort(finished.begin(), finished.end());
    OffsetMetadata metadata;
    for (const auto& [from, to] : finished) {
        if (!metadata.finished.empty() && metadata.finished.back().to >= from) {
            metadata.finished.back().to = std::max(metadata.finished.back().to, to);
        } else {
            metadata.finished.push_back({from, to});
        }
    }
    return metadata;
}

}  // namespace

void Engine::on_assigned(const PartitionAssigned& assigned) {
    if (const auto old = partitions_.find(assigned.partition); old != partitions_.end()) {
        if (old->second.epoch >= assigned.epoch) return;
        drop_partition(assigned.partition);
    }
    Partition partition;
    partition.epoch = assigned.epoch;
    partition.tracker = OffsetTracker(assigned.committed);
    std::optional<OffsetMetadata> metadata = decode_offset_metadata(assigned.committed, assigned.metadata);
    // Only an owner that let go in good order says so; after any other, what it had in hand may have been running.
    const bool clean = metadata && metadata->clean;
    if (!metadata) metadata = from_results(assigned.finished_by_results);
    if (!broken(Variant::kIgnoreFinishedSet)) partition.tracker.restore(*metadata);
    if (sink_traits_.wants_offsets && !clean && !assigned.fresh) partition.uncertain_below = assigned.end_at_assign;
    // From now on the group has commits: a partition that is added later starts at its beginning (rule 20).
    if (sink_traits_.wants_offsets && assigned.fresh) partition.dirty = true;
    partitions_.insert_or_assign(assigned.partition, std::move(partition));
}

void Engine::on_revoked(const PartitionRevoked& revoked) {
    const auto found = partitions_.find(revoked.partition);
    if (found == partitions_.end() || found->second.epoch != revoked.epoch) return;
    if (revoked.lost) return drop_partition(revoked.partition);
    Partition& partition = found->second;
    if (partition.releasing) return;
    partition.releasing = true;
    if (broken(Variant::kReleaseTooEarly)) {
        const Epoch epoch = partition.epoch;
        ports_.source.release(revoked.partition, epoch);
    }
    timers_.arm(ports_.clock.now() + options_.revoke_grace + options_.stop_margin, TimerKind::kReleaseOverdue, 0, 0,
                partition.epoch);
    for (Slot slot = 0; slot < records_.size(); ++slot) {
        TicketRecord& record = records_[slot];
        if (!record.in_use || record.position.partition != revoked.partition || record.epoch != revoked.epoch) continue;
        if (record.state == State::kReporting || record.state == State::kCancelling) continue;
        if (record.state == State::kRunning) {
            const Executor* executor = ports_.executors.at(record.active->ticket->task_type);
            if (!executor->can_detach(*record.active->ticket)) {
                request_stop(slot, StopReason::kPartitionRevoked, options_.revoke_grace, {});
                continue;
            }
        }
        hand_back(slot, "partition_revoked");
    }
}

bool Engine::owned(const TicketRecord& record) const {
    if (broken(Variant::kUnfencedOutcomes)) return true;
    const auto found = partitions_.find(record.position.partition);
    return found != partitions_.end() && found->second.epoch == record.epoch;
}

// A released partition is let go of in order: nothing of it runs, its outcomes are committed, a last commit says
// "clean", and no transaction that carries its offsets is open.
void Engine::release_partitions() {
    std::vector<PartitionId> done;
    for (auto& [id, partition] : partitions_) {
        if (!partition.releasing) continue;
        if (partition.records > 0 && !partition.release_overdue) continue;
        const bool in_batch =
            batch_ && std::any_of(batch_->partitions.begin(), batch_->partitions.end(),
                                  [partition_id = id](const auto& entry) { return entry.first == partition_id; });
        if (in_batch) continue;
        if (sink_traits_.wants_offsets && !partition.clean_committed && !partition.release_overdue && sink_healthy_ &&
            !recovering_) {
            partition.dirty = true;  // the last commit; fill_batch marks it clean
            continue;
        }
        done.push_back(id);
    }
    for (const PartitionId id : done) {
        const Epoch epoch = partitions_.at(id).epoch;
        drop_partition(id);
        if (!broken(Variant::kReleaseTooEarly)) ports_.source.release(id, epoch);
    }
}

void Engine::drop_partition(PartitionId id) {
    const Epoch epoch = partitions_.at(id).epoch;
    for (Slot slot = 0; slot < records_.size(); ++slot) {
        const TicketRecord& record = records_[slot];
        if (!record.in_use || record.position.partition != id || record.epoch != epoch) continue;
        if (broken(Variant::kUnfencedOutcomes) && record.state == State::kReporting) continue;
        hand_back(slot, "partition_lost");
    }
    partitions_.erase(id);
}

// Gives a ticket back undone: no outcome, its offset stays open, somebody else or a later start takes it.
void Engine::hand_back(Slot slot, std::string reason) {
    TicketRecord& record = records_[slot];
    const NodeId node_id = record.node;
    if (record.state == State::kParked) stop_waiting(slot);
    leave_queues(slot);
    if (record.active) settle_breaker(record, nullptr);
    const bool cancelled =
        record.active && record.active->ticket &&
        (record.active->stop == StopReason::kCancelled || record.active->stop == StopReason::kPreempted);
    if (cancelled) {
        // Somebody was told that it is cancelled. Should the ticket come back to this worker, that still holds.
        const bool preempted = record.active->stop == StopReason::kPreempted;
        CancelRequest request;
        request.ticket_id = record.active->ticket->ticket_id;
        request.reason = preempted ? "preemption" : record.active->stop_detail;
        request.preempted_by = preempted ? record.active->stop_detail : std::string();
        remember_cancel(std::move(request));
    }
    move(slot, Event::kHandBack, std::move(reason));
    ++handed_back_;
    // What waits for it goes on waiting: it will end elsewhere.
    if (node_id != kNoSlot) {
        DependencyIndex::Node& node = index_.at(node_id);
        set_known_open(node, true);
        if (node.waiters.size() > node.stale_waiters) ask_for(node_id);
    }
    free_record(slot);
}

}  // namespace wa
