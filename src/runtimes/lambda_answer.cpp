#include "runtimes/lambda_answer.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <limits>

#include "core/codec/json_limits.h"
#include "core/codec/text.h"
#include "runtimes/aws_credentials.h"

namespace wa::lambda {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxAnswer = 8U << 20U;
constexpr std::size_t kMaxValues = 1'000'000;
constexpr std::size_t kMaxTail = 16 * 1024;
constexpr std::size_t kMaxLines = 60;
constexpr std::size_t kMaxWord = 100;

const json::value* member(const json::object& object, std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) {
        const auto* value = object.if_contains(name);
        if (value != nullptr && !value->is_null()) return value;
    }
    return nullptr;
}

std::string text_member(const json::object& object, std::initializer_list<std::string_view> names) {
    const auto* value = member(object, names);
    return value != nullptr ? value_text(*value) : std::string();
}

void read_exit_code(const json::object& object, FunctionAnswer& answer) {
    const auto* value = member(object, {"exit_code", "exitCode"});
    if (value == nullptr) return;
    auto number = whole_number(*value);
    if (const auto* text = value->if_string())
        number = parse_whole_number(std::string_view(text->data(), text->size()));
    using Limits = std::numeric_limits<std::int32_t>;
    if (number && *number >= Limits::min() && *number <= Limits::max()) {
        answer.exit_code = static_cast<std::int32_t>(*number);
    } else {
        answer.bad_exit_code = true;
    }
}

void read_trace(const json::object& object, FunctionAnswer& answer) {
    const auto* value = member(object, {"stackTrace", "trace"});
    const auto* lines = value != nullptr ? value->if_array() : nullptr;
    if (lines == nullptr) return;
    for (const json::value& line : *lines) {
        if (answer.trace.size() == kMaxLines) return;
        answer.trace.push_back(value_text(line));
    }
}

// "… Billed Duration: 12 ms …"
std::optional<std::uint64_t> figure(std::string_view line, std::string_view name) {
    const std::size_t at = line.find(name);
    if (at == std::string_view::npos) return std::nullopt;
    line.remove_prefix(at + name.size());
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    const auto number = parse_whole_number(line.substr(0, line.find_first_not_of("0123456789")));
    if (!number || *number < 0) return std::nullopt;
    return static_cast<std::uint64_t>(*number);
}

void read_report(std::string_view line, LogTail& tail) {
    if (!line.starts_with("REPORT")) return;
    tail.billed_ms = figure(line, "Billed Duration:");
    tail.memory_used_mb = figure(line, "Max Memory Used:");
    // "Max Memory Used" has other words; what is looked for is "Memory Size".
    tail.memory_mb = figure(line, "Memory Size:");
}

// "ResourceNotFoundException:http://internal…" and "com.amazon.coral#AccessDenied" in one form.
std::string plain_type(std::string_view type) {
    type = type.substr(0, type.find(':'));
    if (const std::size_t mark = type.rfind('#'); mark != std::string_view::npos) type.remove_prefix(mark + 1);
    return clip(lossy_utf8(type.substr(0, kMaxWord), kMaxWord), kMaxWord);
}

RefusalKind kind_of(int status, std::string_view type) {
    static constexpr std::array<std::string_view, 7> kKeys{
        "UnrecognizedClientException", "InvalidSignatureException",           "SignatureDoesNotMatch",
        "InvalidClientTokenId",        "MissingAuthenticationTokenException", "IncompleteSignatureException",
        "InvalidAccessKeyId"};
    constexpr int kServerSide = 500;
    if (status >= kServerSide) return RefusalKind::kService;
    if (status == 429) return RefusalKind::kThrottled;
    if (type == "ExpiredTokenException" || type == "ExpiredToken") return RefusalKind::kExpired;
    if (status == 401 || std::ranges::find(kKeys, type) != kKeys.end()) return RefusalKind::kCredentials;
    if (status == 403) return RefusalKind::kForbidden;
    if (status == 404) return RefusalKind::kNotFound;
    // 3xx, 408, 425: of somebody in between, who says nothing about the function.
    return status >= 400 && status != 408 && status != 425 ? RefusalKind::kInvalid : RefusalKind::kService;
}

}  // namespace

FunctionAnswer read_answer(std::string_view body) {
    FunctionAnswer answer;
    JsonLimits limits;
    limits.max_bytes = kMaxAnswer;
    limits.max_values = kMaxValues;
    const auto parsed = parse_json(body, limits);
    if (!parsed) {
        answer.out = std::string(body);
        return answer;
    }
    const auto* object = parsed->if_object();
    if (object == nullptr) {
        answer.out = value_text(*parsed);
        return answer;
    }
    read_exit_code(*object, answer);
    answer.out = text_member(*object, {"stdout", "output"});
    answer.err = text_member(*object, {"stderr"});
    answer.error = text_member(*object, {"error", "errorMessage"});
    answer.error_type = plain_type(text_member(*object, {"errorType"}));
    read_trace(*object, answer);
    return answer;
}

LogTail read_log_tail(std::string_view header) {
    LogTail tail;
    if (header.empty() || header.size() > kMaxTail) return tail;
    const auto text = from_base64(header);
    if (!text) return tail;
    std::string_view rest = *text;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        std::string_view line = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty()) continue;
        read_report(line, tail);
        tail.lines.push_back(lossy_utf8(line, line.size()));
    }
    if (tail.lines.size() > kMaxLines)
        tail.lines.erase(tail.lines.begin(), tail.lines.end() - static_cast<std::ptrdiff_t>(kMaxLines));
    return tail;
}

Refusal read_refusal(const http::Response& response) {
    Refusal refusal;
    JsonLimits limits;
    limits.max_bytes = 64 * 1024;
    limits.max_depth = 16;
    std::string_view type = response.header("x-amzn-errortype");
    std::string from_body;
    if (const auto parsed = parse_json(response.body, limits); parsed && parsed->is_object()) {
        const json::object& object = parsed->get_object();
        refusal.message = text_member(object, {"message", "Message"});
        from_body = text_member(object, {"__type", "code", "Code"});
        if (type.empty()) type = from_body;
    } else if (const aws::XmlError error = aws::read_xml_error(response.body); !error.code.empty()) {
        refusal.message = error.message;
        from_body = error.code;
        if (type.empty()) type = from_body;
    }
    refusal.type = plain_type(type);
    refusal.kind = kind_of(response.status, refusal.type);
    return refusal;
}

}  // namespace wa::lambda
