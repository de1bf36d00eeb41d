#include "grpc_client/caller.h"

#include <condition_variable>
#include <mutex>
#include <unordered_map>

#include "core/codec/text.h"

namespace wa::rpc {
namespace {

constexpr std::size_t kMaxDetailCharacters = 300;

struct Meaning {
    const char* name;
    ErrorCode code;
    Retry retry;
    Fault fault;
};

Meaning meaning_of(grpc::StatusCode code) {
    switch (code) {
        case grpc::StatusCode::UNAVAILABLE:
            return {"UNAVAILABLE", ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService};
        case grpc::StatusCode::RESOURCE_EXHAUSTED:
            return {"RESOURCE_EXHAUSTED", ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService};
        case grpc::StatusCode::ABORTED:
            return {"ABORTED", ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService};
        case grpc::StatusCode::DEADLINE_EXCEEDED:
            return {"DEADLINE_EXCEEDED", ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kService};
        case grpc::StatusCode::NOT_FOUND: return {"NOT_FOUND", ErrorCode::kNotFound, Retry::kNever, Fault::kService};
        case grpc::StatusCode::ALREADY_EXISTS:
            return {"ALREADY_EXISTS", ErrorCode::kConflict, Retry::kNever, Fault::kService};
        case grpc::StatusCode::FAILED_PRECONDITION:
            return {"FAILED_PRECONDITION", ErrorCode::kConflict, Retry::kNever, Fault::kService};
        case grpc::StatusCode::INVALID_ARGUMENT:
            return {"INVALID_ARGUMENT", ErrorCode::kInvalidArgument, Retry::kNever, Fault::kWorker};
        case grpc::StatusCode::OUT_OF_RANGE:
            return {"OUT_OF_RANGE", ErrorCode::kInvalidArgument, Retry::kNever, Fault::kWorker};
        case grpc::StatusCode::UNAUTHENTICATED:
            return {"UNAUTHENTICATED", ErrorCode::kNotAllowed, Retry::kNever, Fault::kService};
        case grpc::StatusCode::PERMISSION_DENIED:
            return {"PERMISSION_DENIED", ErrorCode::kNotAllowed, Retry::kNever, Fault::kService};
        case grpc::StatusCode::UNIMPLEMENTED:
            return {"UNIMPLEMENTED", ErrorCode::kUnsupported, Retry::kNever, Fault::kService};
        case grpc::StatusCode::CANCELLED:
            return {"CANCELLED", ErrorCode::kCancelled, Retry::kAfterBackoff, Fault::kService};
        case grpc::StatusCode::INTERNAL:
            return {"INTERNAL", ErrorCode::kInternal, Retry::kAfterBackoff, Fault::kService};
        case grpc::StatusCode::DATA_LOSS:
            return {"DATA_LOSS", ErrorCode::kInternal, Retry::kAfterBackoff, Fault::kService};
        default: return {"UNKNOWN", ErrorCode::kInternal, Retry::kAfterBackoff, Fault::kService};
    }
}

// Of "host:port" and "[address]:port"; another kind of target is left whole.
std::pair<std::string_view, std::uint16_t> host_and_port(std::string_view target) {
    const auto colon = target.rfind(':');
    const auto port = colon == std::string_view::npos ? std::nullopt : parse_whole_number(target.substr(colon + 1));
    if (!port || *port < 1 || *port > 65'535) return {target, std::uint16_t{0}};
    std::string_view host = target.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    return {host, static_cast<std::uint16_t>(*port)};
}

}  // namespace

Error error_of(const grpc::Status& status, std::string_view what) {
    const Meaning meaning = meaning_of(status.error_code());
    std::string message = std::string(what) + ": " + meaning.name;
    if (!status.error_message().empty()) {
        message += ": " + lossy_utf8(status.error_message(), kMaxDetailCharacters);
    }
    return make_error(meaning.code, meaning.retry, meaning.fault, "grpc", std::move(message));
}

class Outstanding {
public:
    void enter(const std::shared_ptr<CallState>& state) {
        const std::lock_guard lock(mutex_);
        calls_.emplace(state.get(), state);
    }
    void leave(const CallState* state) {
        std::shared_ptr<CallState> last;  // released after the lock
        const std::lock_guard lock(mutex_);
        const auto found = calls_.find(state);
        if (found == calls_.end()) return;
        last = std::move(found->second);
        calls_.erase(found);
        if (calls_.empty()) none_left_.notify_all();
    }
    // Loop thread.
    void end_all() {
        std::unique_lock lock(mutex_);
        std::vector<std::shared_ptr<CallState>> open;
        open.reserve(calls_.size());
        for (const auto& call : calls_)
            open.push_back(call.second);
        lock.unlock();
        for (const auto& state : open)
            state->cancel();
        lock.lock();
        none_left_.wait(lock, [this] { return calls_.empty(); });
    }

private:
    std::mutex mutex_;
    std::condition_variable none_left_;
    std::unordered_map<const CallState*, std::shared_ptr<CallState>> calls_;
};

Caller::Caller(boost::asio::io_context& loop, CallWatch* watch)
    : loop_(loop), watch_(watch), outstanding_(std::make_shared<Outstanding>()) {}

Caller::~Caller() {
    outstanding_->end_all();
}

void Caller::later(std::function<void()> work) {
    boost::asio::post(loop_, [work = std::move(work), alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) work();
    });
}

void Caller::watch(CallState& state, const CallOptions& options) const {
    const auto [host, port] = host_and_port(options.target);
    OutgoingCall call;
    call.protocol = OutgoingCall::Protocol::kGrpc;
    call.method = options.method;
    call.subject = options.service;
    call.host = host;
    call.port = port;
    CarriedHeaders carry;
    state.watched = watch_->begin(options.purpose, call, carry);
    for (const auto& [name, value] : carry)
        state.context.AddMetadata(name, value);
}

void Caller::enter(const std::shared_ptr<CallState>& state) {
    outstanding_->enter(state);
}

void Caller::leave(const std::shared_ptr<Outstanding>& outstanding, const CallState* state) {
    outstanding->leave(state);
}

}  // namespace wa::rpc
