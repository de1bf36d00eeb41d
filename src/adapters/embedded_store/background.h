// A thread of the store's own for reads that nobody may wait for, and one for the copy that a backup makes. Private.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "adapters/embedded_store/store.h"

namespace wa::store {

// Runs tasks one after the other. Tasks that are still waiting at stop() are dropped.
class Background {
public:
    explicit Background(const char* name, std::size_t most_waiting);
    ~Background() { stop(); }
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;
    // False: too many are waiting, or it was stopped.
    [[nodiscard]] bool run(std::function<void()> task);
    // For a task that has to wait: returns early when the thread is to stop.
    void pause(Duration time);
    void stop();

private:
    void loop();

    const char* name_;
    const std::size_t most_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> tasks_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace wa::store
