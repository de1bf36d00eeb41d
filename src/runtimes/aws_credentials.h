// Where the keys for AWS come from: given ones, or those that AWS's token service (STS) gives for a web identity, the
// token in a file that somebody else keeps fresh.
//
// Keys of STS are kept until shortly before they end; the file is read anew for each question. Questions that come
// while one is out wait for its answer. When STS cannot be asked, keys that are still good are used on.
//
// Threading: loop. Errors: kNotAllowed (STS refuses, or the file cannot be read), kUnavailable, kTimeout (STS cannot be
// reached), kMalformed (its answer); never a key or a token in a message.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "http_client/service_caller.h"
#include "runtimes/sigv4.h"

namespace wa::aws {

struct WebIdentity {
    std::string role_arn;      // AWS_ROLE_ARN
    std::string session_name;  // AWS_ROLE_SESSION_NAME
    std::string sts_url;       // "https://sts.eu-west-1.amazonaws.com"
    std::function<Result<std::string>()> read_token{};
};

struct CredentialOptions {
    std::optional<Credentials> given{};  // wins
    std::optional<WebIdentity> identity{};
    Duration renew_before = std::chrono::minutes(5);
    Duration limit = std::chrono::seconds(10);  // of one question to STS
};

class CredentialSource {
public:
    using Done = std::function<void(Result<Credentials>)>;

    // `clock` and `sts` must outlive this.
    CredentialSource(const Clock& clock, http::ServiceCaller& sts, CredentialOptions options)
        : clock_(clock), sts_(sts), options_(std::move(options)) {}

    // `done` once; from inside when there is nothing to ask for. Never after this is destroyed.
    void get(Done done);
    // AWS says that these are not good any more: the next get() asks for others.
    void forget(const Credentials& refused);
    // Whether forget() can lead to other ones.
    [[nodiscard]] bool renewable() const { return !options_.given && options_.identity; }

private:
    void ask();
    void answered(http::ServiceAnswer answer);
    void tell(const Result<Credentials>& result);

    const Clock& clock_;
    http::ServiceCaller& sts_;
    CredentialOptions options_;
    std::optional<Credentials> kept_;
    std::vector<Done> waiting_;
    http::ServiceHandle call_;
};

// Of an XML answer of STS. Pure.
[[nodiscard]] Result<Credentials> read_sts_answer(std::string_view body);
// An error that AWS writes as XML: STS does, and whoever stands in front of a service. Empty when it is none.
struct XmlError {
    std::string code;  // "AccessDenied"
    std::string message;
};
[[nodiscard]] XmlError read_xml_error(std::string_view body);

}  // namespace wa::aws
