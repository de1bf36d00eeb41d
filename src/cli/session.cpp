#include "cli/session.h"

#include <boost/json/array.hpp>

#include "cli/exit_codes.h"
#include "cli/text.h"
#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"

namespace wa::cli {
namespace {

constexpr std::size_t kShortestPrefix = 4;
constexpr std::size_t kShownMatches = 5;

std::string indented(std::string_view text, std::string_view margin) {
    std::string out;
    while (true) {
        const std::size_t end = text.find('\n');
        out += std::string(margin) + printable(text.substr(0, end)) + "\n";
        if (end == std::string_view::npos) return out;
        text.remove_prefix(end + 1);
    }
}

bool is_alias(std::string_view text) {
    return text == "@latest" || text == "@failed";
}

}  // namespace

Session::Session(GlobalOptions global, config::Environment environment, Console& console, const Clock& clock,
                 Random& random, BuildInfo build)
    : global_(std::move(global)),
      environment_(std::move(environment)),
      console_(console),
      clock_(clock),
      random_(random),
      build_(std::move(build)) {}

Result<ApiClient*> Session::api() {
    if (!api_) {
        WA_TRY(Server server, find_server(global_, environment_));
        ApiOptions options;
        if (global_.timeout) options.request_time = *global_.timeout;
        options.user_agent = "worker-agents/" + build_.version;
        options.interrupt = interrupts_.get();
        if (global_.verbose) hint("server " + server.label + " (" + server.found_by + ")\n");
        api_ = std::make_unique<ApiClient>(std::move(server), std::move(options));
    }
    return api_.get();
}

InterruptWatch& Session::watch_interrupts() {
    if (!interrupts_) {
        interrupts_ = std::make_unique<InterruptWatch>();
        api_.reset();  // the next one listens to it
    }
    return *interrupts_;
}

bool Session::machine_output() const {
    return global_.format == Format::kJson || global_.format == Format::kJsonl || global_.format == Format::kYaml;
}

bool Session::colours_out() const {
    return wants_colours(global_.colour, console_.out_is_terminal(), environment_);
}
bool Session::colours_err() const {
    return wants_colours(global_.colour, console_.err_is_terminal(), environment_);
}

TimeStyle Session::times() const {
    return {clock_.wall_now(), console_.out_is_terminal() && global_.format != Format::kWide};
}

TableOptions Session::table_options() const {
    TableOptions options;
    options.wide = global_.format == Format::kWide;
    options.headers = global_.headers;
    options.only = global_.columns;
    if (console_.out_is_terminal()) {
        options.signs = true;
        options.colours = colours_out();
        if (!options.wide) options.width = console_.size().width;
    } else {
        options.colours = colours_out();
    }
    return options;
}

void Session::hint(std::string_view text) {
    if (!global_.quiet) console_.err(text);
}

int Session::failed(std::string_view what, const Error& error) {
    if (error.code == ErrorCode::kCancelled && error.origin == "cli") return kExitInterrupted;
    std::string text = printable(what) + "\n";
    text += indented(error.message, "  ");
    std::string margin = "  ";
    for (const Error* cause = error.cause.get(); cause != nullptr; cause = cause->cause.get()) {
        text += indented(cause->message, margin);
    }
    std::string fix = error.fix;
    for (const Error* cause = error.cause.get(); cause != nullptr && fix.empty(); cause = cause->cause.get())
        fix = cause->fix;
    if (global_.verbose) {
        text += "  (" + std::string(to_string(error.code)) + ", " + printable(error.origin) + ")\n";
    }
    if (!fix.empty()) text += "fix: " + printable(fix) + "\n";
    console_.err(text);
    return exit_code(error);
}

Result<json::value> body_json(const ApiAnswer& answer) {
    auto value = parse_json(answer.body, {.max_bytes = answer.body.size() + 1, .max_depth = 100});
    if (!value) {
        Error error = make_error(ErrorCode::kMalformed, Retry::kNever, Fault::kService, "api",
                                 "the server's answer is not JSON: " + value.error().message);
        error.fix = "is something else listening at that address? See --server";
        return tl::unexpected(std::move(error));
    }
    return value;
}

Result<json::object> body_object(const ApiAnswer& answer) {
    WA_TRY(json::value value, body_json(answer));
    if (!value.is_object()) return fail(ErrorCode::kMalformed, "api", "the server's answer is not a JSON object");
    return std::move(value.get_object());
}

Result<bool> Session::print_machine(const ApiAnswer& answer, std::string_view items) {
    if (global_.format == Format::kJson) {
        console_.out(answer.body.ends_with('\n') ? answer.body : answer.body + "\n");
        return true;
    }
    if (global_.format != Format::kJsonl && global_.format != Format::kYaml) return false;
    WA_TRY(const json::value value, body_json(answer));
    if (global_.format == Format::kYaml) {
        console_.out(yaml_text(value));
        return true;
    }
    std::string lines;
    if (value.is_object() && !items.empty() && member(value.get_object(), items) != nullptr) {
        for (const json::value& item : array_of(value.get_object(), items))
            lines += json_text(item) + "\n";
    } else {
        lines = json_text(value) + "\n";
    }
    console_.out(lines);
    return true;
}

Result<void> Session::print_list(const ApiAnswer& answer, std::string_view items, std::string_view id,
                                 Table (*table)(const json::object&, const TimeStyle&)) {
    WA_TRY(const bool printed, print_machine(answer, items));
    if (printed) return {};
    WA_TRY(const json::object object, body_object(answer));
    if (global_.format == Format::kName) {
        std::string names;
        for (const json::value& item : array_of(object, items)) {
            if (item.is_object()) names += printable(text_of(item.get_object(), id)) + "\n";
        }
        console_.out(names);
        return {};
    }
    WA_TRY(const std::string text, render(table(object, times()), table_options()));
    console_.out(text);
    return {};
}

Result<bool> Session::confirm(std::string_view question) {
    if (global_.yes) return true;
    if (global_.no_input || !console_.in_is_terminal() || !console_.err_is_terminal()) {
        Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "cli",
                                 "this needs a yes, and there is no terminal to ask on");
        error.field = "--yes";
        error.fix = "give -y";
        return tl::unexpected(std::move(error));
    }
    console_.err(printable(question) + " [y/N] ");
    const std::string answer = console_.read_line();
    return answer == "y" || answer == "Y" || answer == "yes";
}

namespace {

struct Kinds {
    std::string_view path;   // "/api/v1/tickets"
    std::string_view items;  // "tickets"
    std::string_view id;     // "ticket_id"
    std::string_view what;   // "ticket"
};
constexpr Kinds kTicketKind{"/api/v1/tickets", "tickets", "ticket_id", "ticket"};
constexpr Kinds kPlanKind{"/api/v1/plans", "plans", "plan_id", "plan"};

Error not_found(const Kinds& kind, std::string_view text) {
    Error error =
        make_error(ErrorCode::kNotFound, Retry::kNever, Fault::kInput, "cli",
                   text == "@failed"   ? "no " + std::string(kind.what) + " has failed"
                   : text == "@latest" ? "there is no " + std::string(kind.what) + " yet"
                                       : "no " + std::string(kind.what) + " begins with \"" + std::string(text) + "\"");
    error.fix = "worker-agents " + std::string(kind.items) + " ls";
    return error;
}

Error ambiguous(const Kinds& kind, std::string_view text, const std::vector<std::string>& matches) {
    std::string list;
    for (std::size_t i = 0; i < matches.size() && i < kShownMatches; ++i)
        list += "\n" + matches[i];
    if (matches.size() > kShownMatches) list += "\n… and " + std::to_string(matches.size() - kShownMatches) + " more";
    Error error = make_error(
        ErrorCode::kNotFound, Retry::kNever, Fault::kInput, "cli",
        "\"" + std::string(text) + "\" is the beginning of more than one " + std::string(kind.what) + ":" + list);
    error.fix = "give more characters of the id";
    return error;
}

// The server's routes take full ids. Of tickets it gives those that hold the text; of plans, the newest thousand.
Result<std::string> resolve_by_list(ApiClient& api, const Kinds& kind, std::string_view text) {
    std::string target = std::string(kind.path) + "?limit=1000";
    if (kind.items == "tickets") {
        target += "&view=summary";
        target += text == "@failed" ? "&status=FAILED" : text == "@latest" ? std::string() : "&text=" + encoded(text);
    }
    WA_TRY(const ApiAnswer answer, api.get(target));
    WA_TRY(const json::object object, body_object(answer));
    std::vector<std::string> matches;
    for (const json::value& item : array_of(object, kind.items)) {
        if (!item.is_object()) continue;
        const json::object& one = item.get_object();
        const std::string id = text_of(one, kind.id);
        if (text == "@failed" && kind.items == "plans" &&
            number_of(object_of(one, "counts"), "failed").value_or(0) == 0)
            continue;
        if (is_alias(text)) return id;
        if (id == text) return id;
        if (id.starts_with(text) || (kind.items == "plans" && text_of(one, "name") == text)) matches.push_back(id);
    }
    if (matches.size() == 1) return matches.front();
    if (matches.empty()) return tl::unexpected(not_found(kind, text));
    return tl::unexpected(ambiguous(kind, text, matches));
}

Result<std::string> resolve(ApiClient& api, const Kinds& kind, std::string_view text) {
    constexpr std::size_t kLongestId = 255;
    if (text.empty() || text.size() > kLongestId) return invalid("ID", "this is no id");
    if (text.starts_with('@') && !is_alias(text))
        return invalid("ID", "there are @latest and @failed, no \"" + std::string(text) + "\"");
    // Nothing but the plan itself is wanted of its graph.
    auto direct = api.get(std::string(kind.path) + "/" + encoded(text) + (kind.items == "plans" ? "?nodes=0" : ""));
    if (direct) {
        WA_TRY(const json::object object, body_object(*direct));
        const std::string id = text_of(object, kind.id);
        const std::string inner = text_of(object_of(object, kind.what), kind.id);
        return !id.empty() ? id : !inner.empty() ? inner : std::string(text);
    }
    const ErrorCode code = direct.error().code;
    const bool unknown = code == ErrorCode::kNotFound || code == ErrorCode::kConflict ||
                         code == ErrorCode::kMalformed || code == ErrorCode::kInvalidArgument;
    if (!unknown || direct.error().origin != "api") return tl::unexpected(std::move(direct).error());
    if (!is_alias(text) && text.size() < kShortestPrefix) {
        Error error = not_found(kind, text);
        error.message += "; the beginning of an id needs at least 4 characters";
        return tl::unexpected(std::move(error));
    }
    return resolve_by_list(api, kind, text);
}

}  // namespace

Result<std::string> resolve_ticket(ApiClient& api, std::string_view text) {
    return resolve(api, kTicketKind, text);
}
Result<std::string> resolve_plan(ApiClient& api, std::string_view text) {
    return resolve(api, kPlanKind, text);
}

}  // namespace wa::cli
