#include "runtimes/code_forge.h"

#include <utility>

#include "http_client/url.h"
#include "runtimes/code_forge_answers.h"
#include "runtimes/code_forge_attempt.h"

namespace wa {
namespace {

http::ServicePolicy call_policy(const CodeForgeOptions& options) {
    http::ServicePolicy policy;
    policy.name = "code_forge";
    policy.attempts = options.tries;
    policy.calls = 64;
    policy.queue = 4096;
    return policy;
}

}  // namespace

// One request is one count. Another listener is told as well.
class CodeForgeRuntime::Counter final : public http::ServiceListener {
public:
    explicit Counter(const CodeForgeOptions& options) : options_(options) {}
    void tried(const http::ServiceTry& over) override {
        constexpr int kFirstError = 400;
        if (options_.listener != nullptr) options_.listener->tried(over);
        if (!options_.on_call) return;
        const bool good = over.status > 0 && over.status < kFirstError;
        options_.on_call(over.method == "POST" ? "generate" : "generate_status", good ? "success" : "error");
    }
    void retried(const std::string& service, std::string_view reason) override {
        if (options_.listener != nullptr) options_.listener->retried(service, reason);
    }
    void breaker_changed(const std::string& service, CircuitBreaker::State state) override {
        if (options_.listener != nullptr) options_.listener->breaker_changed(service, state);
    }

private:
    const CodeForgeOptions& options_;
};

CodeForgeRuntime::CodeForgeRuntime(boost::asio::io_context& loop, const Clock& clock, Random& random,
                                   http::Client& client, TaskLogs* logs, CodeForgeOptions options)
    : loop_(loop),
      clock_(clock),
      client_(client),
      logs_(logs),
      options_(std::move(options)),
      counter_(std::make_unique<Counter>(options_)),
      caller_(loop, clock, random, client, call_policy(options_), counter_.get()),
      poller_(loop, clock, random, caller_),
      notes_(options_.notes_folder),
      probe_(loop, options_.probe_interval, [this](const EndpointProbe::Answer& answer) { look(answer); }) {}

CodeForgeRuntime::~CodeForgeRuntime() = default;

void CodeForgeRuntime::begin() {
    if (!options_.enabled || !options_.misconfigured.empty()) return;
    if (auto prepared = notes_.prepare(); !prepared) {
        options_.misconfigured = prepared.error().describe();
        return;
    }
    if (options_.is_over) {
        notes_.forget_if([this](const std::string& text) {
            const auto note = code_forge::read_note(text);
            return !note || options_.is_over(note->ticket_id);
        });
    }
    probe_.begin();
}

void CodeForgeRuntime::look(const EndpointProbe::Answer& answer) {
    http::Request request;
    request.url = http::join_url(options_.url, "/health");
    request.connect_timeout = options_.probe_limit;
    request.timeout = options_.probe_limit;
    request.purpose.name = "code_forge.health";
    probe_call_ = client_.send(std::move(request), [answer](const Result<http::Response>& response) {
        constexpr int kOk = 200;
        if (!response) return answer(Failure(response.error()));
        if (response->status == kOk) return answer({});
        answer(fail(ErrorCode::kUnavailable, "code_forge",
                    "Code Forge answers " + std::to_string(response->status) + " when it is asked how it is"));
    });
}

Availability CodeForgeRuntime::availability() const {
    if (!options_.enabled) return {false, Unavailable::kDisabled, "it is switched off (CODE_FORGE_ENABLED=false)"};
    if (!options_.misconfigured.empty()) return {false, Unavailable::kDisabled, options_.misconfigured};
    if (!probe_.there()) return {false, Unavailable::kUnreachable, probe_.detail()};
    return {};
}

Result<void> CodeForgeRuntime::validate(const Ticket& ticket) const {
    const auto task = code_forge::parse_task(ticket);
    if (!task) return Failure(task.error());
    return {};
}

bool CodeForgeRuntime::may_hold(const Ticket& ticket) const {
    return options_.enabled && options_.misconfigured.empty() && notes_.has(ticket.ticket_id);
}

std::unique_ptr<RunningAttempt> CodeForgeRuntime::start(const AttemptContext& context, RuntimeListener& listener) {
    auto attempt = std::make_unique<Attempt>(*this, context, listener);
    attempt->begin();
    return attempt;
}

}  // namespace wa
