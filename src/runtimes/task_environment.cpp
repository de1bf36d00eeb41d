#include "runtimes/task_environment.h"

#include <algorithm>
#include <array>

#include "core/codec/text.h"

namespace wa {
namespace {

// Names with which a ticket could make an allowed program run something else, or pass for somebody else.
constexpr std::array<std::string_view, 13> kDenied{
    "PATH",       "HOME",          "IFS",          "BASH_ENV", "ENV",     "SHELLOPTS", "PYTHONPATH",
    "PYTHONHOME", "PYTHONSTARTUP", "NODE_OPTIONS", "PERL5OPT", "RUBYOPT", "KUBECONFIG"};
constexpr std::array<std::string_view, 4> kDeniedPrefixes{"LD_", "DYLD_", "GIT_", "WORKER_AGENTS_"};
// Shell functions travel as variables in some shells.
constexpr std::array<std::string_view, 3> kDeniedToo{"BASHOPTS", "PS4", "GCONV_PATH"};

bool is_name(std::string_view name) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    return !name.empty() && letter(name.front()) &&
           std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || digit(c); });
}

bool is_denied(std::string_view name, const std::vector<std::string>& denied) {
    return std::find(kDenied.begin(), kDenied.end(), name) != kDenied.end() ||
           std::find(kDeniedToo.begin(), kDeniedToo.end(), name) != kDeniedToo.end() ||
           std::any_of(kDeniedPrefixes.begin(), kDeniedPrefixes.end(),
                       [&](std::string_view prefix) { return name.starts_with(prefix); }) ||
           std::find(denied.begin(), denied.end(), name) != denied.end();
}

Failure refuse(ErrorCode code, std::string_view name, const char* why) {
    const std::string shown = clip(name, 64);
    Error error =
        make_error(code, Retry::kNever, Fault::kInput, "local", "environment variable '" + shown + "' " + why);
    error.field = "parameters.env_vars." + shown;
    return Failure(std::move(error));
}

}  // namespace

Result<void> check_variables(const StringMap& variables, const std::vector<std::string>& allowed,
                             const std::vector<std::string>& denied) {
    const auto is_allowed = [&](std::string_view name) {
        return std::any_of(allowed.begin(), allowed.end(),
                           [&](const std::string& pattern) { return fits_pattern(name, pattern); });
    };
    for (const auto& [name, value] : variables) {
        if (!is_name(name))
            return refuse(ErrorCode::kInvalidArgument, name, "has a name that is not [A-Za-z_][A-Za-z0-9_]*");
        if (!is_allowed(name) || is_denied(name, denied))
            return refuse(ErrorCode::kNotAllowed, name, "may not be set by a ticket");
        if (value.find('\0') != std::string::npos)
            return refuse(ErrorCode::kInvalidArgument, name, "holds a NUL character");
        if (value.size() > kMaxVariableBytes) return refuse(ErrorCode::kLimitExceeded, name, "is longer than 32 KiB");
    }
    return {};
}

std::vector<std::string> make_environment(const EnvironmentBase& base, const StringMap& variables) {
    StringMap all{
        {"PATH", base.path}, {"HOME", base.home}, {"TMPDIR", base.tmp}, {"LANG", "C.UTF-8"}, {"LC_ALL", "C.UTF-8"}};
    for (const auto& [name, value] : variables)
        all.insert_or_assign(name, value);
    std::vector<std::string> entries;
    entries.reserve(all.size());
    for (const auto& [name, value] : all)
        entries.push_back(name + "=" + value);
    return entries;
}

}  // namespace wa
