#include "net/http_types.h"

#include "core/codec/json_write.h"

namespace wa::net {
namespace {

std::string_view find(const NameValues& pairs, std::string_view name) {
    for (const auto& [key, value] : pairs) {
        if (key == name) return value;
    }
    return {};
}

}  // namespace

std::string_view Request::header(std::string_view name) const {
    return find(headers, name);
}
std::string_view Request::param(std::string_view name) const {
    return find(params, name);
}

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
    std::string out;
    append_json_string(out, text);
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
