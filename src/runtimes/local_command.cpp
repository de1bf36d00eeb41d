#include "runtimes/local_command.h"

#include <algorithm>
#include <charconv>

#include "core/codec/parameters.h"
#include "core/codec/text.h"
#include "runtimes/task_command.h"
#include "runtimes/task_environment.h"

namespace wa {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxInputBytes = kMaxParameterBytes;

Result<std::vector<std::string>> shell_words(const Parameters& parameters, const LocalCommandRules& rules) {
    if (!rules.allow_shell) {
        Error error =
            make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, "local", "'shell' is not allowed here");
        error.field = "parameters.shell";
        error.fix = "give the command as a list, or set LOCAL_RUNTIME_ALLOW_SHELL=true";
        return Failure(std::move(error));
    }
    std::string script;
    if (const auto* raw = parameters.raw("command"); raw != nullptr && raw->is_array()) {
        WA_TRY(const auto words, parameters.command("command"));
        if (!words || words->size() != 1) return parameters.refuse("command", "with 'shell' it must be one text");
        script = words->front();
    } else {
        WA_TRY(script, parameters.required_text("command"));
    }
    return std::vector<std::string>{"sh", "-c", script, "sh"};
}

Result<std::vector<std::string>> command_words(const Parameters& parameters, const LocalCommandRules& rules) {
    WA_TRY(const bool shell, parameters.boolean_or("shell", false));
    std::vector<std::string> words;
    if (shell) {
        WA_TRY(words, shell_words(parameters, rules));
    } else {
        WA_TRY(const auto command, parameters.command("command"));
        if (!command || command->empty()) return parameters.refuse("command", "it is missing");
        words = *command;
    }
    WA_TRY(const auto arguments, parameters.command("args"));
    if (arguments) words.insert(words.end(), arguments->begin(), arguments->end());
    return words;
}

// What a ticket gives a task as files only: each becomes a private file, whose path the variable NAME_FILE holds.
Result<void> read_secret_files(const Parameters& parameters, LocalCommand& command) {
    WA_TRY(const auto files, parameters.map("secrets"));
    if (!files) return {};
    constexpr std::size_t kMostFiles = 16;
    if (files->size() > kMostFiles) return parameters.refuse("secrets", "at most 16 of them are taken");
    // Their names become names of variables, and follow the same rule.
    StringMap names;
    for (const auto& [name, value] : *files)
        names.emplace(name + "_FILE", "");
    WA_CHECKED(check_variables(names, {"*"}, {}));
    command.secret_files = *files;
    return {};
}

}  // namespace

Result<LocalCommand> parse_local_command(const Ticket& ticket, const LocalCommandRules& rules) {
    const Parameters parameters(ticket.parameters);
    LocalCommand command;
    WA_TRY(command.arguments, command_words(parameters, rules));
    WA_TRY(AllowedProgram program, rules.policy.resolve(command.arguments));
    command.executable = std::move(program.path);
    command.digest = std::move(program.digest);
    WA_TRY(const auto variables, parameters.map({"env_vars", "env"}));
    command.variables = variables.value_or(StringMap{});
    WA_CHECKED(check_variables(command.variables, rules.allowed_variables, rules.denied_variables));
    WA_TRY(command.working_dir, parameters.text("working_dir"));
    WA_TRY(command.timeout, parameters.duration("timeout_seconds", {milliseconds(1), std::chrono::hours(24 * 7)}));
    WA_TRY(command.input, parameters.text("stdin", kMaxInputBytes));
    WA_TRY(const auto max_output, parameters.integer("max_output_bytes", {0, 1LL << 40}));
    command.max_output_bytes =
        max_output ? std::min(static_cast<std::size_t>(*max_output), rules.max_output_bytes) : rules.max_output_bytes;
    WA_TRY(command.retry, read_retry_codes(parameters));
    WA_CHECKED(read_secret_files(parameters, command));
    WA_TRY(command.sandbox, read_sandbox_wish(ticket));
    WA_TRY(command.secrets, find_secrets(parameters, command.arguments, {&command.secret_files}, {&command.variables}));
    command.shown = shown_command(command.arguments, command.secrets);
    return command;
}

Result<LocalCommand> parse_local_job(const Ticket& ticket, const LocalJob& job, const LocalCommandRules& rules) {
    LocalCommand command;
    if (job.argv.empty()) {
        return fail(ErrorCode::kInvalidArgument, "local", "there is no command to run");
    }
    command.arguments = job.argv;
    WA_TRY(command.executable, rules.policy.find(command.arguments.front()));
    command.variables = job.variables;
    WA_CHECKED(check_variables(command.variables, rules.allowed_variables, rules.denied_variables));
    command.working_dir = job.working_dir;
    if (job.timeout > Duration::zero()) command.timeout = std::chrono::ceil<milliseconds>(job.timeout);
    command.max_output_bytes = std::min(job.max_output_bytes, rules.max_output_bytes);
    const Parameters parameters(ticket.parameters);
    WA_TRY(command.retry, read_retry_codes(parameters));
    WA_CHECKED(read_secret_files(parameters, command));
    WA_TRY(command.sandbox, read_sandbox_wish(ticket));
    WA_TRY(command.secrets, find_secrets(parameters, command.arguments, {&command.secret_files}, {&command.variables}));
    command.shown = shown_command(command.arguments, command.secrets);
    return command;
}

}  // namespace wa
