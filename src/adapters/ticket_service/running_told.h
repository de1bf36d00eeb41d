// Which tickets this worker called RUNNING last, so that it is this worker who puts it right when somebody else ended
// them: one that was suspended, or whose call was repeated, may say RUNNING after the ending of whoever took its
// partition over (cluster-rule 9: a status that was lost is repaired). Pure, bounded.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "ports/ticket_service.h"

namespace wa::ticket_service {

class RunningTold {
public:
    // How long after an ending was read it is said: an own one has been told of by then.
    static constexpr Duration kPatience = std::chrono::seconds(2);

    // The oldest of more than `most` tickets are forgotten.
    explicit RunningTold(std::size_t most = 100'000) : most_(most) {}

    // This worker says so to the ticket service at `wall`.
    void told(const StatusUpdate& update, EpochMillis wall);
    // The results have this ending, of whomever.
    void seen(const EndingSeen& ending, MonoTime now);
    // What is to be said once more now.
    [[nodiscard]] std::vector<EndingSeen> due(MonoTime now);
    [[nodiscard]] std::size_t size() const { return running_.size(); }

private:
    struct Due {
        MonoTime at{};
        EndingSeen ending;
    };
    std::size_t most_;
    std::unordered_map<std::string, EpochMillis> running_;      // when it was last called so
    std::deque<std::pair<EpochMillis, std::string>> in_order_;  // stale where running_ says something else
    std::deque<Due> due_;
};

}  // namespace wa::ticket_service
