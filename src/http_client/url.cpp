#include "http_client/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <memory>

#include "core/codec/text.h"

namespace wa::http {
namespace {

constexpr std::size_t kMaxUrlBytes = 16'384;

struct CloseUrl {
    void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, CloseUrl>;

Failure bad_url(const std::string& why) {
    Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "http", "the URL " + why);
    error.field = "url";
    return tl::unexpected(std::move(error));
}

// Empty when the URL has no such part.
std::string part(CURLU* url, CURLUPart what, unsigned int flags = 0) {
    char* text = nullptr;
    if (curl_url_get(url, what, &text, flags) != CURLUE_OK || text == nullptr) return {};
    std::string copy(text);
    curl_free(text);
    return copy;
}

bool is_localhost(std::string_view host) {
    std::string lower(host);
    std::ranges::transform(lower, lower.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return lower == "localhost" || lower.ends_with(".localhost");
}

bool is_address(const std::string& host) {
    std::array<unsigned char, 16> bytes{};
    return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
           ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

Result<UrlHandle> read_url(const std::string& text) {
    UrlHandle handle(curl_url());
    if (!handle)
        return tl::unexpected(make_error(ErrorCode::kInternal, Retry::kAfterBackoff, Fault::kWorker, "http",
                                         "out of memory while reading a URL"));
    if (const CURLUcode code = curl_url_set(handle.get(), CURLUPART_URL, text.c_str(), 0); code != CURLUE_OK)
        return bad_url(std::string("cannot be read: ") + curl_url_strerror(code));
    return handle;
}

Result<std::string> take_credentials(CURLU* url) {
    char* user = nullptr;
    char* password = nullptr;
    const CURLUcode user_code = curl_url_get(url, CURLUPART_USER, &user, CURLU_URLDECODE);
    const CURLUcode password_code = curl_url_get(url, CURLUPART_PASSWORD, &password, CURLU_URLDECODE);
    const bool given = user != nullptr || password != nullptr;
    std::string pair = std::string(user != nullptr ? user : "") + ":" + (password != nullptr ? password : "");
    curl_free(user);
    curl_free(password);
    if ((user_code != CURLUE_OK && user_code != CURLUE_NO_USER) ||
        (password_code != CURLUE_OK && password_code != CURLUE_NO_PASSWORD))
        return bad_url("has credentials that cannot be decoded");
    curl_url_set(url, CURLUPART_USER, nullptr, 0);
    curl_url_set(url, CURLUPART_PASSWORD, nullptr, 0);
    curl_url_set(url, CURLUPART_OPTIONS, nullptr, 0);
    return given ? "Basic " + base64(pair) : std::string();
}

}  // namespace

Result<Url> parse_url(const std::string& text) {
    if (text.empty()) return bad_url("is empty");
    if (text.size() > kMaxUrlBytes) return bad_url("is longer than 16 KiB");
    if (text.find('\0') != std::string::npos) return bad_url("has a NUL byte in it");
    WA_TRY(UrlHandle handle, read_url(text));
    Url url;
    WA_TRY(url.authorization, take_credentials(handle.get()));
    curl_url_set(handle.get(), CURLUPART_FRAGMENT, nullptr, 0);
    url.text = part(handle.get(), CURLUPART_URL);
    if (url.text.empty()) return bad_url("cannot be put together again");
    // What libcurl will be given is what counts: "%31" is a name at first, and an address when it is read again.
    if (url.text != text) {
        WA_TRY(handle, read_url(url.text));
        if (part(handle.get(), CURLUPART_URL) != url.text) return bad_url("can be read in more than one way");
    }
    const std::string scheme = part(handle.get(), CURLUPART_SCHEME);
    if (scheme != "http" && scheme != "https") return bad_url("must begin with http:// or https://");
    url.tls = scheme == "https";
    std::string host = part(handle.get(), CURLUPART_HOST);
    if (host.empty()) return bad_url("names no host");
    if (std::ranges::any_of(host, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }))
        return bad_url("has a host name that is not ASCII; write it as 'xn--…'");
    const std::string port = part(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
    const auto number = parse_whole_number(port);
    if (!number || *number < 1 || *number > 65'535) return bad_url("has no usable port");
    url.port = static_cast<std::uint16_t>(*number);
    url.port_given = !part(handle.get(), CURLUPART_PORT).empty();
    url.path = part(handle.get(), CURLUPART_PATH);
    url.shown = scheme + "://" + host + ":" + port + clip(url.path, 200);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    url.needs_lookup = !is_address(host) && !is_localhost(host);
    url.host = std::move(host);
    return url;
}

Result<Url> resolve_url(const Url& base, const std::string& reference) {
    if (reference.size() > kMaxUrlBytes) return bad_url("is longer than 16 KiB");
    if (reference.find('\0') != std::string::npos) return bad_url("has a NUL byte in it");
    WA_TRY(const UrlHandle handle, read_url(base.text));
    if (const CURLUcode code = curl_url_set(handle.get(), CURLUPART_URL, reference.c_str(), 0); code != CURLUE_OK)
        return bad_url(std::string("cannot be read: ") + curl_url_strerror(code));
    WA_TRY(Url url, parse_url(part(handle.get(), CURLUPART_URL)));
    url.authorization.clear();
    return url;
}

std::string encode_url_part(std::string_view text) {
    static constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '.' || c == '_' || c == '~';
        if (plain) {
            out += c;
        } else {
            out += '%';
            out += kHex[byte >> 4U];
            out += kHex[byte & 15U];
        }
    }
    return out;
}

std::string join_url(std::string_view base, std::string_view path) {
    while (base.ends_with('/'))
        base.remove_suffix(1);
    return std::string(base) + std::string(path);
}

}  // namespace wa::http
