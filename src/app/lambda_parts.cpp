#include "app/lambda_parts.h"

#include "app/outbound.h"
#include "config/environment.h"
#include "http_client/url.h"
#include "runtimes/lambda.h"

namespace wa::app {
namespace {

constexpr std::size_t kMaxToken = 16 * 1024;

std::string aws_address(std::string_view service, const std::string& region) {
    const std::string end = region.starts_with("cn-") ? ".amazonaws.com.cn" : ".amazonaws.com";
    return "https://" + std::string(service) + "." + region + end;
}

struct KeyNames {
    std::string_view access;
    std::string_view secret;
    std::string_view token;
};
constexpr KeyNames kOwnKeys{"LAMBDA_ACCESS_KEY", "LAMBDA_SECRET_KEY", "LAMBDA_SESSION_TOKEN"};
constexpr KeyNames kAwsKeys{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"};

// The first of them that is there at all decides; half of a pair is a mistake, not a reason to take another's keys.
void find_credentials(const config::Settings& settings, LambdaOptions& options) {
    for (const KeyNames& names : {kOwnKeys, kAwsKeys}) {
        const bool access = settings.has(names.access);
        const bool secret = settings.has(names.secret);
        if (!access && !secret) continue;
        if (!access || !secret) {
            options.misconfigured = std::string(access ? names.access : names.secret) + " is set, and " +
                                    std::string(access ? names.secret : names.access) + " is not";
            return;
        }
        options.credentials.given = aws::Credentials{settings.text(names.access), settings.text(names.secret),
                                                     settings.has(names.token) ? settings.text(names.token) : ""};
        return;
    }
    const bool file = settings.has("AWS_WEB_IDENTITY_TOKEN_FILE");
    const bool role = settings.has("AWS_ROLE_ARN");
    if (!file || !role) {
        options.misconfigured = file   ? "AWS_WEB_IDENTITY_TOKEN_FILE is set, and AWS_ROLE_ARN is not"
                                : role ? "AWS_ROLE_ARN is set, and AWS_WEB_IDENTITY_TOKEN_FILE is not"
                                       : "there are no credentials for AWS";
        return;
    }
    aws::WebIdentity identity;
    identity.role_arn = settings.text("AWS_ROLE_ARN");
    identity.session_name = settings.text("AWS_ROLE_SESSION_NAME");
    identity.sts_url = settings.has("LAMBDA_STS_ENDPOINT_URL") ? settings.text("LAMBDA_STS_ENDPOINT_URL")
                                                               : aws_address("sts", options.region);
    identity.read_token = [path = settings.text("AWS_WEB_IDENTITY_TOKEN_FILE")] {
        return config::read_small_file(path, kMaxToken);
    };
    options.credentials.identity = std::move(identity);
}

// Where functions are called, for people: "https://lambda.us-east-1.amazonaws.com".
std::string lambda_place(const config::Settings& settings) {
    const std::string url = settings.has("LAMBDA_ENDPOINT_URL") ? settings.text("LAMBDA_ENDPOINT_URL")
                                                                : aws_address("lambda", settings.text("LAMBDA_REGION"));
    const auto parsed = http::parse_url(url);
    return parsed ? parsed->shown : "LAMBDA_ENDPOINT_URL cannot be read";
}

LambdaOptions lambda_options(const RuntimeSurroundings& around) {
    const config::Settings& settings = around.settings;
    LambdaOptions options;
    options.enabled = settings.flag("LAMBDA_ENABLED");
    options.region = settings.text("LAMBDA_REGION");
    options.endpoint = settings.has("LAMBDA_ENDPOINT_URL") ? settings.text("LAMBDA_ENDPOINT_URL")
                                                           : aws_address("lambda", options.region);
    options.rules.function = settings.text("LAMBDA_FUNCTION_NAME");
    if (settings.has("LAMBDA_ALLOWED_FUNCTIONS")) options.rules.allowed = settings.list("LAMBDA_ALLOWED_FUNCTIONS");
    options.timeout = settings.duration("LAMBDA_TIMEOUT_SECONDS");
    find_credentials(settings, options);
    if (auto url = http::parse_url(options.endpoint); !url)
        options.misconfigured = "LAMBDA_ENDPOINT_URL: " + url.error().message;
    options.listener = &around.listener;
    options.on_invocation = [&metrics = around.metrics](std::string_view status, Duration took,
                                                        std::optional<Duration> billed) {
        metrics.lambda_invocation(status, took, billed);
    };
    // Not past a proxy that was asked for.
    if (const auto proxy = outbound_proxy(settings); !proxy) options.misconfigured = proxy.error().message;
    return options;
}

std::string lambda_fix(const config::Settings& settings, const Availability& now) {
    if (!settings.flag("LAMBDA_ENABLED")) return "LAMBDA_ENABLED=true, with keys or a web identity for AWS";
    if (now.detail.starts_with("OUTBOUND_")) return "correct that setting";
    if (now.reason == Unavailable::kDisabled)
        return "set LAMBDA_ACCESS_KEY and LAMBDA_SECRET_KEY (or AWS's own names, or a web identity)";
    return "see that LAMBDA_ENDPOINT_URL and LAMBDA_REGION are right, and that the endpoint can be reached from here";
}

}  // namespace

RuntimePart make_lambda(const RuntimeSurroundings& around) {
    auto made = std::make_unique<LambdaRuntime>(around.loop, around.clock, around.random, around.outside, around.logs,
                                                lambda_options(around));
    LambdaRuntime& lambda = *made;
    return {.runtime = std::move(made),
            .begin =
                [&lambda](const std::function<void()>& ready) {
                    lambda.begin();
                    ready();
                },
            .state =
                [&lambda, &settings = around.settings] {
                    return state_of(lambda, lambda_place(settings), lambda_fix(settings, lambda.availability()),
                                    settings.flag("LAMBDA_ENABLED"));
                }};
}

}  // namespace wa::app
