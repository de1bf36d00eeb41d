#include "runtimes/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string_view>

#include "core/codec/text.h"
#include "http_client/url.h"

namespace wa::aws {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

std::string hex(std::string_view bytes) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        text += kDigits[byte >> 4U];
        text += kDigits[byte & 0xFU];
    }
    return text;
}

// Empty when the library fails.
std::string sha256(std::string_view bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) return {};
    return {digest.begin(), digest.begin() + size};
}

std::string hmac(std::string_view key, std::string_view bytes) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    // The library's types; nothing is reinterpreted but the sign of a char.
    const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());  // NOLINT
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data, bytes.size(), digest.data(), &size) ==
        nullptr)
        return {};
    return {digest.begin(), digest.begin() + size};
}

std::string lower(std::string_view text) {
    std::string copy(text);
    std::ranges::transform(copy, copy.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return copy;
}

std::vector<std::string_view> split(std::string_view text, char at) {
    std::vector<std::string_view> parts;
    while (true) {
        const std::size_t end = text.find(at);
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

// Without empty and dotted steps, and each step encoded once more than it is sent.
std::string canonical_path(std::string_view path) {
    std::vector<std::string_view> steps;
    for (const std::string_view step : split(path, '/')) {
        if (step.empty() || step == ".") continue;
        if (step != "..") {
            steps.push_back(step);
        } else if (!steps.empty()) {
            steps.pop_back();
        }
    }
    std::string text;
    for (const std::string_view step : steps)
        text += "/" + http::encode_url_part(step);
    if (text.empty() || path.ends_with('/')) text += '/';
    return text;
}

std::string canonical_query(std::string_view url) {
    const std::size_t mark = url.find('?');
    if (mark == std::string_view::npos || mark + 1 == url.size()) return {};
    std::vector<std::pair<std::string_view, std::string_view>> pairs;
    for (const std::string_view part : split(url.substr(mark + 1), '&')) {
        const std::size_t equals = part.find('=');
        const bool bare = equals == std::string_view::npos;
        pairs.emplace_back(part.substr(0, equals), bare ? std::string_view() : part.substr(equals + 1));
    }
    std::ranges::sort(pairs);
    std::string text;
    for (const auto& [name, value] : pairs)
        text.append(text.empty() ? "" : "&").append(name).append("=").append(value);
    return text;
}

// Blanks at the ends gone, those inside one each.
std::string plain_value(std::string_view value) {
    std::string text;
    bool blank = false;
    for (const char c : value) {
        if (c == ' ' || c == '\t') {
            blank = !text.empty();
            continue;
        }
        if (blank) text += ' ';
        blank = false;
        text += c;
    }
    return text;
}

bool is_signed(std::string_view name) {
    static constexpr std::array<std::string_view, 6> kNot{"authorization",     "connection", "expect",
                                                          "transfer-encoding", "user-agent", "x-amzn-trace-id"};
    return std::ranges::find(kNot, name) == kNot.end();
}

// As libcurl writes it: the port only when it is not the scheme's own.
std::string host_header(const http::Url& url) {
    constexpr std::uint16_t kHttp = 80;
    constexpr std::uint16_t kHttps = 443;
    const bool v6 = url.host.find(':') != std::string::npos;
    std::string host = v6 ? "[" + url.host + "]" : url.host;
    if (url.port != (url.tls ? kHttps : kHttp)) host += ":" + std::to_string(url.port);
    return host;
}

// "20260131T090500Z"
std::string stamp(EpochMillis now) {
    std::string text = iso_timestamp(now);
    text = text.substr(0, text.find('.')) + "Z";
    std::erase(text, '-');
    std::erase(text, ':');
    return text;
}

std::string signature_of(const Credentials& credentials, std::span<const std::string> scope, std::string_view text) {
    std::string key = "AWS4" + credentials.secret_key;
    for (const std::string& part : scope)
        key = hmac(key, part);
    return hex(hmac(key, text));
}

}  // namespace

Result<std::vector<http::Header>> sign(const http::Request& request, const Credentials& credentials,
                                       const SigningScope& scope, EpochMillis now) {
    WA_TRY(const http::Url url, http::parse_url(request.url));
    const std::string at = stamp(now);
    std::vector<http::Header> added{{"X-Amz-Date", at}};
    if (!credentials.session_token.empty()) added.push_back({"X-Amz-Security-Token", credentials.session_token});

    std::map<std::string, std::string> headers{{"host", host_header(url)}};
    const auto note = [&](const http::Header& header) {
        const std::string name = lower(header.name);
        if (!is_signed(name) || name == "host") return;
        const auto [place, fresh] = headers.emplace(name, plain_value(header.value));
        if (!fresh) place->second += "," + plain_value(header.value);
    };
    std::ranges::for_each(request.headers, note);
    std::ranges::for_each(added, note);
    std::string lines;
    std::string names;
    for (const auto& [name, value] : headers) {
        lines += name + ":" + value + "\n";
        names += (names.empty() ? "" : ";") + name;
    }
    const std::string canonical = request.method + "\n" + canonical_path(url.path) + "\n" + canonical_query(url.text) +
                                  "\n" + lines + "\n" + names + "\n" + hex(sha256(request.body));
    const std::array<std::string, 4> parts{at.substr(0, at.find('T')), scope.region, scope.service, "aws4_request"};
    const std::string place = parts[0] + "/" + parts[1] + "/" + parts[2] + "/" + parts[3];
    const std::string to_sign = std::string(kAlgorithm) + "\n" + at + "\n" + place + "\n" + hex(sha256(canonical));
    const std::string signature = signature_of(credentials, parts, to_sign);
    if (signature.empty()) return fail(ErrorCode::kInternal, "aws", "a request could not be signed");
    added.push_back({"Authorization", std::string(kAlgorithm) + " Credential=" + credentials.access_key + "/" + place +
                                          ", SignedHeaders=" + names + ", Signature=" + signature});
    return added;
}

}  // namespace wa::aws
