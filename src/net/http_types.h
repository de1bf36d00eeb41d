// Requests and answers as plain values. Nothing here knows about sockets or Beast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wa::net {

inline constexpr std::size_t kMaxHeaderBytes = 64 * 1024;
inline constexpr std::size_t kMaxTargetBytes = 8 * 1024;

enum class Peer : std::uint8_t {
    kTcp,
    kUnix,  // the caller opened the socket file, which only its owner may do: no token is asked for
};

using NameValues = std::vector<std::pair<std::string, std::string>>;

struct Request {
    std::string method;                 // as sent, upper case for every known method
    std::string path;                   // as sent, percent-encoded, without query and without a trailing slash
    std::vector<std::string> segments;  // path, decoded piece by piece ("%2F" inside a piece stays inside it)
    NameValues params;                  // {name} pieces of the route's pattern, decoded
    NameValues query;                   // decoded, in the order sent; names may repeat
    NameValues headers;                 // names in lower case
    std::string body;
    Peer peer = Peer::kTcp;
    bool loopback = false;     // the other end is this machine
    std::string peer_address;  // text form, empty on the socket
    std::string_view pattern;  // of the matched route; static for the router's life

    // The first of that name; empty when absent. `name` in lower case for headers.
    [[nodiscard]] std::string_view header(std::string_view name) const;
    [[nodiscard]] std::string_view param(std::string_view name) const;
    [[nodiscard]] std::optional<std::string_view> query_value(std::string_view name) const;
};

struct Response {
    int status = 200;
    std::string content_type = "application/json";  // ignored when the body is empty and status is 204
    std::string body = {};
    NameValues headers = {};
    bool close = false;  // end the connection after this answer
};

// One entry of a problem's list of errors.
struct FieldError {
    std::string field;
    std::string message;
};

std::string_view status_text(int status);
// RFC 9457 body: {"type", "title", "status", "detail", "errors"?}. `detail` must be valid UTF-8 or is repaired.
[[nodiscard]] Response problem(int status, std::string_view detail, const std::vector<FieldError>& errors = {});
// Text as a JSON string with quotes; bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string json_quote(std::string_view text);

}  // namespace wa::net
