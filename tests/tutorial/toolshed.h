// The runtime "toolshed" of the tutorial docs/tutorials/3-writing-an-executor.md: commands run by a small service
// (toolshed_service.py), begun by one PUT, asked about until they have ended, removed by one DELETE.
//
// The job has the ticket's id as its name, so a PUT may be sent again: by the caller, by the next attempt, by the next
// start of this worker. Whoever sends it finds the job that is there, and nothing runs twice. For the same reason a job
// that has ended stays until its result is committed. That a ticket may have a job is noted (ticket_notes.h) before the
// PUT: from then on the ticket stays here, even if the toolshed is away.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "http_client/http_client.h"
#include "http_client/poller.h"
#include "http_client/service_caller.h"
#include "ports/runtime.h"
#include "ports/task_log.h"
#include "runtimes/endpoint_probe.h"
#include "runtimes/ticket_notes.h"

namespace wa {

struct ToolshedOptions {
    std::string url;                             // TOOLSHED_URL; empty = switched off
    std::string misconfigured;                   // why it can never be used; empty = it can
    std::string notes_folder;                    // made when it is missing; empty = in memory only
    bool detachable = false;                     // whoever gets the ticket next finds the notes
    Duration timeout = std::chrono::minutes(5);  // of one attempt, unless the ticket has a timeout_seconds
    Duration interval = std::chrono::milliseconds(200);
    http::ServiceListener* listener = nullptr;  // counts calls
    // A ticket of an earlier process has ended meanwhile: its job and note may go. May be empty.
    std::function<bool(std::string_view ticket_id)> is_over;
};

class ToolshedRuntime final : public Runtime {
public:
    // All must outlive this object; `logs` may be null. Destroy running attempts first.
    ToolshedRuntime(boost::asio::io_context& loop, const Clock& clock, Random& random, http::Client& client,
                    TaskLogs* logs, ToolshedOptions options);

    // Looks whether it is there, from now on again and again. Until the first answer it counts as there.
    void begin();

    [[nodiscard]] std::string_view name() const override { return "toolshed"; }
    [[nodiscard]] Availability availability() const override;
    [[nodiscard]] Result<void> validate(const Ticket& ticket) const override;
    [[nodiscard]] bool has_effects(const Ticket& /*ticket*/) const override { return true; }
    [[nodiscard]] bool can_detach() const override { return options_.detachable; }
    [[nodiscard]] bool may_hold(const Ticket& ticket) const override { return notes_.has(ticket.ticket_id); }
    void ticket_settled(std::string_view ticket_id, bool untried) override;
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        RuntimeListener& listener) override;

private:
    class Attempt;
    void look(const EndpointProbe::Answer& answer);
    [[nodiscard]] http::ServiceCall request(std::string method, std::string_view id,
                                            const std::string& query = {}) const;
    void remove_job(const std::string& id);

    boost::asio::io_context& loop_;
    const Clock& clock_;
    http::Client& client_;
    TaskLogs* logs_;
    ToolshedOptions options_;
    http::ServiceCaller caller_;
    http::Poller poller_;
    TicketNotes notes_;
    EndpointProbe probe_;
    http::Call probe_call_;
    std::map<std::string, http::ServiceHandle> removals_;  // under way, by ticket id
};

}  // namespace wa
