#include "net/http_types.h"

#include <array>
#include <cstdint>

#include "net/utf8.h"

namespace wa::net {
namespace {

std::string_view find(const NameValues& pairs, std::string_view name) {
    for (const auto& [key, value] : pairs) {
        if (key == name) return value;
    }
    return {};
}

}  // namespace

std::string_view Request::header(std::string_view name) const { return find(headers, name); }
std::string_view Request::param(std::string_view name) const { return find(params, name); }

std::optional<std::string_view> Request::query_value(std::string_view name) const {
    for (const auto& [key, value] : query) {
        if (key == name) return value;
    }
    return std::nullopt;
}

std::string_view status_text(int status) {
    switch (status) {
        case 100: return "Continue";
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 304: return "Not Modified";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 415: return "Unsupported Media Type";
        case 417: return "Expectation Failed";
        case 422: return "Unprocessable Content";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        case 505: return "HTTP Version Not Supported";
        case 507: return "Insufficient Storage";
        default: return "Status";
    }
}

std::string json_quote(std::string_view text) {
    static constexpr std::array kHex{'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};
    std::string out;
    out.reserve(text.size() + 2);
    out += '"';
    std::size_t at = 0;
    while (at < text.size()) {
        const auto byte = static_cast<unsigned char>(text[at]);
        if (byte >= 0x80) {
            const std::size_t length = utf8_length(text.substr(at));
            if (length == 0) {
                out += "\xEF\xBF\xBD";
                ++at;
            } else {
                out.append(text.substr(at, length));
                at += length;
            }
            continue;
        }
        switch (byte) {
            case '"': out += "\\\""; break;
            case '\\': out += "\\\\"; break;
            case '\n': out += "\\n"; break;
            case '\r': out += "\\r"; break;
            case '\t': out += "\\t"; break;
            default:
                if (byte < 0x20 || byte == 0x7F) {
                    out += "\\u00";
                    out += kHex[byte >> 4U];
                    out += kHex[byte & 0xFU];
                } else {
                    out += static_cast<char>(byte);
                }
        }
        ++at;
    }
    out += '"';
    return out;
}

Response problem(int status, std::string_view detail, const std::vector<FieldError>& errors) {
    Response response;
    response.status = status;
    response.content_type = "application/problem+json";
    std::string& body = response.body;
    body = "{\"type\":\"about:blank\",\"title\":";
    body += json_quote(status_text(status));
    body += ",\"status\":" + std::to_string(status) + ",\"detail\":";
    body += json_quote(detail);
    if (!errors.empty()) {
        body += ",\"errors\":[";
        for (std::size_t i = 0; i < errors.size(); ++i) {
            if (i != 0) body += ',';
            body += "{\"field\":" + json_quote(errors[i].field) + ",\"message\":" + json_quote(errors[i].message) + "}";
        }
        body += ']';
    }
    body += '}';
    return response;
}

}  // namespace wa::net
