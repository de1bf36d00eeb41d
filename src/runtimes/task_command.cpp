#include "runtimes/task_command.h"

#include "core/codec/text.h"
#include "runtimes/secret_mask.h"

namespace wa {
namespace {

constexpr std::size_t kMaxShownBytes = 8 * 1024;

}  // namespace

Result<RetryCodes> read_retry_codes(const Parameters& parameters) {
    RetryCodes retry;
    const auto* raw = parameters.raw("retry_on_exit_codes");
    if (raw == nullptr) return retry;
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
            retry.any = true;
            continue;
        }
        const auto number = parse_whole_number(code);
        if (!number || *number < 1 || *number > 255) {
            return parameters.refuse("retry_on_exit_codes", "expected 'any' or exit codes from 1 to 255");
        }
        retry.codes.insert(static_cast<int>(*number));
    }
    return retry;
}

std::string exit_text(int exit_code) {
    constexpr int kSignal = 128;
    constexpr int kLastSignal = 64;
    std::string text = "exit code " + std::to_string(exit_code);
    if (exit_code > kSignal && exit_code <= kSignal + kLastSignal)
        text += " (signal " + std::to_string(exit_code - kSignal) + ")";
    return text;
}

Result<std::vector<std::string>> find_secrets(const Parameters& parameters, const std::vector<std::string>& words,
                                              std::initializer_list<const StringMap*> secret,
                                              std::initializer_list<const StringMap*> variables) {
    std::vector<std::string> secrets;
    for (const StringMap* map : secret) {
        for (const auto& [name, value] : *map)
            secrets.push_back(value);
    }
    for (const StringMap* map : variables) {
        for (const auto& [name, value] : *map) {
            if (names_secret(name)) secrets.push_back(value);
        }
    }
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
    for (const std::string& value : secrets)
        bytes += value.size();
    if (bytes > kMaxSecretBytes)
        return parameters.refuse("secrets", "values that are called secret are longer than 32 KiB together");
    return secrets;
}

std::string shown_command(const std::vector<std::string>& words, const std::vector<std::string>& secrets) {
    std::string line;
    for (const std::string& word : words)
        line += (line.empty() ? "" : " ") + word;
    return clip(SecretMask(secrets).apply(line), kMaxShownBytes);
}

}  // namespace wa
