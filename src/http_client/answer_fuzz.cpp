// Any headers as an answer: what it asks us to wait for is bounded, and where it sends us is a place or an error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "http_client/url.h"
#include "http_client/verdict.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    static constexpr int kStatuses[] = {200, 302, 401, 403, 404, 408, 425, 429, 500, 502, 503, 504};
    const std::string text(reinterpret_cast<const char*>(data + 2), size - 2);
    wa::http::Response response;
    response.status = kStatuses[data[0] % std::size(kStatuses)];
    if ((data[1] & 1U) != 0) response.headers.push_back({"retry-after", text});
    if ((data[1] & 2U) != 0) response.headers.push_back({"x-ratelimit-remaining", "0"});
    response.headers.push_back({"x-ratelimit-reset", text});
    const wa::EpochMillis now = 1'700'000'000'000;
    const auto verdict = wa::http::judge(response, true, now);
    if (verdict.wait)
        WA_CHECK(*verdict.wait >= wa::Duration::zero() && *verdict.wait <= std::chrono::hours(1), "a bounded wait");
    WA_CHECK(!verdict.ours, "an answer is not ours");
    const auto base = wa::http::parse_url("https://user:secret@host.test:8443/a/b?c=d").value();
    if (const auto next = wa::http::resolve_url(base, text)) {
        WA_CHECK(next->authorization.empty(), "a place names no credentials of its own");
        WA_CHECK(next->text.find("secret") == std::string::npos || text.find("secret") != std::string::npos,
                 "and gets none");
        WA_CHECK(!next->host.empty() && next->port != 0, "a place to connect to");
        WA_CHECK(wa::http::parse_url(next->text).has_value(), "that can be read again");
    }
    return 0;
}
