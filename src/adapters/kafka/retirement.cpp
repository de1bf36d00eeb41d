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

std::shared_ptr<Client> Retirement::share(std::unique_ptr<Client> client) {
    return {client.release(), [state = state_](Client* last) { destroy(state, std::unique_ptr<Client>(last)); }};
}

void Retirement::destroy(const std::shared_ptr<State>& state, std::unique_ptr<Client> client) {
    if (!client) return;
    client->mute();
    {
        const std::lock_guard lock(state->mutex);
        ++state->pending;
    }
    std::thread([state, last = std::move(client)]() mutable {
        last.reset();
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
