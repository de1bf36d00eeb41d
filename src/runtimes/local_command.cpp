#include "runtimes/local_command.h"

#include <algorithm>
#include <charconv>

#include "core/codec/parameters.h"
#include "core/codec/text.h"
#include "runtimes/secret_mask.h"
#include "runtimes/task_environment.h"

namespace wa {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxShownBytes = 8 * 1024;
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

Result<void> read_retry_codes(const Parameters& parameters, LocalCommand& command) {
    const auto* raw = parameters.raw("retry_on_exit_codes");
    if (raw == nullptr) return {};
    std::vector<std::string> codes;
    if (raw->is_number()) {
        WA_TRY(const auto text, parameters.required_text("retry_on_exit_codes"));
        codes.push_back(text);
    } else {
        WA_TRY(const auto list, parameters.list("retry_on_exit_codes"));
        codes = list.value_or(std::vector<std::string>{});
    }
    for (const std::string& code : codes) {
        if (code == "any") {
            command.retry_on_any_exit_code = true;
            continue;
        }
        const auto number = parse_whole_number(code);
        if (!number || *number < 1 || *number > 255) {
            return parameters.refuse("retry_on_exit_codes", "expected 'any' or exit codes from 1 to 255");
        }
        command.retry_on_exit_codes.insert(static_cast<int>(*number));
    }
    return {};
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

// Values that the ticket itself calls secret: variables and options with such names.
Result<std::vector<std::string>> find_secrets(const Parameters& parameters, const LocalCommand& command) {
    std::vector<std::string> secrets;
    for (const auto& [name, value] : command.secret_files)
        secrets.push_back(value);
    for (const auto& [name, value] : command.variables) {
        if (names_secret(name)) secrets.push_back(value);
    }
    const auto& words = command.arguments;
    for (std::size_t index = 1; index < words.size(); ++index) {
        const std::string_view word = words[index];
        if (!word.starts_with('-')) continue;
        const std::size_t equals = word.find('=');
        if (!names_secret(word.substr(0, equals))) continue;
        if (equals != std::string_view::npos) {
            secrets.emplace_back(word.substr(equals + 1));
        } else if (index + 1 < words.size()) {
            secrets.push_back(words[index + 1]);
        }
    }
    std::size_t bytes = 0;
    for (const std::string& secret : secrets)
        bytes += secret.size();
    if (bytes > kMaxSecretBytes)
        return parameters.refuse("secrets", "values that are called secret are longer than 32 KiB together");
    return secrets;
}

std::string show(const LocalCommand& command) {
    std::string line;
    for (const std::string& word : command.arguments)
        line += (line.empty() ? "" : " ") + word;
    return clip(SecretMask(command.secrets).apply(line), kMaxShownBytes);
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
    WA_CHECKED(read_retry_codes(parameters, command));
    WA_CHECKED(read_secret_files(parameters, command));
    WA_TRY(command.sandbox, read_sandbox_wish(ticket));
    WA_TRY(command.secrets, find_secrets(parameters, command));
    command.shown = show(command);
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
    WA_CHECKED(read_retry_codes(parameters, command));
    WA_CHECKED(read_secret_files(parameters, command));
    WA_TRY(command.sandbox, read_sandbox_wish(ticket));
    WA_TRY(command.secrets, find_secrets(parameters, command));
    command.shown = show(command);
    return command;
}

}  // namespace wa
