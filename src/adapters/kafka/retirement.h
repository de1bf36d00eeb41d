// Where clients of Kafka end: destroying one waits for its threads, which may take long, or for ever (seen with 2.12.1:
// a consumer whose group has an assignment under way that brokers no longer speak of). No loop may wait for that.
//
// Threading: any thread; each client is destroyed on a thread of its own.
#pragma once

#include <cstddef>
#include <memory>

#include "adapters/kafka/client.h"
#include "base/clock.h"

namespace wa::kafka {

class Retirement {
public:
    // Shared by those who use it; with the last of them it becomes silent and is destroyed elsewhere.
    [[nodiscard]] std::shared_ptr<Client> share(std::unique_ptr<Client> client);
    // Those that are not destroyed yet.
    [[nodiscard]] std::size_t pending() const;
    // So many do not end, each with its threads and memory, that no client should be made in another's place.
    [[nodiscard]] bool full() const { return pending() >= kMost; }
    // Waits for them, for `limit` at most. How many are left: their threads go on until the process ends.
    [[nodiscard]] std::size_t close(Duration limit);

private:
    static constexpr std::size_t kMost = 16;
    struct State;
    static std::shared_ptr<State> make_state();
    static void destroy(const std::shared_ptr<State>& state, std::unique_ptr<Client> client);

    std::shared_ptr<State> state_ = make_state();  // shared with clients and their last threads
};

}  // namespace wa::kafka
