// Signatures of requests to AWS: version 4, in the Authorization header. Pure; an own one, as libcurl's differs for
// paths with a colon and for several query parameters (style/stack.md section 4).
//
// The body is signed, and all headers but those that somebody on the way may change. What the client adds later
// (User-Agent, traceparent) is not signed, and need not be.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "http_client/http_client.h"

namespace wa::aws {

struct Credentials {
    std::string access_key;
    std::string secret_key;
    std::string session_token;   // of credentials that do not last; else empty
    EpochMillis expires_at = 0;  // 0 = never
};

struct SigningScope {
    std::string region;
    std::string service;  // "lambda"
};

// The headers to add to `request`: X-Amz-Date, X-Amz-Security-Token if there is one, Authorization. Paths and queries
// are expected as they are sent, percent-encoded. Errors: kInvalidArgument (the URL), kInternal.
[[nodiscard]] Result<std::vector<http::Header>> sign(const http::Request& request, const Credentials& credentials,
                                                     const SigningScope& scope, EpochMillis now);

}  // namespace wa::aws
