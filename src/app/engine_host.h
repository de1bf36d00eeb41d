// The engine on a real event loop: feeds it inputs, wakes it when its next timer is due, answers questions from other
// threads.
//
// Threading: made, fed and destroyed on the loop; the calls of EngineControl come from any thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>

#include "flow/engine.h"

namespace wa::app {

class EngineHost final : public EngineControl {
public:
    explicit EngineHost(boost::asio::io_context& loop) : loop_(loop), timer_(loop) {}
    ~EngineHost() override { timer_.cancel(); }

    // The ports deliver through feed(), so they are made first and the engine after them.
    void adopt(std::unique_ptr<Engine> engine) { engine_ = std::move(engine); }
    // Ends the engine; what is posted later finds nobody.
    void drop() { engine_.reset(); }
    void feed(EngineInput input);
    // Wakes the engine when its next timer is due; to be called after each input (EnginePorts::handled).
    void arm();
    [[nodiscard]] Engine* engine() { return engine_.get(); }

    void cancel(CancelRequest request, std::function<void(Result<CancelAnswer>)> answer) override;
    void completed_outside(std::string ticket_id, EpochMillis at) override;
    void explain(std::string ticket_id, std::function<void(Result<Explanation>)> answer) override;
    void snapshot(std::function<void(EngineSnapshot)> answer) override;
    void drain(bool now, std::string reason) override;
    void undrain(std::function<void(Result<void>)> answer) override;

private:
    boost::asio::io_context& loop_;
    boost::asio::steady_timer timer_;
    std::optional<MonoTime> armed_for_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace wa::app
