#include <algorithm>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/text.h"
#include "cli/watch.h"
#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "plan_file/plan_file.h"

namespace wa::cli {
namespace {

struct Sent {
    std::string plan_id;                                       // empty for a ticket on its own
    std::vector<std::pair<std::string, std::string>> tickets;  // task and id
    ApiAnswer answer;
};

struct Shipment {
    std::string path = "/api/v1/plans";
    std::string content_type = "application/yaml";
    std::string body;
};

std::string_view first_mark(std::string_view text) {
    const std::size_t at = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
    return at == std::string_view::npos ? std::string_view{} : text.substr(at, 1);
}

// A plan goes as it is; one wire ticket goes to the ticket route; a list of wire tickets becomes a plan of them.
Shipment packed(const std::string& file, std::string text) {
    Shipment shipment;
    const std::string_view mark = first_mark(text);
    const TextFormat format = format_of(file);
    const bool looks_like_json =
        format == TextFormat::kJson || (format == TextFormat::kAuto && (mark == "{" || mark == "["));
    if (looks_like_json) {
        auto value = parse_json(text, {.max_bytes = text.size() + 1});
        if (value && value->is_object() && member(value->get_object(), "task_type") != nullptr) {
            shipment.path = "/api/v1/tickets";
        } else if (value && value->is_array()) {
            text = R"({"tickets": )" + text + "}";
        }
        if (value) shipment.content_type = "application/json";
    }
    shipment.body = std::move(text);
    return shipment;
}

// The same checks as the server's, with line and column. False: they find nothing.
bool show_problems(Session& session, const std::string& file, std::string_view text) {
    const auto problems = validate_text(file == "-" ? "<stdin>" : file, text, session.clock().wall_now());
    if (!has_errors(problems)) return false;
    session.console().err(
        printable_block(format_problems(problems, ProblemFormat::kHuman, 1, session.build().version)));
    return true;
}

// The server's own list says the same again: its first line is enough.
Error without_list(Error error) {
    error.message.resize(std::min(error.message.find('\n'), error.message.size()));
    return error;
}

Result<Sent> read_answer(ApiAnswer answer) {
    Sent sent;
    sent.answer = std::move(answer);
    WA_TRY(const json::object object, body_object(sent.answer));
    sent.plan_id = text_of(object, "plan_id");
    if (const json::value* tickets = member(object, "tickets"); tickets != nullptr && tickets->is_object()) {
        for (const auto& [name, id] : tickets->get_object())
            sent.tickets.emplace_back(std::string(name), scalar_text(id));
    } else if (const std::string id = text_of(object, "ticket_id"); !id.empty()) {
        sent.plan_id.clear();
        sent.tickets.emplace_back(text_of(object, "task_id"), id);
    } else {
        return fail(ErrorCode::kMalformed, "api", "the server took it, but did not say what it made of it");
    }
    return sent;
}

Result<void> print_sent(Session& session, const std::vector<Sent>& all) {
    if (session.machine_output()) {
        for (const Sent& sent : all)
            WA_CHECKED(session.print_machine(sent.answer));
        return {};
    }
    if (session.global().format == Format::kName) {
        std::string names;
        for (const Sent& sent : all) {
            if (!sent.plan_id.empty()) {
                names += printable(sent.plan_id) + "\n";
            } else {
                for (const auto& [task, id] : sent.tickets)
                    names += printable(id) + "\n";
            }
        }
        session.console().out(names);
        return {};
    }
    Table table;
    table.columns = {{"PLAN"}, {"TASK"}, {"TICKET"}};
    for (const Sent& sent : all) {
        for (const auto& [task, id] : sent.tickets)
            table.rows.push_back({sent.plan_id, task, id});
    }
    TableOptions options = session.table_options();
    options.width = 0;  // ids are there to be copied whole
    WA_TRY(const std::string text, render(table, options));
    session.console().out(text);
    return {};
}

int dry_run(Session& session, ApiClient& api, const std::string& file, const std::string& text) {
    const Shipment shipment = packed(file, text);
    auto answer = api.post("/api/v1/validate", shipment.body, shipment.content_type);
    const std::string name = file == "-" ? "standard input" : file;
    if (!answer) {
        const bool shown = show_problems(session, file, text);
        return session.failed("the server would not take " + name,
                              shown ? without_list(answer.error()) : answer.error());
    }
    if (auto printed = session.print_machine(*answer); !printed)
        return session.failed("cannot show the answer", printed.error());
    auto object = body_object(*answer);
    if (!object) return session.failed("cannot read the answer", object.error());
    const json::value* valid = member(*object, "valid");
    bool good = valid == nullptr || !valid->is_bool() || valid->get_bool();
    std::string listed;
    for (const std::string_view list : {"problems", "errors"}) {
        for (const json::value& value : array_of(*object, list)) {
            if (!value.is_object()) continue;
            const json::object& one = value.get_object();
            good = good && text_of(one, "severity") == "warning";
            listed += name + ":" + text_of(one, "line") + ":" + text_of(one, "column") + " " +
                      text_of(one, {"field", "path"}) + " " + text_of(one, "message") + "\n";
        }
    }
    session.console().err(printable_block(listed));
    session.hint(name + (good ? ": the server would take it; nothing was sent\n" : ": the server would not take it\n"));
    return good ? kExitOk : kExitOther;
}

}  // namespace

int run(Session& session, const SubmitCommand& command) {
    std::vector<std::string> texts;
    for (const std::string& file : command.files) {
        auto text = read_input(session, file);
        if (!text) {
            Error error = std::move(text).error();
            if (error.code == ErrorCode::kUnavailable) error.origin = "files";
            return session.failed("cannot submit", error);
        }
        texts.push_back(std::move(*text));
    }
    auto api = session.api();
    if (!api) return session.failed("cannot submit", api.error());
    if (command.dry_run) {
        int worst = kExitOk;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            worst = std::max(worst, dry_run(session, **api, command.files[i], texts[i]));
        }
        return worst;
    }
    std::vector<Sent> all;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const std::string name = command.files[i] == "-" ? "standard input" : command.files[i];
        const Shipment shipment = packed(command.files[i], texts[i]);
        auto answer = (*api)->post(shipment.path, shipment.body, shipment.content_type);
        auto sent = answer ? read_answer(std::move(*answer)) : Result<Sent>(tl::unexpected(std::move(answer).error()));
        if (!sent) {
            const bool theirs =
                sent.error().code == ErrorCode::kInvalidArgument || sent.error().code == ErrorCode::kMalformed;
            const bool shown = theirs && show_problems(session, command.files[i], texts[i]);
            // What was taken before must not be lost.
            if (!all.empty()) static_cast<void>(print_sent(session, all));
            return session.failed("cannot submit " + name, shown ? without_list(sent.error()) : sent.error());
        }
        all.push_back(std::move(*sent));
    }
    const bool waits = command.wait || command.follow;
    if (!waits || !session.machine_output()) {
        if (auto printed = print_sent(session, all); !printed)
            return session.failed("cannot show the ids", printed.error());
    }
    WatchTargets targets;
    for (const Sent& sent : all) {
        if (!sent.plan_id.empty()) {
            targets.plans.push_back(sent.plan_id);
        } else {
            for (const auto& [task, id] : sent.tickets)
                targets.tickets.push_back(id);
        }
    }
    if (waits) return watch(session, targets, {.follow = command.follow, .allow_simulated = command.allow_simulated});
    const std::string next = targets.plans.empty() ? "tickets watch " + std::string(short_id(targets.tickets.front()))
                                                   : "plans watch " + targets.plans.front();
    session.hint("next: worker-agents " + printable(next) + "\n");
    return kExitOk;
}

}  // namespace wa::cli
