// For tests only: writes down what a client tells of its calls, and gives them what the test wants them to carry.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/trace/call_watch.h"

namespace wa::testing {

struct NotedCall {
    CallPurpose purpose;
    OutgoingCall::Protocol protocol = OutgoingCall::Protocol::kHttp;
    std::string method;
    std::string subject;
    std::string host;
    std::uint16_t port = 0;
    int ended = 0;          // times
    bool given_up = false;  // destroyed without an end
    std::optional<int> status{};
    std::optional<Error> error{};
};

class NotedCalls final : public CallWatch {
public:
    std::vector<std::shared_ptr<NotedCall>> calls;
    CarriedHeaders carry;
    bool cares_for_the_end = true;

    std::unique_ptr<WatchedCall> begin(const CallPurpose& purpose, const OutgoingCall& call,
                                       CarriedHeaders& headers) override {
        headers.insert(headers.end(), carry.begin(), carry.end());
        auto noted = std::make_shared<NotedCall>();
        noted->purpose = purpose;
        noted->protocol = call.protocol;
        noted->method = call.method;
        noted->subject = call.subject;
        noted->host = call.host;
        noted->port = call.port;
        calls.push_back(noted);
        return cares_for_the_end ? std::make_unique<Handle>(std::move(noted)) : nullptr;
    }
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> names;
        for (const auto& call : calls)
            names.push_back(call->purpose.name);
        return names;
    }
    [[nodiscard]] std::vector<std::string> names_of(const std::string& ticket_id) const {
        std::vector<std::string> names;
        for (const auto& call : calls) {
            if (call->purpose.ticket_id == ticket_id) names.push_back(call->purpose.name);
        }
        return names;
    }

private:
    class Handle final : public WatchedCall {
    public:
        explicit Handle(std::shared_ptr<NotedCall> noted) : noted_(std::move(noted)) {}
        ~Handle() override { noted_->given_up = noted_->ended == 0; }
        Handle(const Handle&) = delete;
        Handle& operator=(const Handle&) = delete;
        void ended(const CallEnd& end) override {
            ++noted_->ended;
            noted_->status = end.status;
            if (end.error != nullptr) noted_->error = *end.error;
        }

    private:
        std::shared_ptr<NotedCall> noted_;
    };
};

}  // namespace wa::testing
