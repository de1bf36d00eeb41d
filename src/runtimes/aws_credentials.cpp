#include "runtimes/aws_credentials.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/codec/text.h"
#include "http_client/url.h"

namespace wa::aws {
namespace {

constexpr std::string_view kOrigin = "sts";
constexpr std::size_t kMaxAnswer = 64 * 1024;
constexpr std::size_t kMaxField = 8 * 1024;

Error problem(ErrorCode code, Retry retry, Fault fault, std::string message) {
    return make_error(code, retry, fault, std::string(kOrigin), std::move(message));
}

std::string trimmed(std::string_view text) {
    static constexpr std::string_view kBlanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return std::string(text.substr(first, text.find_last_not_of(kBlanks) - first + 1));
}

// The five characters that XML names; others need no escape in what STS says.
std::string unescaped(std::string_view text) {
    static constexpr std::array<std::pair<std::string_view, char>, 5> kNames{
        {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}}};
    std::string plain;
    while (!text.empty()) {
        const auto* const found =
            std::ranges::find_if(kNames, [&](const auto& entry) { return text.starts_with(entry.first); });
        if (found == kNames.end()) {
            plain += text.front();
            text.remove_prefix(1);
        } else {
            plain += found->second;
            text.remove_prefix(found->first.size());
        }
    }
    return plain;
}

// What stands between <name> and </name>, the first time; the answers have no attributes there.
std::string_view inside(std::string_view xml, const std::string& name) {
    const std::string open = "<" + name + ">";
    const std::size_t begin = xml.find(open);
    if (begin == std::string_view::npos) return {};
    xml.remove_prefix(begin + open.size());
    const std::size_t end = xml.find("</" + name + ">");
    return end == std::string_view::npos ? std::string_view() : xml.substr(0, end);
}

std::string field(std::string_view xml, const std::string& name) {
    const std::string_view raw = inside(xml, name);
    return raw.size() > kMaxField ? std::string() : trimmed(unescaped(raw));
}

// Keys travel in headers.
bool is_plain(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
}

http::Request question(const WebIdentity& identity, std::string_view token, Duration limit) {
    http::Request request;
    request.method = "POST";
    request.url = http::join_url(identity.sts_url, "/");
    request.headers = {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/xml"}};
    // In the body: addresses end up in logs.
    request.body =
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=" + http::encode_url_part(identity.role_arn) +
        "&RoleSessionName=" + http::encode_url_part(identity.session_name) +
        "&WebIdentityToken=" + http::encode_url_part(token);
    request.timeout = limit;
    request.max_response_bytes = kMaxAnswer;
    request.purpose.name = "sts.assume_role";
    return request;
}

}  // namespace

Result<Credentials> read_sts_answer(std::string_view body) {
    const std::string_view part = inside(body, "Credentials");
    Credentials credentials{field(part, "AccessKeyId"), field(part, "SecretAccessKey"), field(part, "SessionToken")};
    const auto end = parse_iso_timestamp(field(part, "Expiration"));
    if (!is_plain(credentials.access_key) || !is_plain(credentials.secret_key) ||
        !is_plain(credentials.session_token) || !end) {
        return Failure(problem(ErrorCode::kMalformed, Retry::kAfterBackoff, Fault::kService,
                               "the answer of AWS's token service cannot be read"));
    }
    credentials.expires_at = *end;
    return credentials;
}

XmlError read_xml_error(std::string_view body) {
    const std::string_view part = inside(body, "Error");
    XmlError error{field(part, "Code"), field(part, "Message")};
    if (error.code.empty()) error.message.clear();
    return error;
}

void CredentialSource::get(Done done) {
    if (options_.given) return done(*options_.given);
    if (!options_.identity) {
        return done(
            Failure(problem(ErrorCode::kNotAllowed, Retry::kNever, Fault::kWorker, "there are no credentials")));
    }
    if (kept_ && clock_.wall_now() < kept_->expires_at - to_millis(options_.renew_before)) return done(*kept_);
    waiting_.push_back(std::move(done));
    if (waiting_.size() == 1) ask();
}

void CredentialSource::forget(const Credentials& refused) {
    if (kept_ && kept_->access_key == refused.access_key) kept_.reset();
}

void CredentialSource::ask() {
    auto token = options_.identity->read_token();
    if (token) *token = trimmed(*token);
    if (!token || !is_plain(*token)) {
        return tell(Failure(problem(ErrorCode::kNotAllowed, Retry::kAfterBackoff, Fault::kWorker,
                                    "the web identity token cannot be read: " +
                                        (token ? std::string("the file holds no token") : token.error().message))));
    }
    http::ServiceCall call;
    call.request = question(*options_.identity, *token, options_.limit);
    call.deadline = clock_.now() + options_.limit;
    call.repeat = http::Repeat::kAlways;
    call_ = sts_.call(std::move(call), [this](http::ServiceAnswer answer) { answered(std::move(answer)); });
}

void CredentialSource::answered(http::ServiceAnswer answer) {
    constexpr int kOk = 200;
    constexpr int kServerSide = 500;
    if (!answer.result) {
        Error error = std::move(answer.result).error();
        error.message = "AWS's token service cannot be asked: " + error.message;
        error.retry = Retry::kAfterBackoff;
        return tell(Failure(std::move(error)));
    }
    const http::Response& response = *answer.result;
    if (response.status == kOk) {
        auto fresh = read_sts_answer(response.body);
        if (fresh) kept_ = *fresh;
        return tell(fresh);
    }
    constexpr std::size_t kShown = 300;
    const XmlError why = read_xml_error(response.body);
    const std::string said =
        clip(lossy_utf8(why.code + (why.message.empty() ? "" : ": " + why.message), kShown), kShown);
    const bool passing = response.status >= kServerSide || response.status == 429;
    tell(Failure(problem(
        passing ? ErrorCode::kUnavailable : ErrorCode::kNotAllowed, Retry::kAfterBackoff, Fault::kService,
        "AWS's token service answers " + std::to_string(response.status) + (said.empty() ? "" : " (" + said + ")"))));
}

void CredentialSource::tell(const Result<Credentials>& result) {
    Result<Credentials> answer = result;
    if (!answer && kept_ && clock_.wall_now() < kept_->expires_at) answer = *kept_;
    for (const Done& done : std::exchange(waiting_, {}))
        done(answer);
}

}  // namespace wa::aws
