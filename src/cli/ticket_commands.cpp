#include <boost/json/array.hpp>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/states.h"
#include "cli/text.h"
#include "cli/watch.h"
#include "core/codec/json_write.h"

namespace wa::cli {
namespace {

std::string upper(std::string text) {
    for (char& c : text) {
        if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    }
    return text;
}

void add(std::string& query, std::string_view name, const std::string& value) {
    if (value.empty()) return;
    query += (query.empty() ? "?" : "&") + std::string(name) + "=" + encoded(value);
}

std::string ticket_path(const std::string& id, std::string_view rest = {}) {
    return "/api/v1/tickets/" + encoded(id) + std::string(rest);
}

Result<void> list(Session& session, const TicketsListCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    std::string query;
    if (!command.plan.empty()) {
        WA_TRY(const std::string plan, resolve_plan(*api, command.plan));
        add(query, "plan_id", plan);
    }
    add(query, "status", upper(command.status));
    add(query, "phase", command.phase);
    add(query, "task_type", upper(command.type));
    add(query, "text", command.text);
    add(query, "limit", std::to_string(command.limit));
    if (command.offset > 0) add(query, "offset", std::to_string(command.offset));
    WA_TRY(const ApiAnswer answer, api->get("/api/v1/tickets" + query));
    WA_CHECKED(session.print_list(answer, "tickets", "ticket_id", &tickets_table));
    if (session.machine_output() || session.global().format == Format::kName) return {};
    WA_TRY(const json::object object, body_object(answer));
    session.hint(tickets_summary(object));
    return {};
}

Result<void> show(Session& session, const TicketShowCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    WA_TRY(const std::string id, resolve_ticket(*api, command.id));
    WA_TRY(const ApiAnswer answer, api->get(ticket_path(id)));
    WA_TRY(const bool printed, session.print_machine(answer));
    if (printed) return {};
    WA_TRY(const json::object ticket, body_object(answer));
    if (session.global().format == Format::kName) {
        session.console().out(printable(id) + "\n");
        return {};
    }
    json::value attempts;
    if (auto tries = api->get(ticket_path(id, "/attempts"))) {
        if (auto body = body_json(*tries)) attempts = std::move(*body);
    }
    session.console().out(ticket_page(ticket, attempts, session.times(), session.colours_out()));
    session.hint("next: tickets logs " + printable(short_id(id)) + "\n");
    return {};
}

Result<void> logs(Session& session, const TicketLogsCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    WA_TRY(const std::string id, resolve_ticket(*api, command.id));
    std::string query;
    if (command.attempt) add(query, "attempt", std::to_string(*command.attempt));
    if (command.stream != "all") add(query, "stream", command.stream);
    if (command.tail) add(query, "tail", std::to_string(*command.tail));
    if (!command.follow) {
        WA_TRY(const ApiAnswer answer, api->get(ticket_path(id, "/logs" + query)));
        print_raw(session, answer.body);
        return {};
    }
    session.watch_interrupts();
    WA_TRY(api, session.api());
    add(query, "follow", "true");
    WA_TRY(const auto stream, api->stream(ticket_path(id, "/logs" + query)));
    return copy_stream(session, *stream);
}

Result<void> explain(Session& session, const TicketExplainCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    WA_TRY(const std::string id, resolve_ticket(*api, command.id));
    WA_TRY(const ApiAnswer answer, api->get(ticket_path(id, "/explain")));
    WA_TRY(const bool printed, session.print_machine(answer));
    if (printed) return {};
    WA_TRY(const json::object explanation, body_object(answer));
    session.console().out(explain_page(explanation, short_id(id)));
    return {};
}

// The same request for several ids: all are tried; the first failure decides the exit code.
template <class Request>
int for_each_id(Session& session, const std::vector<std::string>& ids, std::string_view what, Request request) {
    int code = kExitOk;
    for (const std::string& text : ids) {
        auto api = session.api();
        if (!api) return session.failed(what, api.error());
        auto id = resolve_ticket(**api, text);
        Result<void> done = id ? request(**api, *id) : Result<void>(tl::unexpected(std::move(id).error()));
        if (done) continue;
        const int failed = session.failed(std::string(what) + " " + text, done.error());
        if (code == kExitOk) code = failed;
    }
    return code;
}

}  // namespace

int run(Session& session, const TicketsListCommand& command) {
    const auto done = list(session, command);
    return done ? kExitOk : session.failed("cannot list tickets", done.error());
}

int run(Session& session, const TicketShowCommand& command) {
    const auto done = show(session, command);
    return done ? kExitOk : session.failed("cannot show ticket " + command.id, done.error());
}

int run(Session& session, const TicketLogsCommand& command) {
    const auto done = logs(session, command);
    return done ? kExitOk : session.failed("cannot show the output of " + command.id, done.error());
}

int run(Session& session, const TicketExplainCommand& command) {
    const auto done = explain(session, command);
    return done ? kExitOk : session.failed("cannot explain " + command.id, done.error());
}

int run(Session& session, const TicketWatchCommand& command) {
    session.watch_interrupts();
    auto api = session.api();
    if (!api) return session.failed("cannot watch " + command.id, api.error());
    auto id = resolve_ticket(**api, command.id);
    if (!id) return session.failed("cannot watch " + command.id, id.error());
    return watch(session, {{}, {*id}}, {.allow_simulated = command.allow_simulated, .view_on_out = true});
}

int run(Session& session, const TicketCancelCommand& command) {
    json::object body;
    body["reason"] = json::string_view(command.reason.data(), command.reason.size());
    body["preempted_by"] = nullptr;
    if (command.grace)
        body["grace_period_seconds"] = std::chrono::duration_cast<std::chrono::seconds>(*command.grace).count();
    const std::string text = json_text(body);
    return for_each_id(session, command.ids, "cannot cancel",
                       [&](ApiClient& api, const std::string& id) -> Result<void> {
                           WA_TRY(const ApiAnswer answer, api.post("/api/v1/tasks/" + encoded(id) + "/cancel", text));
                           WA_TRY(const bool printed, session.print_machine(answer));
                           if (printed) return {};
                           WA_TRY(const json::object object, body_object(answer));
                           // The contract lets 200 carry a refusal.
                           if (const json::value* success = member(object, "success");
                               success != nullptr && success->is_bool() && !success->get_bool()) {
                               return fail(ErrorCode::kConflict, "api", text_of(object, "message"));
                           }
                           session.console().out(printable(id) + "\n");
                           session.hint("stopping; see: worker-agents tickets watch " + printable(short_id(id)) + "\n");
                           return {};
                       });
}

int run(Session& session, const TicketRetryCommand& command) {
    return for_each_id(session, command.ids, "cannot retry",
                       [&](ApiClient& api, const std::string& id) -> Result<void> {
                           WA_TRY(const ApiAnswer answer, api.post("/api/v1/tickets/" + encoded(id) + "/retry", "{}"));
                           WA_TRY(const bool printed, session.print_machine(answer));
                           if (!printed) session.console().out(printable(id) + "\n");
                           return {};
                       });
}

}  // namespace wa::cli
