// Calls to one endpoint with one policy: when to try again, when to leave it in peace, how many at a time.
//
// - Turn: at most `calls` (and `streams`) are out at a time; others wait in a bounded queue, first come first served.
// - Time: a call ends by its deadline, whatever it waits for: its turn, the other side, the next try.
// - Next try: for what may pass by itself (verdict.h), when twice is the same as once (the method, or the caller's
// word),
//   or when the request was certainly not acted upon; after a wait with jitter, or the one that the other side asks for
//   (Retry-After, X-RateLimit-Reset). A wait that would end after the deadline is not begun.
// - Budget: all calls together repeat at most so often (core/retry/retry_budget.h).
// - Breaker: after so many failures to reach it in a row nothing is sent for a while; then one call tries.
// - Hold: when it asks for time (429, 503 with Retry-After), nothing is sent before that is over.
// - Unknown: a call whose request went out, that has no answer, and that must not be done twice is never repeated: the
//   answer says outcome_unknown, its error is not retryable. Look up what became of it first.
// - Credential: a 401 is tried once more at once, when prepare() has other headers by then (a token was rotated).
//
// Threading: loop thread. Nothing is called from inside call(); a callback may destroy its call or the whole caller.
// Each try is a call of its own for who watches the client (CallPurpose::retry counts them).
// Rules: contract/executors.md 1.5, field.md rows 44 and 50, style/models.md 1.1 (retry_chain_node).
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"
#include "core/retry/backoff.h"
#include "core/retry/circuit_breaker.h"
#include "core/retry/retry_budget.h"
#include "http_client/http_client.h"

namespace wa::http {

struct ServicePolicy {
    std::string name = "service";  // in errors and for the listener: "docker", "k8s"; of a short list
    std::int32_t attempts = 3;     // of one call, the first included
    BackoffPolicy backoff{std::chrono::milliseconds(250), std::chrono::seconds(10)};
    RetryBudgetOptions budget{};
    std::int32_t breaker_failures = 5;
    Duration breaker_pause = std::chrono::seconds(30);
    std::size_t calls = 32;
    std::size_t streams = 256;
    std::size_t queue = 1024;  // of each kind, that wait for a turn or a next try
};

enum class Repeat : std::uint8_t { kByMethod, kAlways, kNever };

struct ServiceCall {
    Request request{};    // its timeout is that of one try
    MonoTime deadline{};  // of all; epoch = none
    Repeat repeat = Repeat::kByMethod;
    std::int32_t attempts = 0;  // 0 = as the policy says
    // Called on a copy of the request before each try: signatures and tokens that do not last. An error ends the call.
    std::function<Result<void>(Request&)> prepare{};
    // The body goes here, once it is clear that this is the answer: bodies of tries that are repeated are swallowed.
    std::optional<StreamReader> reader{};
};

struct ServiceAnswer {
    Result<Response> result{};
    // A request went out, and whether it was acted upon is not known. Never with an answer of the service itself.
    bool outcome_unknown = false;
    std::int32_t attempts = 0;  // that went out
    Duration waited{};          // for its turn and for next tries
};

// One try that is over. Views into the caller, valid while it is told.
struct ServiceTry {
    std::string_view service;
    std::string_view method;  // of HTTP
    std::string_view name;    // Request::purpose's; may be empty
    int status = 0;           // 0 = there was no answer
    Duration took{};
    bool stream = false;  // it lasted as long as somebody listened
};

// Who counts. Called from inside; must not call back.
class ServiceListener {
public:
    virtual ~ServiceListener() = default;
    // Given up ones are not told.
    virtual void tried(const ServiceTry& over) = 0;
    // "connect", "timeout", "429", …
    virtual void retried(const std::string& service, std::string_view reason) = 0;
    virtual void breaker_changed(const std::string& service, CircuitBreaker::State state) = 0;
};

struct ServiceStats {
    std::uint64_t calls = 0;
    std::uint64_t retries = 0;
    std::uint64_t refused = 0;  // not sent: breaker, hold or a full queue
    std::size_t out = 0;
    std::size_t waiting = 0;  // for a turn or a next try
};

class ServiceJob;
class ServiceState;

// A call under way. Destroying it cancels it, wherever it stands: nothing is called any more. Empty after a move.
class [[nodiscard]] ServiceHandle {
public:
    ServiceHandle() = default;
    ServiceHandle(std::weak_ptr<ServiceState> state, std::shared_ptr<ServiceJob> job)
        : state_(std::move(state)), job_(std::move(job)) {}
    ServiceHandle(ServiceHandle&&) noexcept = default;
    ServiceHandle& operator=(ServiceHandle&& other) noexcept;
    ServiceHandle(const ServiceHandle&) = delete;
    ServiceHandle& operator=(const ServiceHandle&) = delete;
    ~ServiceHandle();

    void cancel();
    // After the reader's chunk() said false.
    void resume();
    [[nodiscard]] bool active() const;
    // As Call::request_sent(), of this try or an earlier one: from then on it may have been acted upon.
    [[nodiscard]] bool request_sent() const;

private:
    std::weak_ptr<ServiceState> state_;
    std::shared_ptr<ServiceJob> job_;
};

class ServiceCaller {
public:
    using Done = std::function<void(ServiceAnswer)>;

    // All but the policy must outlive this; `listener` may be null.
    ServiceCaller(boost::asio::io_context& loop, const Clock& clock, Random& random, Client& client,
                  ServicePolicy policy, ServiceListener* listener = nullptr);
    // Cancels everything; no callback comes after it.
    ~ServiceCaller();
    ServiceCaller(const ServiceCaller&) = delete;
    ServiceCaller& operator=(const ServiceCaller&) = delete;

    // `done` is called once, unless the call is cancelled before.
    ServiceHandle call(ServiceCall call, Done done);
    [[nodiscard]] ServiceStats stats() const;
    [[nodiscard]] CircuitBreaker::State breaker() const;
    [[nodiscard]] const ServicePolicy& policy() const;

private:
    std::shared_ptr<ServiceState> state_;
};

}  // namespace wa::http
