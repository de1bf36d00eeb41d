// status, drain, logs, executors.
#include <algorithm>
#include <boost/json/array.hpp>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/states.h"
#include "cli/text.h"
#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"

namespace wa::cli {
namespace {

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
Result<int> wait_for_drain(Session& session, const DrainCommand& command) {
    InterruptWatch& interrupts = session.watch_interrupts();
    WA_TRY(ApiClient * api, session.api());
    const MonoTime started = session.clock().now();
    std::string said;
    bool hurried = command.now;
    while (true) {
        if (!hurried && command.grace && session.clock().now() - started >= *command.grace) {
            hurried = true;
            session.hint("the grace is over: cancelling what still runs\n");
            auto now = api->post("/api/v1/drain", R"({"now":true})");
            if (!now && now.error().origin != "connect") return tl::unexpected(std::move(now).error());
        }
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
    const bool waits = command.wait || command.grace.has_value();
    if (waits) session.watch_interrupts();
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
    WA_TRY(const ApiAnswer answer, api->post("/api/v1/drain", json_text(body)));
    WA_TRY([[maybe_unused]] const bool printed, session.print_machine(answer));
    if (waits) return wait_for_drain(session, command);
    session.hint(
        command.now
            ? "draining now: what runs is cancelled and handed back\n"
            : "draining: no new work; see: worker-agents drain --wait, take it back: worker-agents drain --undo\n");
    return kExitOk;
}

// ---- the worker's log

std::string lower(std::string text) {
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
}

// One JSON line of the log as people read it.
std::string log_line(const Session& session, std::string_view text) {
    if (session.machine_output()) return std::string(text) + "\n";
    const auto json = parse_json(text);
    if (!json || !json->is_object()) return printable(text) + "\n";
    const json::object& line = json->get_object();
    std::string time = text_of(line, {"ts", "time", "timestamp"});
    if (const auto number = number_of(line, {"ts", "time", "timestamp"})) time = rfc3339(*number);
    const bool event_is_head = text_of(line, {"msg", "message"}).empty();
    std::string out = printable(time) + " " + pad(printable(text_of(line, {"level", "severity"})), 7) + " " +
                      printable(text_of(line, {"msg", "message", "event"}));
    for (const auto& [name, value] : line) {
        const std::string_view key(name.data(), name.size());
        const bool head = key == "ts" || key == "time" || key == "timestamp" || key == "level" || key == "severity" ||
                          key == "msg" || key == "message" || (key == "event" && event_is_head);
        if (!head && !value.is_null()) out += " " + printable(key) + "=" + printable(scalar_text(value));
    }
    return out + "\n";
}

// Prints the whole lines of `text` and takes them away; `all` = also what has no line end.
void print_log_lines(Session& session, std::string& text, bool all) {
    constexpr std::size_t kLongestLine = 1024 * 1024;
    std::string out;
    std::size_t begin = 0;
    while (begin < text.size()) {
        std::size_t end = text.find('\n', begin);
        if (end == std::string::npos && !all && text.size() - begin < kLongestLine) break;
        if (end == std::string::npos) end = text.size();
        if (end > begin) out += log_line(session, std::string_view(text).substr(begin, end - begin));
        begin = end + 1;
    }
    text.erase(0, std::min(begin, text.size()));
    session.console().out(out);
}

// What the worker still has in memory; with --follow, also what comes.
Result<int> logs(Session& session, const LogsCommand& command) {
    if (command.follow) session.watch_interrupts();
    WA_TRY(ApiClient * api, session.api());
    std::string target = "/api/v1/logs?level=" + encoded(command.level.empty() ? "debug" : lower(command.level));
    if (command.tail) target += "&tail=" + std::to_string(*command.tail);
    if (!command.follow) {
        WA_TRY(const ApiAnswer answer, api->get(target));
        std::string text = answer.body;
        print_log_lines(session, text, true);
        return kExitOk;
    }
    WA_TRY(const auto stream, api->stream(target + "&follow=true"));
    std::string text;
    while (true) {
        auto piece = stream->read(60s);
        if (!piece && piece.error().code == ErrorCode::kCancelled) return kExitOk;
        if (!piece) return tl::unexpected(std::move(piece).error());
        text += piece->bytes;
        print_log_lines(session, text, piece->ended);
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
