#include "runtimes/docker_progress.h"

#include <boost/json/object.hpp>
#include <utility>

#include "core/codec/json_limits.h"
#include "core/codec/text.h"

namespace wa::docker {
namespace {

constexpr std::size_t kShown = 500;

std::string text_of(const boost::json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    const auto* text = value != nullptr ? value->if_string() : nullptr;
    return text != nullptr ? clip(std::string_view(text->data(), text->size()), kShown) : std::string();
}

}  // namespace

Result<void> PullProgress::feed(std::string_view bytes) {
    while (!bytes.empty()) {
        const std::size_t end = bytes.find('\n');
        const std::string_view piece = bytes.substr(0, end);
        if (line_.size() + piece.size() > kMaxLine)
            return fail(ErrorCode::kLimitExceeded, "docker", "a line of the progress of a pull is longer than 64 KiB");
        line_ += piece;
        if (end == std::string_view::npos) return {};
        bytes.remove_prefix(end + 1);
        const std::string line = std::exchange(line_, {});
        WA_CHECKED(take_line(line));
    }
    return {};
}

Result<void> PullProgress::finish() {
    const std::string line = std::exchange(line_, {});
    return take_line(line);
}

Result<void> PullProgress::take_line(std::string_view line) {
    if (line.find_first_not_of(" \t\r\n") == std::string_view::npos) return {};
    JsonLimits limits;
    limits.max_bytes = kMaxLine;
    limits.max_depth = 16;
    const auto parsed = parse_json(line, limits);
    if (!parsed || !parsed->is_object())
        return fail(ErrorCode::kMalformed, "docker", "the progress of a pull is not JSON lines");
    const auto& object = parsed->get_object();
    if (std::string status = text_of(object, "status"); !status.empty()) status_ = std::move(status);
    const auto* detail = object.if_contains("errorDetail");
    std::string failure = text_of(object, "error");
    if (detail != nullptr && detail->is_object()) {
        if (failure.empty()) failure = text_of(detail->get_object(), "message");
        if (const auto* code = detail->get_object().if_contains("code"); code != nullptr) {
            const auto number = whole_number(*code);
            if (number && *number >= 400 && *number < 600) failure_status_ = static_cast<int>(*number);
        }
        if (failure.empty()) failure = "no reason given";
    }
    if (!failure.empty() && !failure_) failure_ = std::move(failure);
    return {};
}

}  // namespace wa::docker
