#include "adapters/redis/redis_address.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/codec/text.h"

namespace wa {
namespace {

constexpr std::size_t kMaxUrlBytes = 4096;
constexpr std::size_t kMaxSocketPath = 107;

Failure bad(ErrorCode code, std::string why, std::string fix) {
    Error error = make_error(code, Retry::kNever, Fault::kInput, "redis", "REDIS_URL " + std::move(why));
    error.field = "REDIS_URL";
    error.fix = std::move(fix);
    return tl::unexpected(std::move(error));
}
Failure bad(std::string why) {
    return bad(ErrorCode::kInvalidArgument, std::move(why), "write it as redis://user:password@host:6379/0");
}

std::optional<unsigned> hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
    return std::nullopt;
}

std::optional<std::string> decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
        const auto low = i + 2 < text.size() ? hex_digit(text[i + 2]) : std::nullopt;
        if (!high || !low) return std::nullopt;
        out += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    return out;
}

bool is_host(std::string_view host) {
    return !host.empty() && host.size() <= 253 && std::ranges::all_of(host, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
               c == '_' || c == ':';
    });
}

bool read_database(std::string_view text, std::int32_t& database) {
    const bool digits =
        !text.empty() && text.size() <= 5 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
    if (digits) database = static_cast<std::int32_t>(*parse_whole_number(text));
    return digits;
}

// "?db=1"; other parameters are of no meaning here and refused, so that nobody relies on them.
bool read_query(std::string_view query, std::int32_t& database) {
    return query.empty() || (query.starts_with("db=") && read_database(query.substr(3), database));
}

std::optional<std::string> take_credentials(std::string_view& rest, std::size_t end, RedisAddress& address) {
    const std::size_t at = rest.substr(0, end).rfind('@');
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view info = rest.substr(0, at);
    rest.remove_prefix(at + 1);
    const std::size_t colon = info.find(':');
    auto user = decode(info.substr(0, colon));
    auto password = colon == std::string_view::npos ? std::string() : decode(info.substr(colon + 1));
    if (!user || !password) return "has a percent sign in its credentials that is not followed by two hex digits";
    address.username = *std::move(user);
    address.password = *std::move(password);
    return std::nullopt;
}

Result<RedisAddress> parse_unix(std::string_view rest) {
    RedisAddress address;
    if (auto why = take_credentials(rest, std::min(rest.find('/'), rest.size()), address)) return bad(*std::move(why));
    const std::size_t question = rest.find('?');
    if (question != std::string_view::npos && !read_query(rest.substr(question + 1), address.database))
        return bad("has a query that is not '?db=<number>'");
    address.unix_socket = std::string(rest.substr(0, question));
    if (!address.unix_socket.starts_with('/') || address.unix_socket.size() > kMaxSocketPath)
        return bad("needs an absolute path of at most 107 bytes after unix://");
    return address;
}

// "host", "host:port", "[v6]", "[v6]:port"
bool read_place(std::string_view place, RedisAddress& address) {
    std::string_view port;
    if (place.starts_with('[')) {
        const std::size_t end = place.find(']');
        if (end == std::string_view::npos) return false;
        address.host = std::string(place.substr(1, end - 1));
        place.remove_prefix(end + 1);
        if (!place.empty() && !place.starts_with(':')) return false;
        port = place.empty() ? place : place.substr(1);
        if (!place.empty() && port.empty()) return false;
    } else {
        const std::size_t colon = place.find(':');
        address.host = std::string(place.substr(0, colon));
        if (address.host.find(':') != std::string::npos) return false;
        if (colon != std::string_view::npos) {
            port = place.substr(colon + 1);
            if (port.empty()) return false;
        }
    }
    if (!is_host(address.host)) return false;
    if (port.empty()) return true;
    const bool digits = port.size() <= 5 && std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
    const std::int64_t number = digits ? parse_whole_number(port).value_or(0) : 0;
    if (number < 1 || number > 65'535) return false;
    address.port = static_cast<std::uint16_t>(number);
    return true;
}

}  // namespace

std::string RedisAddress::shown() const {
    if (!unix_socket.empty()) return unix_socket;
    return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

Result<RedisAddress> parse_redis_url(std::string_view text) {
    if (text.size() > kMaxUrlBytes) return bad("is longer than 4 KiB");
    if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7F; }))
        return bad("has blanks or control characters in it");
    const std::size_t scheme_end = text.find("://");
    if (scheme_end == std::string_view::npos) return bad("has no scheme");
    const std::string_view scheme = text.substr(0, scheme_end);
    std::string_view rest = text.substr(scheme_end + 3);
    if (scheme == "rediss")
        return bad(ErrorCode::kUnsupported, "asks for TLS, which this worker does not speak to Redis",
                   "let the mesh sidecar or a local proxy do TLS, and point REDIS_URL at it with redis://");
    if (scheme == "unix") return parse_unix(rest);
    if (scheme != "redis") return bad("must begin with redis:// or unix://");
    RedisAddress address;
    if (auto why = take_credentials(rest, std::min(rest.find('/'), rest.size()), address)) return bad(*std::move(why));
    const std::size_t question = rest.find('?');
    if (question != std::string_view::npos && !read_query(rest.substr(question + 1), address.database))
        return bad("has a query that is not '?db=<number>'");
    rest = rest.substr(0, question);
    const std::size_t slash = rest.find('/');
    if (slash != std::string_view::npos && slash + 1 < rest.size() &&
        !read_database(rest.substr(slash + 1), address.database))
        return bad("has a database that is not a number");
    if (!read_place(rest.substr(0, slash), address)) return bad("has no usable host and port");
    return address;
}

}  // namespace wa
