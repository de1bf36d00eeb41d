// Stage 5: one outcome, committed once. Outcomes stay in memory until the commit that carries them is known to have
// happened; what others act on (status, waiters, repeats) comes after it (cluster-rules 5, 6, 8, 9).
#include <algorithm>
#include <utility>

#include "core/compensation/compensation.h"
#include "flow/engine.h"

namespace wa {
namespace {

constexpr std::size_t kMaxLogLines = 1000;
constexpr std::size_t kMaxLogBytes = 256 * 1024;
// Room for the version and one open range; a broker that takes less than this takes no metadata at all.
constexpr std::size_t kSmallestMetadataLimit = 16;
constexpr std::size_t kMaxResultBytes = 900 * 1024;  // leaves room for JSON's escapes below the topic's 1 MiB

std::size_t weight(const StringMap& map) {
    std::size_t bytes = 0;
    for (const auto& [key, value] : map)
        bytes += key.size() + value.size();
    return bytes;
}

// The largest values go first; what is left says that something is missing.
void bound(ExecutionResult& result, std::size_t limit) {
    bool truncated = false;
    std::size_t log_bytes = 0;
    for (std::size_t i = 0; i < result.logs.size(); ++i) {
        log_bytes += result.logs[i].size() + 1;
        if (i >= kMaxLogLines || log_bytes > std::min(kMaxLogBytes, limit / 4)) {
            result.logs.resize(i);
            truncated = true;
            break;
        }
    }
    while (weight(result.output) > limit / 2) {
        auto largest = std::max_element(result.output.begin(), result.output.end(),
                                        [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
        const std::size_t keep = largest->second.size() / 2;
        std::size_t cut = largest->second.size() - keep;  // the end of an output says more than its start
        while (cut < largest->second.size() && (static_cast<unsigned char>(largest->second[cut]) & 0xC0U) == 0x80U)
            ++cut;
        largest->second.erase(0, cut);
        truncated = true;
    }
    if (result.error_message.size() > limit / 8) {
        result.error_message.resize(limit / 8);
        while (!result.error_message.empty() && (static_cast<unsigned char>(result.error_message.back()) & 0x80U) != 0)
            result.error_message.pop_back();
        truncated = true;
    }
    if (truncated) result.metadata["truncated"] = "true";
}

}  // namespace

void Engine::decide(Slot slot, Outcome outcome, const std::optional<Error>& error, const AttemptReport* report) {
    TicketRecord& record = records_[slot];
    if (!record.waits_for.empty()) stop_waiting(slot);
    leave_queues(slot);
    wake(record);
    settle_breaker(record, nullptr);
    Settlement settlement;
    settlement.outcome = outcome;
    build_result(record, settlement, outcome, error, report);
    std::string reason(to_string(outcome));
    if (error) reason += ": " + error->message;
    into_outbox(slot, std::move(settlement), std::move(reason));
}

void Engine::build_result(TicketRecord& record, Settlement& settlement, Outcome outcome,
                          const std::optional<Error>& error, const AttemptReport* report) {
    const Active& active = *record.active;
    const Ticket& ticket = *active.ticket;
    settlement.ticket_id = ticket.ticket_id;
    settlement.plan_id = ticket.plan_id;
    ExecutionResult& result = settlement.result;
    result.ticket_id = ticket.ticket_id;
    result.success = is_success(outcome);
    if (report != nullptr) {
        result.output = report->output;
        result.metadata = report->metadata;
        result.logs = report->logs;
    }
    result.metadata.erase("simulated");
    const bool simulated = report != nullptr && report->simulated;
    if (simulated && !broken(Variant::kSimulatedUnlabelled)) result.metadata["simulated"] = "true";
    result.metadata["outcome"] = std::string(to_string(outcome));
    result.metadata["attempts"] = std::to_string(record.attempts_made);
    if (record.deliveries > 0) result.metadata["interrupted"] = std::to_string(record.deliveries);
    result.metadata["queue_wait_ms"] = std::to_string(to_millis(active.queue_wait));
    result.metadata["dependency_wait_ms"] = std::to_string(to_millis(active.dependency_wait));
    if (error) {
        result.error_message = error->describe();
        result.metadata["retryable"] = error->retryable() ? "true" : "false";
        result.metadata["cause"] = std::string(to_string(error->fault));
        result.metadata["reason"] = std::string(to_string(error->code));
        if (outcome == Outcome::kPreempted && !active.stop_detail.empty())
            result.metadata["preempted_by"] = active.stop_detail;
    }
    if (report != nullptr && report->still_alive) result.metadata["still_running"] = "true";
    result.actual_duration_ms = to_millis(active.executed);
    result.agent_id = options_.agent_id;
    result.timestamp = ports_.clock.wall_now();
    result.plan_id = ticket.plan_id;
    if (const auto workflow = ticket.metadata.find("workflow_id"); workflow != ticket.metadata.end())
        result.workflow_id = workflow->second;
    result.correlation_id = ticket.correlation_id;
    result.trace_id = ticket.trace_id;
    result.started_at = active.attempts.empty() ? 0 : active.attempts.front().started_at;
    result.completed_at = result.timestamp;

    if (!result.success && options_.compensation_enabled) add_compensation(record, settlement, simulated);
    bound(result, kMaxResultBytes);
}

void Engine::add_compensation(TicketRecord& record, Settlement& settlement, bool simulated) {
    Active& active = *record.active;
    CompensationFacts facts;
    facts.outcome = settlement.outcome;
    facts.simulated = simulated;
    facts.attempts_started = static_cast<std::int32_t>(active.attempts.size());
    for (const Effect& effect : active.effects)
        facts.effects.push_back(UndoableEffect{effect.kind, effect.name, effect.undo});
    facts.reason = settlement.result.error_message;
    facts.now = settlement.result.timestamp;
    std::optional<Compensation> compensation = compensation_for(*active.ticket, facts);
    if (!compensation) return;
    if (!active.compensation_id.empty()) compensation->ticket.ticket_id = active.compensation_id;
    StringMap& metadata = settlement.result.metadata;
    metadata["compensation_ticket_id"] = compensation->ticket.ticket_id;
    if (!compensation->warnings.empty()) metadata["compensation_warning"] = compensation->warnings.front().message;
    if (options_.compensation_supported) {
        settlement.compensation = std::move(compensation->ticket);
    } else {
        metadata["compensation"] = "asked for, not done: COMPENSATE is not served here";
    }
}

void Engine::into_outbox(Slot slot, Settlement settlement, std::string reason) {
    TicketRecord& record = records_[slot];
    settlement.position = record.position;
    settlement.origin = record.origin;
    settlement.epoch = record.epoch;
    settlement.key = record.key ? *record.key : index_.at(record.node).id;
    if (settlement.result.timestamp == 0) settlement.result.timestamp = ports_.clock.wall_now();
    move(slot, Event::kOutcome, std::move(reason));
    for (Step& step : *record.steps) {
        settlement.history.push_back(
            HistoryEntry{step.at, step.from, step.to, step.attempt, std::move(step.reason), "engine"});
    }
    record.steps.reset();
    settlement.attempts = record.active->attempts;
    ports_.observer.outcome_decided(view(record), settlement);
    record.active->settlement = std::make_shared<Settlement>(std::move(settlement));
    outbox_.emplace_back(slot, record.generation);
    if (broken(Variant::kTwoEndings) && record.active->stop) outbox_.emplace_back(slot, record.generation);
    if (broken(Variant::kEffectsBeforeCommit)) public_effects(record);
}

void Engine::commit_next() {
    if (batch_ || recovering_ || commit_paused_) return;
    InFlightBatch next;
    while (!fill_batch(next)) {
        if (!make_room_in_metadata()) return;
        next = {};
    }
    next.started = ports_.clock.now();
    next.batch.number = next_batch_++;
    batch_ = std::move(next);
    ports_.sink.commit(batch_->batch);
}

bool Engine::fill_batch(InFlightBatch& next) {
    constexpr std::size_t kMaxBytes = 16 * 1024 * 1024;
    std::size_t bytes = 0;
    const bool tight = std::any_of(partitions_.begin(), partitions_.end(),
                                   [](const auto& entry) { return entry.second.metadata_full; });
    // What shortens the finished set has to go together, however much it is.
    const std::size_t limit = tight ? SIZE_MAX : sink_traits_.batch_limit;
    if (tight) order_outbox_by_offset();
    while (!outbox_.empty() && next.batch.settlements.size() < limit && bytes < kMaxBytes) {
        const auto item = outbox_.front();
        outbox_.pop_front();
        TicketRecord* record = live(item.first, item.second);
        if (record == nullptr || record->state != State::kReporting) continue;
        if (record->in_batch && !broken(Variant::kTwoEndings)) continue;
        if (!owned(*record)) {
            hand_back(item.first, "partition_lost");
            continue;
        }
        record->in_batch = true;
        const Settlement& settlement = *record->active->settlement;
        bytes += settlement.payload.size() + weight(settlement.result.output) + 1024;
        next.batch.settlements.push_back(record->active->settlement);
        next.settled.push_back(item);
        if (settlement.kind == SettlementKind::kRequeue && broken(Variant::kRequeueForgets)) {
            if (const auto found = partitions_.find(record->position.partition); found != partitions_.end()) {
                found->second.tracker.finish(record->position.offset);
            }
            next.batch.settlements.pop_back();
            next.settled.pop_back();
            hand_back(item.first, "forgotten");
        }
    }
    for (const auto& item : std::exchange(intents_due_, {})) {
        const TicketRecord* record = live(item.first, item.second);
        if (record == nullptr || record->state != State::kStarting || !record->active->intent_pending) continue;
        next.intents.push_back(item);
        next.batch.intents.push_back(AttemptIntent{record->position, record->epoch, record->active->ticket->ticket_id,
                                                   record->attempts_made, ports_.clock.wall_now()});
    }
    next.batch.attempt_ends = std::exchange(attempt_ends_due_, {});
    if (sink_traits_.wants_offsets) add_offsets(next);
    return !next.batch.empty();
}

// The lowest offsets shorten the finished set; the highest make it longer.
void Engine::order_outbox_by_offset() {
    std::erase_if(outbox_, [&](const auto& item) { return live(item.first, item.second) == nullptr; });
    std::sort(outbox_.begin(), outbox_.end(),
              [&](const auto& a, const auto& b) { return records_[a.first].position < records_[b.first].position; });
}

// The offsets that the batch settles, with the finished set above them. Where the set does not fit, the highest
// outcomes of that partition wait for lower ones (rule 12).
void Engine::add_offsets(InFlightBatch& next) {
    std::map<PartitionId, std::vector<Offset>> finished;
    for (const auto& settlement : next.batch.settlements)
        finished[settlement->position.partition].push_back(settlement->position.offset);
    for (const auto& [id, partition] : partitions_) {
        if (partition.dirty) finished.try_emplace(id);
    }
    for (auto& [id, offsets] : finished) {
        const auto found = partitions_.find(id);
        if (found == partitions_.end()) continue;
        Partition& partition = found->second;
        std::sort(offsets.begin(), offsets.end());
        const bool leaving =
            (partition.releasing && partition.records == 0) || (drain_ != DrainPhase::kNone && live_ == 0);
        const std::size_t outcomes = offsets.size();
        auto commit = fitting_commit(partition, offsets, leaving);
        partition.metadata_full = !commit || commit->outcomes < outcomes;
        partition.starved = outcomes > 0 && (!commit || commit->outcomes == 0);
        for (std::size_t left = outcomes; left > (commit ? commit->outcomes : 0); --left)
            leave_for_later(next, SourcePosition{id, offsets[left - 1]});
        if (!commit) continue;
        if (broken(Variant::kCommitPastOpen)) commit = FittingCommit{0, partition.tracker.position(), {}};
        partition.dirty = false;
        if (leaving) partition.clean_committed = true;
        next.batch.offsets.push_back(PartitionCommit{id, partition.epoch, commit->offset, std::move(commit->metadata)});
        next.partitions.emplace_back(id, partition.epoch);
    }
}

// As many of the outcomes, lowest first, as the finished set leaves room for. The delivery counts give way only where
// not even one fits beside them: a ticket that kills workers may then try once more; losing the set would run tickets
// twice.
std::optional<Engine::FittingCommit> Engine::fitting_commit(const Partition& partition, std::vector<Offset> offsets,
                                                            bool leaving) const {
    const std::vector<Offset> all = offsets;
    for (const bool with_counts : {true, false}) {
        for (offsets = all;; offsets.pop_back()) {
            auto [offset, metadata] = partition.tracker.commit_with(offsets, leaving, with_counts);
            const bool fits = metadata.size() <= metadata_limit_;
            const bool enough = !offsets.empty() || all.empty() || !with_counts;
            if (fits && enough) return FittingCommit{offsets.size(), offset, std::move(metadata)};
            if (offsets.empty()) break;
        }
    }
    return std::nullopt;
}

void Engine::leave_for_later(InFlightBatch& next, SourcePosition position) {
    const auto entry = std::find_if(next.batch.settlements.begin(), next.batch.settlements.end(),
                                    [&](const auto& settlement) { return settlement->position == position; });
    const auto index = entry - next.batch.settlements.begin();
    const auto item = next.settled[static_cast<std::size_t>(index)];
    records_[item.first].in_batch = false;
    outbox_.push_back(item);
    next.batch.settlements.erase(entry);
    next.settled.erase(next.settled.begin() + index);
}

// Outcomes wait, and what keeps the finished set long is parked below them: it goes to the tail of its partition (rule
// 14). With everything of a partition that is in hand ended or re-queued the set is empty, so this comes to an end.
bool Engine::make_room_in_metadata() {
    bool moved = false;
    for (auto& [id, partition] : partitions_) {
        if (partition.starved && !partition.releasing) moved = requeue_lowest_parked(id) || moved;
    }
    return moved;
}

void Engine::on_commit(const CommitResult& result) {
    if (!batch_ || batch_->batch.number != result.number || recovering_) return;
    ports_.observer.commit_finished(result, batch_->batch.settlements.size(), ports_.clock.now() - batch_->started);
    const MonoTime now = ports_.clock.now();
    if (result.status == CommitStatus::kCommitted) {
        commit_failures_ = 0;
        sink_healthy_ = true;
        sink_error_.clear();
        return committed(result);
    }
    ++commit_failures_;
    if (result.error) sink_error_ = result.error->describe();
    switch (result.status) {
        case CommitStatus::kRetry:
            sink_healthy_ = false;
            batch_->waiting_to_retry = true;
            timers_.arm(now + options_.commit_retry, TimerKind::kCommitAgain);
            return;
        case CommitStatus::kAborted:
            sink_healthy_ = true;  // it answered; what was wrong is this batch
            return commit_aborted(result);
        case CommitStatus::kFatal:
            sink_healthy_ = false;
            recovering_ = true;
            ports_.sink.recover();
            return;
        case CommitStatus::kCommitted: return;
    }
}

void Engine::committed(const CommitResult& result) {
    const InFlightBatch batch = std::move(*batch_);
    batch_.reset();
    for (const auto& [id, epoch] : batch.partitions) {
        const auto found = partitions_.find(id);
        if (found != partitions_.end() && found->second.epoch == epoch) found->second.marked = true;
    }
    for (const PartitionCommit& commit : batch.batch.offsets)
        metadata_accepted_ = std::max(metadata_accepted_, commit.metadata.size());
    for (const auto& [slot, generation] : batch.settled) {
        if (live(slot, generation) != nullptr && records_[slot].state == State::kReporting) after_commit(slot, result);
    }
    for (const auto& [slot, generation] : batch.intents) {
        const TicketRecord* record = live(slot, generation);
        if (record == nullptr || record->state != State::kStarting || !record->active->intent_pending) continue;
        if (drain_ == DrainPhase::kNone) run(slot);
    }
}

void Engine::after_commit(Slot slot, const CommitResult& result) {
    TicketRecord& record = records_[slot];
    if (const auto found = partitions_.find(record.position.partition);
        found != partitions_.end() && found->second.epoch == record.epoch) {
        found->second.tracker.finish(record.position.offset);
    }
    move(slot, Event::kCommitted, "committed in batch " + std::to_string(result.number));
    if (!broken(Variant::kEffectsBeforeCommit)) public_effects(record);
    ports_.observer.ticket_settled(view(record), *record.active->settlement);
    free_record(slot);
}

// What others act on, in this order: status, then the known ending, then those who wait for it (rule 9).
void Engine::public_effects(TicketRecord& record) {
    const Settlement& settlement = *record.active->settlement;
    const NodeId node_id = record.node;
    const EpochMillis now = ports_.clock.wall_now();
    if (settlement.kind == SettlementKind::kSuppressed || node_id == kNoSlot) return;
    if (settlement.kind == SettlementKind::kRequeue) {
        DependencyIndex::Node& node = index_.at(node_id);
        set_known_open(node, true);
        if (node.waiters.size() > node.stale_waiters) ask_for(node_id);
        return;
    }
    const bool completed = settlement.kind == SettlementKind::kResult && is_success(settlement.outcome);
    std::string error =
        settlement.kind == SettlementKind::kDeadLetter ? settlement.dead_letter.error : settlement.result.error_message;
    ports_.tickets.update_status(StatusUpdate{settlement.ticket_id,
                                              completed ? TicketStatus::kCompleted : TicketStatus::kFailed, error,
                                              settlement.result.actual_duration_ms});
    if (settlement.compensation) {
        ports_.tickets.update_status(StatusUpdate{settlement.ticket_id, TicketStatus::kCompensating, error, 0});
    }
    if (ports_.leases != nullptr) {
        ports_.leases->mark_processed(
            settlement.ticket_id, completed ? TicketStatus::kCompleted : TicketStatus::kFailed, lease_position(record));
        record.leased = false;  // that gave it back
    }
    last_ended_at_ = now;
    ++(completed ? completed_ : failed_);
    if (settlement.outcome == Outcome::kCompleted || settlement.outcome == Outcome::kExecutionFailed ||
        settlement.outcome == Outcome::kTimeout) {
        constexpr std::size_t kWindow = 100;
        recent_endings_.emplace_back(completed, settlement.result.actual_duration_ms);
        if (recent_endings_.size() > kWindow) recent_endings_.pop_front();
    }
    constexpr std::size_t kDetail = 200;
    if (error.size() > kDetail) error.resize(kDetail);
    // When it was decided, not when its commit was acknowledged: a waiter that came in between is newer (rule 15).
    const EpochMillis decided_at = settlement.result.timestamp;
    index_.remember_ending(node_id, completed ? Ending::kCompleted : Ending::kFailed, decided_at, true,
                           completed ? std::string() : std::string(to_string(settlement.outcome)) + ": " + error);
    index_.at(node_id).in_hand = kNoSlot;
    if (completed) {
        dependency_completed(node_id);
    } else if (!index_.at(node_id).has_held()) {
        fail_waiters(node_id, MonoTime{}, false);
    }
    progress();
}

void Engine::commit_aborted(const CommitResult& result) {
    InFlightBatch batch = std::move(*batch_);
    batch_.reset();
    if (result.metadata_too_large)
        metadata_limit_ = std::max({kSmallestMetadataLimit, metadata_accepted_, metadata_limit_ / 2});
    for (const auto& [slot, generation] : batch.settled) {
        TicketRecord* record = live(slot, generation);
        if (record == nullptr) continue;
        const auto rejected =
            std::find_if(result.rejected.begin(), result.rejected.end(),
                         [&](const RejectedSettlement& entry) { return entry.position == record->position; });
        if (rejected == result.rejected.end()) continue;
        // One that is too large although nothing is left that could go waits like one whose topic is missing.
        constexpr std::int32_t kMostShrinks = 3;
        if (rejected->why == RejectedSettlement::Why::kTooLarge && record->active->too_large < kMostShrinks) {
            record->active->settlement = std::make_shared<Settlement>(*record->active->settlement);
            shrink(*record->active->settlement, ++record->active->too_large);
        } else {
            record->active->held_back = true;
        }
    }
    if (!broken(Variant::kForgetOnAbort)) put_back(batch);
    if (result.rejected.empty() && !result.metadata_too_large) {
        commit_paused_ = true;
        timers_.arm(ports_.clock.now() + options_.commit_retry, TimerKind::kCommitAgain);
    }
}

void Engine::put_back(const InFlightBatch& batch) {
    for (auto item = batch.settled.rbegin(); item != batch.settled.rend(); ++item) {
        TicketRecord* record = live(item->first, item->second);
        if (record == nullptr || record->state != State::kReporting) continue;
        record->in_batch = false;
        if (record->active->held_back) {
            if (held_back_.empty())
                timers_.arm(ports_.clock.now() + options_.commit_retry * 4, TimerKind::kTargetAgain);
            held_back_.push_back(*item);
        } else {
            outbox_.push_front(*item);
        }
    }
    intents_due_.insert(intents_due_.end(), batch.intents.begin(), batch.intents.end());
    for (const AttemptEnd& end : batch.batch.attempt_ends)
        attempt_ends_due_.push_back(end);
    for (const auto& [id, epoch] : batch.partitions) {
        const auto found = partitions_.find(id);
        if (found == partitions_.end() || found->second.epoch != epoch) continue;
        found->second.dirty = true;
        found->second.clean_committed = false;
    }
}

// The sink was rebuilt and says what is settled. What is already there happened; the rest is sent again. Nothing is
// executed again (rule 6).
void Engine::on_recovered(const SinkRecovered& recovered) {
    if (!recovering_) return;
    recovering_ = false;
    sink_healthy_ = true;
    sink_error_.clear();
    if (!batch_) return;
    InFlightBatch batch = std::move(*batch_);
    batch_.reset();
    CommitResult happened;
    happened.number = batch.batch.number;
    for (const auto& [slot, generation] : batch.settled) {
        const TicketRecord* record = live(slot, generation);
        if (record == nullptr || record->state != State::kReporting || broken(Variant::kResendAfterFatal)) continue;
        const auto partition = std::find_if(
            recovered.partitions.begin(), recovered.partitions.end(), [&](const RecoveredPartition& entry) {
                return entry.partition == record->position.partition && entry.epoch == record->epoch;
            });
        if (partition == recovered.partitions.end()) continue;
        OffsetTracker settled(partition->committed);
        if (const auto metadata = decode_offset_metadata(partition->committed, partition->metadata))
            settled.restore(*metadata);
        if (settled.is_finished(record->position.offset)) after_commit(slot, happened);
    }
    put_back(batch);
}

// A result that its topic refuses shrinks: first its logs and output, then to what must be said.
void Engine::shrink(Settlement& settlement, std::int32_t times) {
    if (settlement.kind != SettlementKind::kResult) {
        constexpr std::size_t kSmall = 16 * 1024;
        if (settlement.kind == SettlementKind::kDeadLetter && settlement.payload.size() > kSmall)
            settlement.payload.resize(kSmall);
        return;
    }
    ExecutionResult& result = settlement.result;
    if (times == 1) {
        bound(result, kMaxResultBytes / 8);
    } else {
        result.output.clear();
        result.logs.clear();
        bound(result, 4096);
    }
    result.metadata["truncated"] = "true";
}

void Engine::hold(DependencyIndex::Node& node, Slot slot) {
    if (!node.has_held()) {
        node.first_held = slot;
        return;
    }
    Slot last = node.first_held;
    while (records_[last].next_held != kNoSlot)
        last = records_[last].next_held;
    records_[last].next_held = slot;
}

void Engine::let_go(DependencyIndex::Node& node, Slot slot) {
    const Slot next = std::exchange(records_[slot].next_held, kNoSlot);
    if (node.first_held == slot) {
        node.first_held = next;
        return;
    }
    for (Slot at = node.first_held; at != kNoSlot; at = records_[at].next_held) {
        if (records_[at].next_held != slot) continue;
        records_[at].next_held = next;
        return;
    }
}

// The record that stood in front of others of the same id is gone: the oldest of them is decided about now.
void Engine::release_held(NodeId node_id) {
    DependencyIndex::Node& node = index_.at(node_id);
    if (!node.has_held()) return;
    const Slot slot = node.first_held;
    let_go(node, slot);
    move(slot, Event::kFirstCopyEnded, "the other record of this ticket ended");
    accept(slot);
}

}  // namespace wa
