// What attempts do: slow, failing, lying, deadly, or running elsewhere and outliving their worker.
#include <algorithm>
#include <utility>

#include "simulation/world_ports.h"

namespace wa::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::unique_ptr<RunningAttempt> World::start_attempt(Worker& worker, const AttemptContext& context,
                                                     AttemptListener& listener) {
    const std::string& id = context.ticket->ticket_id;
    const Behaviour& behaviour = behaviours_.at(id);
    note("w" + std::to_string(worker.index) + " starts " + context.name);
    ++starts_[id];
    for (const std::string& dependency : context.ticket->dependencies) {
        if (!has_ending(dependency, true) && !again_asked_.contains(dependency))
            violated("order: " + id + " started before its dependency " + dependency + " completed");
    }
    for (const auto& [serial, other] : live_) {
        if (other.id == id && !other.unstoppable && (other.worker != worker.index || other.number == context.number)) {
            violated("one attempt: " + id + " started while it was running on w" + std::to_string(other.worker));
        }
    }
    const std::uint64_t serial = next_serial_++;
    live_[serial] = Live{worker.index,
                         worker.incarnation,
                         context.key,
                         id,
                         clock_.now(),
                         context.deadline,
                         {},
                         false,
                         behaviour.simulated,
                         context.number,
                         &listener,
                         serial,
                         false,
                         {}};
    auto attempt = std::make_unique<Attempt>(*this, serial);
    if (behaviour.remote) {
        attach_remote(worker, context, serial);
        return attempt;
    }
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

// What an executor of remote work does (ports/executor.h): work of this ticket that still runs is attached to, whatever
// number it was begun under; then what was made under this very name; only then something new is begun.
void World::attach_remote(Worker& worker, const AttemptContext& context, std::uint64_t serial) {
    const std::string& id = context.ticket->ticket_id;
    const Behaviour& behaviour = behaviours_.at(id);
    const auto is_over = [&](const RemoteWork& work) {
        return work.report || (work.ends && *work.ends <= clock_.now());
    };
    auto work = std::find_if(remote_.begin(), remote_.end(), [&](const auto& entry) {
        return entry.second.id == id && !is_over(entry.second) && !behaviour.ignores_stop;
    });
    if (work == remote_.end()) work = remote_.find(context.name);
    if (work == remote_.end()) {
        work = remote_.try_emplace(context.name, RemoteWork{id, {}, {}}).first;
        if (!behaviour.hangs) work->second.ends = clock_.now() + behaviour.takes + Duration(1);
    } else {
        mark(is_over(work->second) ? "adopted_when_over" : "adopted");
        if (work->first != context.name) mark("adopted_other_number");
    }
    live_.at(serial).remote = work->first;
    if (!work->second.ends) return;
    const Duration left = std::max(*work->second.ends - clock_.now(), Duration(1));
    on_worker(worker.index, left, [this, serial](Worker&) {
        const auto found = live_.find(serial);
        if (found == live_.end() || found->second.stopping) return;
        const auto over = remote_.find(found->second.remote);
        if (over == remote_.end()) {  // an earlier attempt that would not stop has taken it along at last
            AttemptReport gone;
            gone.error =
                make_error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kService, "remote", "is gone");
            return end_attempt(serial, std::move(gone));
        }
        if (!over->second.report) over->second.report = report_for(found->second);
        end_attempt(serial, *over->second.report);
    });
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
        remote_.erase(stopped->second.remote);  // a stopped Job is deleted
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

}  // namespace wa::sim
