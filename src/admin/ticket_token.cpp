#include "admin/ticket_token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>

#include "base/check.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::admin {
namespace json = boost::json;
namespace {

std::string base64url(std::string_view bytes) {
    std::string out = base64(bytes);
    std::ranges::replace(out, '+', '-');
    std::ranges::replace(out, '/', '_');
    while (out.ends_with('='))
        out.pop_back();
    return out;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return out;
}

json::value text(std::string_view value) {
    return json::value(json::string(value));
}

json::array texts(const std::vector<std::string>& values) {
    json::array out;
    for (const std::string& value : values)
        out.push_back(text(value));
    return out;
}

}  // namespace

std::vector<std::string> token_scopes(const Ticket& ticket) {
    std::vector<std::string> scopes{"ticket:read", "ticket:update", "task:" + lower(to_string(ticket.task_type))};
    const bool elevated =
        ticket.security_level == SecurityLevel::kConfidential || ticket.security_level == SecurityLevel::kRestricted;
    if (elevated) scopes.emplace_back("security:elevated");
    return scopes;
}

std::string make_ticket_token(const Ticket& ticket, std::string_view key, std::string_view jti, std::int64_t now) {
    json::object claims;
    claims["sub"] = text(ticket.ticket_id);
    claims["iss"] = "neural-hive-mind";
    claims["aud"] = "worker-agents";
    claims["exp"] = now + kTokenSeconds;
    claims["iat"] = now;
    claims["jti"] = text(jti);
    claims["ticket_id"] = text(ticket.ticket_id);
    claims["plan_id"] = text(ticket.plan_id);
    claims["intent_id"] = text(ticket.intent_id);
    claims["task_type"] = text(to_string(ticket.task_type));
    claims["security_level"] = text(to_string(ticket.security_level));
    claims["required_capabilities"] = texts(ticket.required_capabilities);
    claims["scopes"] = texts(token_scopes(ticket));
    const std::string signed_part = base64url(R"({"alg":"HS256","typ":"JWT"})") + "." + base64url(json_text(claims));
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    unsigned int length = 0;
    const unsigned char* done =
        ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
               reinterpret_cast<const unsigned char*>(signed_part.data()), signed_part.size(), digest.data(), &length);
    WA_CHECK(done != nullptr && length == digest.size(), "HMAC-SHA256 needs nothing that can fail");
    return signed_part + "." + base64url({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

std::string sha256_hex(std::string_view data) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    ::SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(), digest.data());
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out;
    for (const unsigned char byte : digest) {
        out += kHex[byte >> 4U];
        out += kHex[byte & 0xFU];
    }
    return out;
}

}  // namespace wa::admin
