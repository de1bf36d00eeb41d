// status, drain, logs, executors.
#include <boost/json/array.hpp>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/sse.h"
#include "cli/states.h"
#include "cli/text.h"
#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"

namespace wa::cli {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

Result<int> worker_status(Session& session, bool exit_code) {
    WA_TRY(ApiClient * api, session.api());
    WA_TRY(const ApiAnswer answer, api->get("/api/v1/status"));
    WA_TRY(const ApiAnswer ready, api->probe("/ready"));
    const int code = exit_code && ready.status != 200 ? kExitWorkFailed : kExitOk;
    WA_TRY(const bool printed, session.print_machine(answer));
    if (printed) return code;
    WA_TRY(const json::object status, body_object(answer));
    if (session.global().format == Format::kName) {
        session.console().out(printable(text_of(status, "agent_id")) + "\n");
        return code;
    }
    auto readiness = body_object(ready);
    session.console().out(worker_page(status, readiness.value_or(json::object{}), session.colours_out()));
    return code;
}

Result<int> status_of(Session& session, const StatusCommand& command) {
    WA_TRY(ApiClient * api, session.api());
    auto ticket = resolve_ticket(*api, command.id);
    if (!ticket && (ticket.error().code != ErrorCode::kNotFound ||
                    ticket.error().message.find("more than one") != std::string::npos)) {
        return tl::unexpected(std::move(ticket).error());
    }
    std::vector<std::string> phases;
    int code = kExitOk;
    if (ticket) {
        code = run(session, TicketShowCommand{*ticket});
        WA_TRY(const ApiAnswer answer, api->get("/api/v1/tickets/" + encoded(*ticket)));
        WA_TRY(const json::object object, body_object(answer));
        phases.push_back(ticket_facts(object, session.clock().wall_now()).phase);
    } else {
        auto plan = resolve_plan(*api, command.id);
        if (!plan && plan.error().code == ErrorCode::kNotFound &&
            plan.error().message.find("more than one") == std::string::npos) {
            Error error = std::move(plan).error();
            error.message = "no ticket and no plan begins with \"" + command.id + "\"";
            error.fix = "worker-agents tickets ls";
            return tl::unexpected(std::move(error));
        }
        if (!plan) return tl::unexpected(std::move(plan).error());
        code = run(session, PlanShowCommand{*plan});
        WA_TRY(const ApiAnswer answer, api->get("/api/v1/plans/" + encoded(*plan)));
        WA_TRY(const json::object object, body_object(answer));
        for (const ProgressNode& node : plan_progress(object, session.clock().wall_now()).nodes)
            phases.push_back(node.phase);
    }
    if (code != kExitOk || !command.exit_code) return code;
    for (const std::string& phase : phases) {
        const Kind kind = kind_of(phase);
        if (kind == Kind::kFailed || kind == Kind::kCancelled) return kExitWorkFailed;
    }
    return kExitOk;
}

// ---- drain

std::string drain_line(const json::object& status) {
    std::vector<std::string> parts;
    for (const json::value& value : array_of(status, "tasks")) {
        if (!value.is_object() || parts.size() >= 5) continue;
        const json::object& task = value.get_object();
        std::string name = text_of(task, {"task_id", "name"});
        if (name.empty()) name = short_id(text_of(task, "ticket_id"));
        parts.push_back(printable(name));
    }
    std::string text = "draining: " + text_of(status, "active_tasks") + " running";
    for (std::size_t i = 0; i < parts.size(); ++i)
        text += (i == 0 ? " (" : ", ") + parts[i];
    return text + (parts.empty() ? "\n" : ")\n");
}

// Until nobody answers any more: a worker that has drained leaves.
Result<int> wait_for_drain(Session& session) {
    InterruptWatch& interrupts = session.watch_interrupts();
    WA_TRY(ApiClient * api, session.api());
    const MonoTime started = session.clock().now();
    std::string said;
    while (true) {
        auto answer = api->get("/api/v1/status");
        if (!answer && answer.error().origin == "connect") {
            session.hint("drained in " + run_text(to_millis(session.clock().now() - started)) + "\n");
            return kExitOk;
        }
        if (!answer) return tl::unexpected(std::move(answer).error());
        if (auto status = body_object(*answer)) {
            if (std::string line = drain_line(*status); line != said) {
                session.hint(line);
                said = std::move(line);
            }
        }
        if (session.global().timeout && session.clock().now() - started >= *session.global().timeout) {
            Error error =
                make_error(ErrorCode::kTimeout, Retry::kNever, Fault::kTask, "cli", "the worker is still draining");
            error.fix = "it goes on; hurry it with: worker-agents drain --now";
            return tl::unexpected(std::move(error));
        }
        if (interrupts.wait(500ms)) {
            session.hint("the drain goes on; stop it with: worker-agents drain --undo\n");
            return kExitInterrupted;
        }
    }
}

Result<int> drain(Session& session, const DrainCommand& command) {
    if (command.wait) session.watch_interrupts();
    WA_TRY(ApiClient * api, session.api());
    if (command.undo) {
        WA_TRY(const ApiAnswer answer, api->post("/api/v1/undrain", "{}"));
        session.hint("the worker takes work again\n");
        WA_TRY([[maybe_unused]] const bool printed, session.print_machine(answer));
        return kExitOk;
    }
    json::object body;
    body["now"] = command.now;
    if (!command.reason.empty()) body["reason"] = json::string_view(command.reason.data(), command.reason.size());
    if (command.grace) body["grace_seconds"] = std::chrono::duration_cast<std::chrono::seconds>(*command.grace).count();
    WA_TRY(const ApiAnswer answer, api->post("/api/v1/drain", json_text(body)));
    WA_TRY([[maybe_unused]] const bool printed, session.print_machine(answer));
    if (command.wait) return wait_for_drain(session);
    session.hint(
        command.now
            ? "draining now: what runs is cancelled and handed back\n"
            : "draining: no new work; see: worker-agents drain --wait, take it back: worker-agents drain --undo\n");
    return kExitOk;
}

// ---- the worker's log

int severity(std::string_view level) {
    if (level == "debug" || level == "trace") return 0;
    if (level == "info") return 1;
    if (level == "warning" || level == "warn") return 2;
    return 3;
}

std::string lower(std::string text) {
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
}

// One event as a line, or "" when it is below the level that was asked for.
std::string log_line(const Session& session, const LogsCommand& command, const SseEvent& event) {
    const auto json = parse_json(event.data);
    if (!json || !json->is_object()) return session.machine_output() ? event.data + "\n" : printable(event.data) + "\n";
    const json::object& line = json->get_object();
    const std::string level = lower(text_of(line, {"level", "severity"}));
    if (!command.level.empty() && severity(level) < severity(lower(command.level))) return {};
    if (session.machine_output()) return json_text(*json) + "\n";
    std::string time = text_of(line, {"ts", "time", "timestamp"});
    if (const auto number = number_of(line, {"ts", "time", "timestamp"})) time = rfc3339(*number);
    std::string text =
        printable(time) + " " + pad(printable(level), 7) + " " + printable(text_of(line, {"msg", "message", "event"}));
    const bool event_is_head = text_of(line, {"msg", "message"}).empty();
    for (const auto& [name, value] : line) {
        const std::string_view key(name.data(), name.size());
        const bool head = key == "ts" || key == "time" || key == "timestamp" || key == "level" || key == "severity" ||
                          key == "msg" || key == "message" || (key == "event" && event_is_head);
        if (!head && !value.is_null()) text += " " + printable(key) + "=" + printable(scalar_text(value));
    }
    return text + "\n";
}

// What the worker still has in memory; with --follow, also what comes.
Result<int> logs(Session& session, const LogsCommand& command) {
    session.watch_interrupts();
    WA_TRY(ApiClient * api, session.api());
    std::string target = "/api/v1/events?topics=worker-log";
    if (!command.level.empty()) target += "&level=" + encoded(lower(command.level));
    WA_TRY(auto stream, api->stream(target, "0"));
    SseParser parser;
    std::vector<std::string> kept;
    constexpr auto kQuiet = 300ms;  // the end of what is in memory
    constexpr std::size_t kMaxKept = 1'000'000;
    bool past = false;  // what was in memory has been shown
    const auto show_kept = [&] {
        std::size_t first = 0;
        if (command.tail && kept.size() > *command.tail) first = kept.size() - *command.tail;
        std::string out;
        for (std::size_t i = first; i < kept.size(); ++i)
            out += kept[i];
        session.console().out(out);
        kept.clear();
        past = true;
    };
    while (true) {
        auto piece = stream->read(past ? milliseconds(60s) : milliseconds(kQuiet));
        if (!piece) {
            show_kept();
            if (piece.error().code == ErrorCode::kCancelled) return kExitOk;
            return tl::unexpected(std::move(piece).error());
        }
        for (const SseEvent& event : parser.feed(piece->bytes)) {
            if (event.type == "reset") continue;
            std::string line = log_line(session, command, event);
            if (line.empty()) continue;
            if (past) {
                session.console().out(line);
            } else {
                kept.push_back(std::move(line));
            }
        }
        const bool quiet = piece->bytes.empty() || kept.size() > kMaxKept;
        if (!past && (quiet || piece->ended)) {
            show_kept();
            if (!command.follow) return kExitOk;
        }
        if (piece->ended) return kExitOk;
    }
}

Table executors_of(const json::object& answer, const TimeStyle&) {
    return executors_table(answer);
}

}  // namespace

int run(Session& session, const StatusCommand& command) {
    const auto code = command.id.empty() ? worker_status(session, command.exit_code) : status_of(session, command);
    return code ? *code
                : session.failed(command.id.empty() ? "cannot tell the worker's status" : "cannot find " + command.id,
                                 code.error());
}

int run(Session& session, const ExecutorsCommand&) {
    auto api = session.api();
    auto answer = api ? (*api)->get("/api/v1/executors") : Result<ApiAnswer>(tl::unexpected(std::move(api).error()));
    if (!answer) return session.failed("cannot list executors", answer.error());
    const auto printed = session.print_list(*answer, "executors", "task_type", &executors_of);
    return printed ? kExitOk : session.failed("cannot list executors", printed.error());
}

int run(Session& session, const DrainCommand& command) {
    const auto code = drain(session, command);
    return code ? *code : session.failed(command.undo ? "cannot undo the drain" : "cannot drain", code.error());
}

int run(Session& session, const LogsCommand& command) {
    const auto code = logs(session, command);
    return code ? *code : session.failed("cannot show the worker's log", code.error());
}

}  // namespace wa::cli
