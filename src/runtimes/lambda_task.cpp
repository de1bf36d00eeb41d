#include "runtimes/lambda_task.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "core/codec/json_write.h"
#include "core/codec/parameters.h"
#include "core/codec/shell_words.h"
#include "core/codec/text.h"
#include "http_client/url.h"

namespace wa::lambda {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr std::size_t kMaxPath = 4096;
constexpr std::size_t kMaxName = 170;  // of an ARN with its qualifier
constexpr std::size_t kMaxQualifier = 128;

bool made_of(std::string_view text, std::string_view more) {
    return std::ranges::all_of(text, [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               more.find(c) != std::string_view::npos;
    });
}

// Not to be had there: nothing of that is left out in silence.
Result<void> refuse_what_is_not_taken(const Parameters& parameters) {
    for (const char* const key : {"stdin", "secrets", "shell"}) {
        const auto* value = parameters.raw(key);
        if (value == nullptr || (value->is_bool() && !value->get_bool())) continue;
        Error error = make_error(ErrorCode::kUnsupported, Retry::kNever, Fault::kInput, "lambda",
                                 "'" + std::string(key) + "' cannot be given to a function");
        error.field = "parameters." + std::string(key);
        error.fix = "use another runtime, or hand the value over in env_vars (masked when its name says 'secret')";
        return Failure(std::move(error));
    }
    return {};
}

Result<void> read_function(const Parameters& parameters, const TaskRules& rules, Task& task) {
    WA_TRY(task.function, parameters.text_or("function_name", rules.function));
    if (task.function.empty() || task.function.size() > kMaxName || !made_of(task.function, "-_:.$"))
        return parameters.refuse("function_name", "expected the name or the ARN of a function");
    const bool listed = std::ranges::any_of(
        rules.allowed, [&](const std::string& pattern) { return fits_pattern(task.function, pattern); });
    // The operator's own choice needs no list, unless there is one and a ticket names it.
    const bool own = task.function == rules.function && (rules.allowed.empty() || !parameters.has("function_name"));
    if (!listed && !own) {
        Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, "lambda",
                                 "the function '" + clip(task.function, 200) + "' is not allowed here");
        error.field = "parameters.function_name";
        error.fix = "add it to LAMBDA_ALLOWED_FUNCTIONS";
        return Failure(std::move(error));
    }
    WA_TRY(const auto qualifier, parameters.text("qualifier"));
    task.qualifier = qualifier.value_or("");
    if (task.qualifier.size() > kMaxQualifier || !made_of(task.qualifier, "-_$"))
        return parameters.refuse("qualifier", "expected a version or an alias of the function");
    return {};
}

std::string quoted(std::string_view word) {
    return !word.empty() && made_of(word, "-_./:=,+@%") ? std::string(word) : quote_shell_word(word);
}

// Text stays as it is; a list becomes one text.
Result<void> read_command(const Parameters& parameters, Task& task, std::vector<std::string>& words) {
    WA_TRY(const auto command, parameters.command("command"));
    if (command && !command->empty()) {
        words = *command;
        std::string line;
        for (const std::string& word : *command)
            line += (line.empty() ? "" : " ") + quoted(word);
        task.command = std::move(line);
    }
    WA_TRY(task.args, parameters.command("args"));
    if (task.args) words.insert(words.end(), task.args->begin(), task.args->end());
    return {};
}

}  // namespace

Result<Task> parse_task(const Ticket& ticket, const TaskRules& rules) {
    const Parameters parameters(ticket.parameters);
    Task task;
    WA_CHECKED(refuse_what_is_not_taken(parameters));
    WA_CHECKED(read_function(parameters, rules, task));
    std::vector<std::string> words;
    WA_CHECKED(read_command(parameters, task, words));
    WA_TRY(task.variables, parameters.map({"env_vars", "env"}));
    WA_TRY(const auto folder, parameters.text("working_dir", kMaxPath));
    task.working_dir = folder.value_or("");
    WA_TRY(task.timeout, parameters.duration("timeout_seconds", {milliseconds(1), std::chrono::hours(24 * 7)}));
    WA_TRY(task.retry, read_retry_codes(parameters));
    WA_TRY(const auto max_output, parameters.integer("max_output_bytes", {0, 1LL << 40}));
    task.max_output_bytes =
        max_output ? std::min(static_cast<std::size_t>(*max_output), rules.max_output_bytes) : rules.max_output_bytes;
    const StringMap none;
    WA_TRY(task.secrets, find_secrets(parameters, words, {}, {task.variables ? &*task.variables : &none}));
    if (!words.empty()) task.shown = shown_command(words, task.secrets);
    return task;
}

Result<std::string> payload(const Task& task, std::string_view ticket_id, std::int32_t attempt, Duration timeout) {
    std::string text;
    JsonObjectWriter writer(text);
    if (task.command) writer.text("command", *task.command);
    if (task.args) {
        json::array args;
        for (const std::string& word : *task.args)
            args.emplace_back(json::string(word));
        writer.value("args", args);
    }
    if (task.variables) {
        json::object variables;
        for (const auto& [name, value] : *task.variables)
            variables[name] = json::string(value);
        writer.value("env_vars", variables);
    }
    if (!task.working_dir.empty()) writer.text("working_dir", task.working_dir);
    // Whole seconds, rounded up: functions expect an integer.
    writer.integer("timeout_seconds", (to_millis(timeout) + 999) / 1000);
    writer.text("ticket_id", ticket_id);
    writer.integer("attempt", attempt);
    writer.close();
    if (text.size() > kMaxPayload) {
        return Failure(make_error(
            ErrorCode::kLimitExceeded, Retry::kNever, Fault::kInput, "lambda",
            "the payload for the function has " + std::to_string(text.size()) + " bytes; AWS takes at most 6 MiB"));
    }
    return text;
}

std::string invocation_path(const Task& task) {
    std::string path = "/2015-03-31/functions/" + http::encode_url_part(task.function) + "/invocations";
    if (!task.qualifier.empty()) path += "?Qualifier=" + http::encode_url_part(task.qualifier);
    return path;
}

}  // namespace wa::lambda
