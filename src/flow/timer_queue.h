// The engine's own timers: due in order of time, then of arming, so that the same history always fires them alike.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/clock.h"

namespace wa {

enum class TimerKind : std::uint8_t {
    kTicketDeadline,
    kAttemptLimit,
    kStopOverdue,  // the executor did not stop in time
    kBackoffOver,
    kCommitAgain,
    kTargetAgain,  // a held-back result may be tried again (rule 8)
    kLookup,
    kIntakeAgain,  // the ticket service may have caught up
    kDrainGrace,
    kDrainCommits,    // what is decided has had its time to be committed
    kReleaseOverdue,  // a revoked partition has waited long enough for its attempts
};

struct Timer {
    MonoTime at{};
    std::uint64_t sequence = 0;
    TimerKind kind = TimerKind::kLookup;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
    std::uint64_t stamp = 0;  // a timer whose stamp is no longer current is ignored when it fires
};

class TimerQueue {
public:
    void arm(MonoTime at, TimerKind kind, std::uint32_t slot = 0, std::uint32_t generation = 0,
             std::uint64_t stamp = 0) {
        heap_.push_back(Timer{at, next_sequence_++, kind, slot, generation, stamp});
        std::push_heap(heap_.begin(), heap_.end(), Later{});
    }
    [[nodiscard]] std::optional<MonoTime> next_due() const {
        if (heap_.empty()) return std::nullopt;
        return heap_.front().at;
    }
    std::optional<Timer> pop_due(MonoTime now) {
        if (heap_.empty() || heap_.front().at > now) return std::nullopt;
        std::pop_heap(heap_.begin(), heap_.end(), Later{});
        const Timer timer = heap_.back();
        heap_.pop_back();
        return timer;
    }
    [[nodiscard]] std::size_t size() const { return heap_.size(); }
    // Timers are not taken back one by one when a ticket ends; this forgets all that `live` no longer wants.
    template <class Live>
    void compact(const Live& live) {
        std::erase_if(heap_, [&](const Timer& timer) { return !live(timer); });
        std::make_heap(heap_.begin(), heap_.end(), Later{});
    }

private:
    struct Later {
        bool operator()(const Timer& a, const Timer& b) const {
            return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
        }
    };
    std::vector<Timer> heap_;
    std::uint64_t next_sequence_ = 0;
};

}  // namespace wa
