#include "adapters/kafka/retirement.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace wa::kafka {

struct Retirement::State {
    std::mutex mutex;
    std::condition_variable ended;
    std::size_t pending = 0;
};

std::shared_ptr<Retirement::State> Retirement::make_state() {
    return std::make_shared<State>();
}

void Retirement::add(std::shared_ptr<Client> client) {
    if (!client) return;
    client->mute();
    {
        const std::lock_guard lock(state_->mutex);
        ++state_->pending;
    }
    std::thread([state = state_, client = std::move(client)]() mutable {
        // Whoever still holds it would wait in our place.
        while (client.use_count() > 1)
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        client.reset();
        const std::lock_guard lock(state->mutex);
        --state->pending;
        state->ended.notify_all();
    }).detach();
}

std::size_t Retirement::pending() const {
    const std::lock_guard lock(state_->mutex);
    return state_->pending;
}

std::size_t Retirement::close(Duration limit) {
    std::unique_lock lock(state_->mutex);
    state_->ended.wait_for(lock, limit, [this] { return state_->pending == 0; });
    return state_->pending;
}

}  // namespace wa::kafka
