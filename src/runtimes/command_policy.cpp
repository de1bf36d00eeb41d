#include "runtimes/command_policy.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "core/codec/shell_words.h"
#include "core/codec/text.h"

namespace wa {
namespace {

constexpr std::size_t kShownBytes = 200;
constexpr std::string_view kDigestMark = "@sha256:";
constexpr std::size_t kDigestLetters = 64;

bool is_program(const std::string& path) {
    struct stat facts{};
    return ::stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

Failure not_allowed(std::string_view program, std::string why) {
    Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, "local",
                             "command '" + clip(program, kShownBytes) + "' is not allowed: " + std::move(why));
    error.field = "parameters.command";
    error.fix = "add it to LOCAL_RUNTIME_ALLOWED_COMMANDS, if it may run on this machine";
    return Failure(std::move(error));
}

Result<void> check_form(std::string_view program) {
    if (program.empty()) return not_allowed(program, "it is empty");
    if (program.find('\0') != std::string_view::npos) return not_allowed(program, "it holds a NUL character");
    if (program.find('/') != std::string_view::npos && !program.starts_with('/')) {
        return not_allowed(program, "a path must be absolute");
    }
    return {};
}

bool is_digest(std::string_view text) {
    return text.size() == kDigestLetters && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

}  // namespace

CommandPolicy::CommandPolicy(const std::vector<std::string>& allowed, std::string_view search_path) {
    for (const std::string& text : allowed) {
        const auto words = split_shell_words(text);
        if (!words || words->empty()) continue;
        Entry entry;
        entry.program = words->front();
        if (const std::size_t mark = entry.program.rfind(kDigestMark); mark != std::string::npos) {
            entry.digest = entry.program.substr(mark + kDigestMark.size());
            entry.program.resize(mark);
            if (!is_digest(entry.digest)) continue;
        }
        entry.arguments.assign(words->begin() + 1, words->end());
        if (!entry.arguments.empty() && entry.arguments.back() == "$") {
            entry.closed = true;
            entry.arguments.pop_back();
        }
        entries_.push_back(std::move(entry));
    }
    while (!search_path.empty()) {
        const std::string_view folder = search_path.substr(0, search_path.find(':'));
        search_path.remove_prefix(std::min(search_path.size(), folder.size() + 1));
        // A relative folder would let the working directory decide what runs.
        if (!folder.starts_with('/')) continue;
        folders_.emplace_back(folder);
        path_ += (path_.empty() ? "" : ":") + folders_.back();
    }
}

bool CommandPolicy::fits(const Entry& entry, const std::vector<std::string>& command) {
    if (entry.program != command.front()) return false;
    const std::size_t given = command.size() - 1;
    if (given < entry.arguments.size() || (entry.closed && given > entry.arguments.size())) return false;
    for (std::size_t index = 0; index < entry.arguments.size(); ++index) {
        if (!fits_pattern(command[index + 1], entry.arguments[index])) return false;
    }
    return true;
}

Result<AllowedProgram> CommandPolicy::resolve(const std::vector<std::string>& command) const {
    const std::string program = command.empty() ? std::string() : command.front();
    WA_CHECKED(check_form(program));
    bool known = false;
    for (const Entry& entry : entries_) {
        known = known || entry.program == program;
        if (!fits(entry, command)) continue;
        WA_TRY(std::string path, find(program));
        return AllowedProgram{std::move(path), entry.digest};
    }
    if (known) return not_allowed(program, "it is allowed with other arguments only");
    return not_allowed(program, program.find('/') != std::string::npos
                                    ? "this very path is not in the list of allowed commands"
                                    : "it is not in the list of allowed commands");
}

Result<std::string> CommandPolicy::find(std::string_view program) const {
    WA_CHECKED(check_form(program));
    const std::string name(program);
    if (name.starts_with('/')) return name;  // what is wrong with the file, the kernel says best
    for (const std::string& folder : folders_) {
        std::string candidate = folder + "/" + name;
        if (is_program(candidate)) return candidate;
    }
    return Failure(make_error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kTask, "local",
                              "command '" + clip(program, kShownBytes) +
                                  "' is allowed, but there is no such program in " +
                                  (path_.empty() ? std::string("an empty LOCAL_RUNTIME_PATH") : path_)));
}

}  // namespace wa
