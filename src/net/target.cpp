#include "net/target.h"

#include "core/codec/text.h"

namespace wa::net {
namespace {

Failure malformed(std::string message) {
    return Failure(make_error(ErrorCode::kMalformed, Retry::kNever, Fault::kInput, "http", std::move(message)));
}
Failure too_many(std::string message) {
    return Failure(make_error(ErrorCode::kLimitExceeded, Retry::kNever, Fault::kInput, "http", std::move(message)));
}

int hex_value(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

Result<void> split_path(std::string_view path, std::vector<std::string>& segments) {
    std::size_t at = 1;
    while (at < path.size()) {
        std::size_t end = path.find('/', at);
        if (end == std::string_view::npos) end = path.size();
        if (segments.size() == kMaxSegments) return too_many("the path has more than 64 pieces");
        WA_TRY(std::string piece, percent_decode(path.substr(at, end - at), false));
        if (piece.empty()) return malformed("the path has an empty piece (two slashes in a row)");
        if (piece == "." || piece == "..") return malformed("the path contains a dot segment");
        segments.push_back(std::move(piece));
        at = end + 1;
    }
    return {};
}

}  // namespace

Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return malformed("a percent sign in the address is not followed by two hex digits");
            c = static_cast<char>(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
            return malformed("the address contains a control character");
        }
        out += c;
    }
    if (!is_utf8(out)) return malformed("the address is not valid UTF-8");
    return out;
}

Result<NameValues> parse_query(std::string_view query) {
    NameValues pairs;
    while (!query.empty()) {
        std::size_t end = query.find('&');
        const std::string_view pair = query.substr(0, end);
        query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
        if (pair.empty()) continue;
        if (pairs.size() == kMaxQueryPairs) return too_many("the query has more than 256 parameters");
        const std::size_t equals = pair.find('=');
        WA_TRY(std::string name, percent_decode(pair.substr(0, equals), true));
        std::string value;
        if (equals != std::string_view::npos) {
            WA_TRY(value, percent_decode(pair.substr(equals + 1), true));
        }
        if (name.empty()) return malformed("a query parameter has no name");
        pairs.emplace_back(std::move(name), std::move(value));
    }
    return pairs;
}

Result<Target> parse_target(std::string_view text) {
    Target target;
    if (text == "*") {
        target.asterisk = true;
        target.path = "*";
        return target;
    }
    for (const std::string_view scheme : {std::string_view("http://"), std::string_view("https://")}) {
        if (!text.starts_with(scheme)) continue;
        text.remove_prefix(scheme.size());
        const std::size_t end = text.find_first_of("/?");
        target.authority = std::string(text.substr(0, end));
        if (target.authority.empty()) return malformed("the address has no host");
        text.remove_prefix(end == std::string_view::npos ? text.size() : end);
        if (text.empty()) text = "/";
        if (text.front() == '?') return malformed("the address has no path");
        break;
    }
    if (text.empty() || text.front() != '/') return malformed("the address must start with a slash");
    // A fragment never reaches a server; whoever sends one is confused.
    if (text.find('#') != std::string_view::npos) return malformed("the address contains a fragment (#)");
    const std::size_t question = text.find('?');
    std::string_view path = text.substr(0, question);
    while (path.size() > 1 && path.back() == '/' && path[path.size() - 2] != '/')
        path.remove_suffix(1);
    WA_CHECKED(split_path(path, target.segments));
    if (path.size() > 1 && path.back() == '/') return malformed("the path has an empty piece (two slashes in a row)");
    target.path = std::string(path);
    if (question != std::string_view::npos) {
        WA_TRY(target.query, parse_query(text.substr(question + 1)));
    }
    return target;
}

}  // namespace wa::net
