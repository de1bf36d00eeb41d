// Unary calls whose completion comes to the event loop.
//
// gRPC answers on threads of its own; the answer is posted to the loop and `done` is called there, once, never from
// inside call(). Destroying the Call cancels it: nothing is called any more. Destroying the Caller cancels all of its
// calls and waits until gRPC has let go of them (milliseconds), so that nothing is posted to a loop that is gone.
//
// Errors: kUnavailable (cannot be reached, broken off, refused for now; retryable), kTimeout (retryable), kNotFound,
// kInvalidArgument, kNotAllowed (credentials), kUnsupported (the method is not there), kConflict, kCancelled (by the
// server), kInternal with Fault::kService (retryable: a server's internal error or one it cannot name).
// Whoever watches calls is told of each one, and may add metadata. Messages hold the status' name and its text,
// clipped.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "core/trace/call_watch.h"
#include "grpc_client/channel.h"

namespace wa::rpc {

// `what` names the call for people: "Heartbeat at registry:50051".
[[nodiscard]] Error error_of(const grpc::Status& status, std::string_view what);

struct CallOptions {
    Duration timeout = std::chrono::seconds(5);
    std::vector<std::pair<std::string, std::string>> metadata{};  // lower-case keys; values may be secret
    // For those who watch.
    std::string service{};  // full name
    std::string method{};
    std::string target{};  // "host:port"
    CallPurpose purpose{};
};

// What is shared between the loop and gRPC's threads.
class CallState {
public:
    CallState() = default;
    virtual ~CallState() = default;
    CallState(const CallState&) = delete;
    CallState& operator=(const CallState&) = delete;

    // Loop thread. Nothing is called after it.
    void cancel() {
        ended_ = true;
        watched.reset();
        drop();
        context.TryCancel();
    }
    [[nodiscard]] bool ended() const { return ended_; }

    grpc::ClientContext context{};
    std::unique_ptr<WatchedCall> watched{};  // loop thread only; null: nobody watches, or it is over

protected:
    virtual void drop() = 0;
    bool ended_ = false;  // loop thread only
};

// A call under way. Empty after a move.
class [[nodiscard]] Call {
public:
    Call() = default;
    explicit Call(std::shared_ptr<CallState> state) : state_(std::move(state)) {}
    Call(Call&& other) noexcept : state_(std::move(other.state_)) {}
    Call& operator=(Call&& other) noexcept {
        if (this != &other) {
            cancel();
            state_ = std::move(other.state_);
        }
        return *this;
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() { cancel(); }

    void cancel() {
        if (const auto state = std::move(state_); state && !state->ended()) state->cancel();
    }
    // Neither ended nor cancelled.
    [[nodiscard]] bool active() const { return state_ && !state_->ended(); }

private:
    std::shared_ptr<CallState> state_;
};

// Counts calls that gRPC still holds.
class Outstanding;

class Caller {
public:
    // `watch` must outlive it; null = nobody.
    explicit Caller(boost::asio::io_context& loop, CallWatch* watch = nullptr);
    ~Caller();
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;

    // `start(context, request, response, completion)` begins the call on a stub's async() interface:
    //     caller.call<Response>(channel, "Heartbeat", request, options,
    //         [](auto& channel, auto*... arguments) { … }, done)
    template <class Response, class Request, class Start>
    Call call(std::string what, Request request, const CallOptions& options, Start start,
              std::function<void(Result<Response>)> done);

    // Runs `work` on the loop, later, unless the Caller is gone by then: for a call that could not even be made.
    void later(std::function<void()> work);

private:
    void watch(CallState& state, const CallOptions& options) const;
    void enter(const std::shared_ptr<CallState>& state);
    static void leave(const std::shared_ptr<Outstanding>& outstanding, const CallState* state);

    boost::asio::io_context& loop_;
    CallWatch* watch_;
    std::shared_ptr<Outstanding> outstanding_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // an answer that is on its way asks for it
};

template <class Request, class Response>
class UnaryState final : public CallState {
public:
    std::string what{};
    Request request{};
    Response response{};
    std::function<void(Result<Response>)> done{};

    void finish(const grpc::Status& status) {
        if (ended_) return;
        ended_ = true;
        const auto last = std::exchange(done, nullptr);
        const auto told = std::exchange(watched, nullptr);
        if (status.ok()) {
            if (told) told->ended({status.error_code(), nullptr});
            return last(std::move(response));
        }
        Error error = error_of(status, what);
        if (told) told->ended({status.error_code(), &error});
        last(tl::unexpected(std::move(error)));
    }

private:
    void drop() override { done = nullptr; }
};

template <class Response, class Request, class Start>
Call Caller::call(std::string what, Request request, const CallOptions& options, Start start,
                  std::function<void(Result<Response>)> done) {
    auto state = std::make_shared<UnaryState<Request, Response>>();
    state->what = std::move(what);
    state->request = std::move(request);
    state->done = std::move(done);
    // gRPC counts against its own clock; only the length of the wait matters.
    state->context.set_deadline(
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(options.timeout.count(), GPR_TIMESPAN)));
    for (const auto& [key, value] : options.metadata)
        state->context.AddMetadata(key, value);
    if (watch_ != nullptr) watch(*state, options);
    enter(state);
    start(&state->context, &state->request, &state->response,
          [state, &loop = loop_, outstanding = outstanding_, alive = std::weak_ptr<bool>(alive_)](grpc::Status status) {
              boost::asio::post(loop, [state, alive, status = std::move(status)] {
                  if (!alive.expired()) state->finish(status);
              });
              leave(outstanding, state.get());
          });
    return Call(std::move(state));
}

}  // namespace wa::rpc
