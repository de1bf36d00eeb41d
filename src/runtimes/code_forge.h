// The runtime "code_forge": a ticket with a template is handed to Code Forge, which generates code from it, and is
// asked until that has ended (contract/executors.md 6.2, services.md section 3).
//
// POST /api/v1/generate goes out at most once for a ticket, unless it certainly was not acted upon. That it goes out,
// and the request_id that it leads to, are written down (ticket_notes.h) before anything else: a restarted worker, or
// the next attempt, asks on instead of beginning again. A worker that was killed between the two cannot know whether
// there is a generation; it says so and begins none. Other workers do not see the notes.
//
// Nothing of it can be stopped: Code Forge has no call for that. An attempt that is told to stop says that it goes on.
//
// Result: output.request_id, artifacts (JSON), pipeline_id; metadata.template_id, status, artifacts_count, adopted,
// remote_outcome=unknown.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"
#include "http_client/http_client.h"
#include "http_client/poller.h"
#include "http_client/service_caller.h"
#include "ports/runtime.h"
#include "ports/task_log.h"
#include "runtimes/endpoint_probe.h"
#include "runtimes/ticket_notes.h"

namespace wa {

struct CodeForgeOptions {
    bool enabled = false;                            // CODE_FORGE_ENABLED
    std::string misconfigured;                       // why it can never be used; empty = it can
    std::string url;                                 // CODE_FORGE_URL
    std::string notes_folder;                        // made when it is missing; empty = nothing outlives this worker
    bool detachable = false;                         // whoever gets the ticket next finds the notes
    std::int32_t tries = 3;                          // CODE_FORGE_RETRY_ATTEMPTS, of what was not acted upon
    Duration timeout = std::chrono::seconds(1800);   // CODE_FORGE_GENERATION_TIMEOUT_SECONDS
    Duration longest = std::chrono::seconds(14400);  // CODE_FORGE_TIMEOUT_SECONDS: whatever a ticket asks for
    Duration request_timeout = std::chrono::seconds(30);  // CODE_FORGE_REQUEST_TIMEOUT_SECONDS
    Duration interval = std::chrono::seconds(5);          // CODE_FORGE_POLL_INTERVAL_SECONDS
    Duration appear_within = std::chrono::seconds(60);    // 404 is "not yet" for so long
    std::int32_t unknown_answers = 20;                    // in a row, before it is given up
    Duration probe_interval = std::chrono::seconds(30);
    Duration probe_limit = std::chrono::seconds(5);
    std::size_t max_output_bytes = 256 * 1024;
    http::ServiceListener* listener = nullptr;  // of calls; may be null
    // "generate", "generate_status" and success, error. May be empty.
    std::function<void(std::string_view method, std::string_view status)> on_call;
    // A ticket of an earlier process has ended meanwhile: its note may go. May be empty.
    std::function<bool(std::string_view ticket_id)> is_over;
};

class CodeForgeRuntime final : public Runtime {
public:
    // All must outlive this object; `logs` may be null. Destroy running attempts first.
    CodeForgeRuntime(boost::asio::io_context& loop, const Clock& clock, Random& random, http::Client& client,
                     TaskLogs* logs, CodeForgeOptions options);
    ~CodeForgeRuntime() override;

    // Looks whether it is there, from now on again and again. Until the first answer it counts as there.
    void begin();

    [[nodiscard]] std::string_view name() const override { return "code_forge"; }
    [[nodiscard]] Availability availability() const override;
    [[nodiscard]] Result<void> validate(const Ticket& ticket) const override;
    [[nodiscard]] bool has_effects(const Ticket& /*ticket*/) const override { return options_.enabled; }
    [[nodiscard]] bool can_detach() const override { return options_.detachable; }
    [[nodiscard]] bool may_hold(const Ticket& ticket) const override;
    void ticket_settled(std::string_view ticket_id, bool /*untried*/) override { notes_.forget(ticket_id); }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        RuntimeListener& listener) override;

private:
    class Attempt;
    class Counter;
    friend class Attempt;
    void look(const EndpointProbe::Answer& answer);

    boost::asio::io_context& loop_;
    const Clock& clock_;
    http::Client& client_;
    TaskLogs* logs_;
    CodeForgeOptions options_;
    std::unique_ptr<Counter> counter_;
    http::ServiceCaller caller_;
    http::Poller poller_;
    TicketNotes notes_;
    EndpointProbe probe_;
    http::Call probe_call_;
};

}  // namespace wa
