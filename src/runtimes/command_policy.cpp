#include "runtimes/command_policy.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "core/codec/text.h"

namespace wa {
namespace {

constexpr std::size_t kShownBytes = 200;

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

}  // namespace

CommandPolicy::CommandPolicy(std::vector<std::string> allowed, std::string_view search_path)
    : allowed_(std::move(allowed)) {
    while (!search_path.empty()) {
        const std::string_view folder = search_path.substr(0, search_path.find(':'));
        search_path.remove_prefix(std::min(search_path.size(), folder.size() + 1));
        // A relative folder would let the working directory decide what runs.
        if (!folder.starts_with('/')) continue;
        folders_.emplace_back(folder);
        path_ += (path_.empty() ? "" : ":") + folders_.back();
    }
}

bool CommandPolicy::allows(std::string_view program) const {
    return !program.empty() && std::find(allowed_.begin(), allowed_.end(), program) != allowed_.end();
}

Result<std::string> CommandPolicy::resolve(std::string_view program) const {
    WA_CHECKED(check_form(program));
    if (!allows(program)) {
        return not_allowed(program, program.find('/') != std::string_view::npos
                                        ? "this very path is not in the list of allowed commands"
                                        : "it is not in the list of allowed commands");
    }
    return find(program);
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
