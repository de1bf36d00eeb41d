#include "runtimes/container_task.h"

#include <algorithm>
#include <array>

#include "core/codec/text.h"
#include "runtimes/task_environment.h"

namespace wa {
namespace {

constexpr std::size_t kMaxPath = 4096;

bool is_number(std::string_view text) {
    constexpr std::size_t kMostDigits = 10;
    return !text.empty() && text.size() <= kMostDigits &&
           text.find_first_not_of("0123456789") == std::string_view::npos && *parse_whole_number(text) <= 4'294'967'294;
}

}  // namespace

Failure not_allowed(std::string_view origin, std::string_view field, std::string why, std::string fix) {
    Error error = make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, std::string(origin), std::move(why));
    error.field = "parameters." + std::string(field);
    error.fix = std::move(fix);
    return Failure(std::move(error));
}

Result<std::vector<std::string>> read_container_command(const Parameters& parameters) {
    WA_TRY(const bool shell, parameters.boolean_or("shell", false));
    std::vector<std::string> words;
    const auto* raw = parameters.raw("command");
    if (shell && (raw == nullptr || !raw->is_array())) {
        WA_TRY(const std::string script, parameters.required_text("command"));
        words = {"sh", "-c", script, "sh"};
    } else {
        WA_TRY(const auto command, parameters.command("command"));
        if (!command || command->empty()) return parameters.refuse("command", "it is missing");
        words = *command;
        if (shell && words.size() != 1) return parameters.refuse("command", "with 'shell' it must be one text");
        if (shell) words = {"sh", "-c", words.front(), "sh"};
    }
    WA_TRY(const auto arguments, parameters.command("args"));
    if (arguments) words.insert(words.end(), arguments->begin(), arguments->end());
    return words;
}

Result<void> refuse_what_is_not_taken(const Parameters& parameters, std::string_view origin) {
    static constexpr std::array kNever{"mounts",  "volumes",  "binds",    "privileged",  "devices",
                                       "cap_add", "pid_mode", "ipc_mode", "security_opt"};
    for (const char* const key : kNever) {
        const auto* value = parameters.raw(key);
        if (value == nullptr || (value->is_bool() && !value->get_bool())) continue;
        return not_allowed(origin, key, "'" + std::string(key) + "' is never taken from a ticket");
    }
    for (const char* const key : {"stdin", "secrets"}) {
        if (!parameters.has(key)) continue;
        Error error = make_error(ErrorCode::kUnsupported, Retry::kNever, Fault::kInput, std::string(origin),
                                 "'" + std::string(key) + "' cannot be given to a container");
        error.field = "parameters." + std::string(key);
        error.fix = "use the local runtime, or hand the value over in env_vars (masked when its name says 'secret')";
        return Failure(std::move(error));
    }
    return {};
}

Result<ImageName> read_image(const Parameters& parameters, const ContainerRules& rules) {
    WA_TRY(const std::string text, parameters.text_or("image", std::string(rules.default_image)));
    WA_TRY(ImageName image, parse_image_name(text));
    const bool allowed = std::ranges::any_of(
        rules.allowed_images, [&](const std::string& pattern) { return fits_pattern(image.text, pattern); });
    if (!allowed) {
        return not_allowed(rules.origin, "image", "the image '" + clip(image.text, 200) + "' is not allowed here",
                           "add it to EXECUTE_ALLOWED_IMAGES");
    }
    return image;
}

Result<std::string> read_container_user(const Parameters& parameters, const ContainerRules& rules) {
    WA_TRY(const std::string user, parameters.text_or("user", std::string(rules.user)));
    const std::size_t colon = user.find(':');
    const std::string uid = user.substr(0, colon);
    const bool numbers = is_number(uid) && (colon == std::string::npos || is_number(user.substr(colon + 1)));
    if (rules.allow_root) {
        constexpr std::size_t kMostBytes = 64;
        if (!numbers && (user.empty() || user.size() > kMostBytes || user.find_first_of(" \t/\\") != std::string::npos))
            return parameters.refuse("user", "expected user[:group]");
        return user;
    }
    if (!numbers) return parameters.refuse("user", "expected numbers, uid[:gid]: what a name means is up to the image");
    if (*parse_whole_number(uid) == 0)
        return not_allowed(rules.origin, "user", "containers do not run as root here",
                           std::string(rules.allow_root_fix));
    return user;
}

Result<StringMap> read_container_variables(const Parameters& parameters) {
    WA_TRY(const auto given, parameters.map({"env_vars", "env"}));
    StringMap variables = given.value_or(StringMap{});
    for (const auto& [name, value] : variables) {
        const bool good = !name.empty() && name.find('=') == std::string::npos &&
                          std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7F; });
        if (!good) return parameters.refuse("env_vars", "'" + clip(name) + "' is no name of a variable");
        if (value.find('\0') != std::string::npos)
            return parameters.refuse("env_vars", "'" + clip(name) + "' holds a NUL character");
        if (value.size() > kMaxVariableBytes)
            return parameters.refuse("env_vars", "'" + clip(name) + "' is longer than 32 KiB");
    }
    return variables;
}

Result<std::string> read_container_folder(const Parameters& parameters) {
    WA_TRY(const auto folder, parameters.text("working_dir", kMaxPath));
    if (folder && !folder->starts_with('/'))
        return parameters.refuse("working_dir", "expected a path inside the container that begins with '/'");
    return folder.value_or("");
}

}  // namespace wa
