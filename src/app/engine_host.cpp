#include "app/engine_host.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace wa::app {
namespace {

Error stopped() {
    return make_error(ErrorCode::kUnavailable, Retry::kNever, Fault::kWorker, "engine", "the worker is stopping");
}

}  // namespace

void EngineHost::feed(EngineInput input) {
    if (!engine_) return;
    engine_->handle(std::move(input));
}

void EngineHost::arm() {
    if (!engine_) return;
    const auto due = engine_->next_due();
    if (!due || (armed_for_ && *armed_for_ <= *due)) return;
    armed_for_ = *due;
    timer_.expires_at(*due);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (error) return;  // armed anew for something earlier, or the host is going away
        armed_for_.reset();
        feed(TimePassed{});
    });
}

void EngineHost::cancel(CancelRequest request, std::function<void(Result<CancelAnswer>)> answer) {
    boost::asio::post(loop_, [this, request = std::move(request), answer = std::move(answer)]() mutable {
        if (!engine_) return answer(Failure(stopped()));
        feed(CancelTicket{std::move(request), std::move(answer)});
    });
}

void EngineHost::completed_outside(std::string ticket_id, EpochMillis at) {
    boost::asio::post(loop_, [this, id = std::move(ticket_id), at] {
        // The ending first: what waits is told "completed" before the copy in hand ends as cancelled.
        feed(EndingSeen{id, true, at, {}});
        CancelRequest drop;
        drop.ticket_id = id;
        drop.reason = "completed from outside";
        drop.on_arrival = false;
        feed(CancelTicket{std::move(drop), {}});
    });
}

void EngineHost::explain(std::string ticket_id, std::function<void(Result<Explanation>)> answer) {
    boost::asio::post(loop_, [this, id = std::move(ticket_id), answer = std::move(answer)] {
        answer(engine_ ? engine_->explain(id) : Result<Explanation>(Failure(stopped())));
    });
}

void EngineHost::snapshot(std::function<void(EngineSnapshot)> answer) {
    boost::asio::post(loop_,
                      [this, answer = std::move(answer)] { answer(engine_ ? engine_->snapshot() : EngineSnapshot{}); });
}

void EngineHost::drain(bool now, std::string reason) {
    boost::asio::post(loop_,
                      [this, now, reason = std::move(reason)]() mutable { feed(StartDrain{now, std::move(reason)}); });
}

void EngineHost::undrain(std::function<void(Result<void>)> answer) {
    boost::asio::post(loop_, [this, answer = std::move(answer)]() mutable {
        if (!engine_) return answer(Failure(stopped()));
        feed(StopDrain{std::move(answer)});
    });
}

}  // namespace wa::app
