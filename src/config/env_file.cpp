#include "config/files.h"
#include "config/values.h"

namespace wa::config {
namespace {

constexpr std::size_t kMaxLines = 10'000;

bool is_name(std::string_view text) {
    if (text.empty() || (text.front() >= '0' && text.front() <= '9')) return false;
    return text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
           std::string_view::npos;
}

std::string_view unquoted(std::string_view value) {
    if (value.size() < 2) return value;
    const char quote = value.front();
    if ((quote == '"' || quote == '\'') && value.back() == quote) return value.substr(1, value.size() - 2);
    return value;
}

}  // namespace

FileContent read_env_file(const NamedText& file) {
    FileContent out;
    std::string_view rest = file.text;
    for (std::size_t line = 1; !rest.empty(); ++line) {
        const std::size_t end = rest.find('\n');
        std::string_view text = trim(rest.substr(0, end));
        rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
        const std::string where = file.path + ":" + std::to_string(line);
        if (line > kMaxLines) {
            out.problems.push_back({Severity::kError, where, {}, "the file has too many lines", {}});
            break;
        }
        if (text.empty() || text.front() == '#') continue;
        if (text.starts_with("export ")) text = trim(text.substr(7));
        const std::size_t equals = text.find('=');
        const std::string_view name = trim(text.substr(0, equals));
        if (equals == std::string_view::npos || !is_name(name)) {
            out.problems.push_back({Severity::kError, where, {}, "the line is not of the form NAME=value", {}});
            continue;
        }
        out.entries.push_back({std::string(name), std::string(unquoted(trim(text.substr(equals + 1)))), where});
    }
    return out;
}

}  // namespace wa::config
