// How long a client has had no answer. The client library may end every connection and never make another one: after a
// list of brokers that was empty, as one that shuts down gives it, it knows none and asks none (seen with 2.12.1; the
// library's issue 5301). Only a client that is made anew begins with the bootstrap servers again.
// Pure.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/clock.h"
#include "base/error.h"

namespace wa::kafka {

// Whether brokers said so themselves.
[[nodiscard]] inline bool is_answer(const Error& error) {
    return error.code != ErrorCode::kUnavailable && error.code != ErrorCode::kTimeout;
}

class Silence {
public:
    void answered() {
        since_.reset();
        patience_ = kFirstPatience;
    }
    // A question that was asked at `asked` has failed. True: there has been no answer for so long that the client
    // should be made anew; the next one is given twice the time, up to five minutes, until something answers.
    [[nodiscard]] bool failed(MonoTime asked, MonoTime now) {
        if (!since_) since_ = asked;
        if (now - *since_ < patience_) return false;
        since_ = now;
        patience_ = std::min<Duration>(patience_ * 2, kLastPatience);
        return true;
    }

private:
    static constexpr Duration kFirstPatience = std::chrono::seconds(15);
    static constexpr Duration kLastPatience = std::chrono::minutes(5);

    std::optional<MonoTime> since_;
    Duration patience_ = kFirstPatience;
};

}  // namespace wa::kafka
