#include "runtimes/kubernetes_api.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <limits>
#include <memory>
#include <utility>

#include "core/codec/text.h"
#include "http_client/url.h"
#include "runtimes/kubernetes_access.h"
#include "runtimes/kubernetes_task.h"

namespace wa::kubernetes {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxAnswer = 4U << 20U;
constexpr std::size_t kMaxPage = 32U << 20U;
constexpr std::size_t kMaxRefusal = 64U << 10U;
constexpr std::size_t kAnyLength = std::numeric_limits<std::size_t>::max();
constexpr int kPageItems = 500;
constexpr int kGone = 404;
constexpr int kConflict = 409;

json::value text(std::string_view value) {
    return json::value(json::string(value));
}

long whole_seconds(Duration duration) {
    return static_cast<long>(std::max<std::int64_t>(1, (to_millis(duration) + 999) / 1000));
}

std::string delete_options(std::string_view uid, std::string_view propagation, std::optional<long> grace) {
    json::object options{{"apiVersion", "v1"}, {"kind", "DeleteOptions"}};
    if (!propagation.empty()) options["propagationPolicy"] = text(propagation);
    if (grace) options["gracePeriodSeconds"] = *grace;
    if (!uid.empty()) options["preconditions"] = json::object{{"uid", text(uid)}};
    return json::serialize(options);
}

// Another one of that name, or none: what was meant is gone.
Done<Nothing> gone_is_good(Done<Nothing> done) {
    return [done = std::move(done)](Reply<Nothing> reply) {
        if (!reply && (reply.error().is(kGone) || reply.error().is(kConflict))) return done(Nothing{});
        done(std::move(reply));
    };
}

Result<Nothing> nothing(std::string_view) {
    return Nothing{};
}

}  // namespace

http::ServicePolicy usual_policy() {
    http::ServicePolicy policy;
    policy.name = "k8s";
    policy.calls = 64;
    policy.streams = 8192;  // one log for each attempt
    policy.queue = 16'384;
    policy.breaker_pause = std::chrono::seconds(2);  // it is asked by those who wait for it anyway
    return policy;
}

std::string selector_text(const StringMap& labels) {
    std::string text;
    for (const auto& [name, value] : labels)
        text += (text.empty() ? "" : ",") + name + "=" + value;
    return text;
}

Api::Api(boost::asio::io_context& loop, const Clock& clock, Random& random, http::Client& client, ApiOptions options)
    : clock_(clock),
      options_(std::move(options)),
      caller_(loop, clock, random, client, options_.policy, options_.listener) {}

std::string Api::jobs_path() const {
    return "/apis/batch/v1/namespaces/" + http::encode_url_part(options_.name_space) + "/jobs";
}

std::string Api::pods_path() const {
    return "/api/v1/namespaces/" + http::encode_url_part(options_.name_space) + "/pods";
}

void Api::count(std::string_view call, std::string_view status) const {
    if (options_.on_call) options_.on_call(call, status);
}

http::ServiceCall Api::request(std::string_view call, std::string method, std::string path,
                               std::string_view ticket_id) const {
    http::ServiceCall asked;
    asked.request.method = std::move(method);
    asked.request.url = std::move(path);
    asked.request.headers = {{"Accept", "application/json"}};
    asked.request.timeout = options_.call_timeout;
    asked.request.max_response_bytes = kMaxAnswer;
    asked.request.purpose.name = "k8s." + std::string(call);
    asked.request.purpose.ticket_id = ticket_id;
    asked.deadline = clock_.now() + options_.call_timeout;
    asked.repeat = http::Repeat::kAlways;  // each of them says by name or uid what it means
    asked.prepare = [this](http::Request& request) -> Result<void> {
        if (access_ == nullptr) return fail(ErrorCode::kUnavailable, "k8s", "there is no access to a cluster");
        return access_->apply(request);
    };
    return asked;
}

ApiError Api::silence(std::string_view call, Error error) const {
    count(call, "unreachable");
    error.origin = "k8s";
    const std::string server = access_ != nullptr ? " at " + access_->server() : "";
    error.message = "the API server" + server + " does not answer: " + error.message;
    return ApiError{0, {}, std::move(error)};
}

ApiError Api::refusal(std::string_view call, int status, std::string_view body) const {
    count(call, status >= 500 ? "error" : "refused");
    Refusal refused = parse_refusal(body);
    ErrorCode code = ErrorCode::kInvalidArgument;
    Retry retry = Retry::kNever;
    Fault fault = Fault::kInput;
    if (status == kGone || status == 410) code = ErrorCode::kNotFound;
    if (status == kConflict) code = ErrorCode::kConflict;
    if (status == 401 || status == 403) {
        code = ErrorCode::kNotAllowed;
        fault = Fault::kWorker;
    }
    // A quota may have room again later.
    if (status == 403 && refused.message.find("exceeded quota") != std::string::npos) {
        code = ErrorCode::kUnavailable;
        retry = Retry::kAfterBackoff;
        fault = Fault::kLimit;
    }
    if (status >= 500 || status == 429 || status < 400) {
        code = ErrorCode::kUnavailable;
        retry = Retry::kAfterBackoff;
        fault = Fault::kService;
    }
    std::string message = refused.message + " (" + std::string(call) + ": " + std::to_string(status) +
                          (refused.reason.empty() ? "" : " " + refused.reason) + ")";
    return ApiError{status, std::move(refused.reason), make_error(code, retry, fault, "k8s", std::move(message))};
}

template <class T, class Parse>
Api::Handle Api::send(std::string_view call, http::ServiceCall asked, Done<T> done, Parse parse) {
    // A stream's refusal is read, too; `call` is a literal.
    const auto refused = std::make_shared<std::string>();
    if (asked.reader) {
        const auto good = std::make_shared<bool>(true);
        asked.reader->head = [good](const http::Response& head) { *good = head.status >= 200 && head.status < 300; };
        asked.reader->chunk = [good, refused, chunk = std::move(asked.reader->chunk)](std::string_view bytes) {
            if (*good) return chunk(bytes);
            *refused += bytes.substr(0, kMaxRefusal - std::min(kMaxRefusal, refused->size()));
            return true;
        };
    }
    return caller_.call(std::move(asked), [this, call, refused, done = std::move(done),
                                           parse = std::move(parse)](http::ServiceAnswer answer) {
        if (!answer.result) return done(tl::unexpected(silence(call, std::move(answer.result).error())));
        const http::Response& response = *answer.result;
        if (response.status < 200 || response.status > 299) {
            const std::string& body = refused->empty() ? response.body : *refused;
            return done(tl::unexpected(refusal(call, response.status, body)));
        }
        Result<T> value = parse(std::string_view(response.body));
        if (!value) {
            count(call, "error");
            Error error = std::move(value).error();
            error.retry = Retry::kAfterBackoff;
            error.fault = Fault::kService;
            return done(tl::unexpected(ApiError{0, {}, std::move(error)}));
        }
        count(call, "success");
        done(std::move(*value));
    });
}

Api::Handle Api::version(Duration limit, Done<std::string> done) {
    http::ServiceCall asked = request("version", "GET", "/version", {});
    asked.request.timeout = limit;
    asked.deadline = clock_.now() + limit;
    asked.attempts = 1;
    return send<std::string>("version", std::move(asked), std::move(done), parse_version);
}

Api::Handle Api::may(const Right& right, Duration limit, Done<bool> done) {
    const std::size_t slash = right.resource.find('/');
    json::object wanted{{"namespace", text(options_.name_space)},
                        {"verb", text(right.verb)},
                        {"group", text(right.group)},
                        {"resource", text(right.resource.substr(0, slash))}};
    if (slash != std::string_view::npos) wanted["subresource"] = text(right.resource.substr(slash + 1));
    http::ServiceCall asked = request("review", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {});
    asked.request.headers.push_back({"Content-Type", "application/json"});
    asked.request.body =
        json::serialize(json::object{{"apiVersion", "authorization.k8s.io/v1"},
                                     {"kind", "SelfSubjectAccessReview"},
                                     {"spec", json::object{{"resourceAttributes", std::move(wanted)}}}});
    asked.request.timeout = limit;
    asked.deadline = clock_.now() + limit;
    return send<bool>("review", std::move(asked), std::move(done), parse_review);
}

Api::Handle Api::list(Kind kind, const std::string& selector, const std::string& next, Done<Page> done) {
    const std::string call = kind == Kind::kJobs ? "list_jobs" : "list_pods";
    std::string path = (kind == Kind::kJobs ? jobs_path() : pods_path()) +
                       "?labelSelector=" + http::encode_url_part(selector) + "&limit=" + std::to_string(kPageItems);
    if (!next.empty()) path += "&continue=" + http::encode_url_part(next);
    http::ServiceCall asked = request(call, "GET", std::move(path), {});
    asked.request.max_response_bytes = kMaxPage;
    return send<Page>(kind == Kind::kJobs ? "list_jobs" : "list_pods", std::move(asked), std::move(done), parse_page);
}

Api::Handle Api::watch(Kind kind, const std::string& selector, const std::string& version, http::StreamReader reader,
                       Done<Nothing> done) {
    const std::string_view call = kind == Kind::kJobs ? "watch_jobs" : "watch_pods";
    http::ServiceCall asked = request(
        call, "GET",
        (kind == Kind::kJobs ? jobs_path() : pods_path()) +
            "?watch=1&allowWatchBookmarks=true&timeoutSeconds=" + std::to_string(whole_seconds(options_.watch_time)) +
            "&labelSelector=" + http::encode_url_part(selector) + "&resourceVersion=" + http::encode_url_part(version),
        {});
    asked.request.timeout = Duration::zero();  // whoever watches has an end of its own
    asked.deadline = {};
    asked.attempts = 1;
    asked.request.max_response_bytes = kAnyLength;
    asked.reader = std::move(reader);
    return send<Nothing>(call, std::move(asked), std::move(done), nothing);
}

Api::Handle Api::get_job(std::string_view name, std::string_view ticket_id, Done<JobState> done) {
    return send<JobState>("get_job",
                          request("get_job", "GET", jobs_path() + "/" + http::encode_url_part(name), ticket_id),
                          std::move(done), parse_job);
}

Api::Handle Api::create_job(std::string body, std::string_view ticket_id, Done<JobState> done) {
    http::ServiceCall asked =
        request("create_job", "POST", jobs_path() + "?fieldManager=worker-agents&fieldValidation=Strict", ticket_id);
    asked.request.headers.push_back({"Content-Type", "application/json"});
    asked.request.body = std::move(body);
    return send<JobState>("create_job", std::move(asked), std::move(done), parse_job);
}

Api::Handle Api::label_job(std::string_view name, const StringMap& labels, std::string_view ticket_id,
                           Done<Nothing> done) {
    json::object values;
    for (const auto& [key, value] : labels)
        values[key] = text(value);
    http::ServiceCall asked = request("patch_job", "PATCH", jobs_path() + "/" + http::encode_url_part(name), ticket_id);
    asked.request.headers.push_back({"Content-Type", "application/merge-patch+json"});
    asked.request.body = json::serialize(json::object{{"metadata", json::object{{"labels", std::move(values)}}}});
    return send<Nothing>("patch_job", std::move(asked), std::move(done), nothing);
}

Api::Handle Api::delete_job(std::string_view name, std::string_view uid, bool foreground, std::string_view ticket_id,
                            Done<Nothing> done) {
    http::ServiceCall asked =
        request("delete_job", "DELETE", jobs_path() + "/" + http::encode_url_part(name), ticket_id);
    asked.request.headers.push_back({"Content-Type", "application/json"});
    asked.request.body = delete_options(uid, foreground ? "Foreground" : "Background", std::nullopt);
    return send<Nothing>("delete_job", std::move(asked), gone_is_good(std::move(done)), nothing);
}

Api::Handle Api::pods_of(std::string_view job_name, std::string_view ticket_id, Done<std::vector<PodState>> done) {
    http::ServiceCall asked = request(
        "list_pods", "GET",
        pods_path() + "?labelSelector=" + http::encode_url_part("job-name=" + std::string(job_name)), ticket_id);
    asked.request.max_response_bytes = kMaxPage;
    return send<std::vector<PodState>>("list_pods", std::move(asked), std::move(done),
                                       [](std::string_view body) -> Result<std::vector<PodState>> {
                                           WA_TRY(const Page page, parse_page(body));
                                           std::vector<PodState> pods;
                                           for (const json::object& item : page.items) {
                                               WA_TRY(PodState pod, read_pod(item));
                                               pods.push_back(std::move(pod));
                                           }
                                           return pods;
                                       });
}

Api::Handle Api::delete_pod(std::string_view name, std::string_view uid, Duration grace, std::string_view ticket_id,
                            Done<Nothing> done) {
    http::ServiceCall asked =
        request("delete_pod", "DELETE", pods_path() + "/" + http::encode_url_part(name), ticket_id);
    asked.request.headers.push_back({"Content-Type", "application/json"});
    asked.request.body = delete_options(uid, {}, whole_seconds(grace));
    return send<Nothing>("delete_pod", std::move(asked), gone_is_good(std::move(done)), nothing);
}

Api::Handle Api::logs(std::string_view pod, bool follow, std::string_view ticket_id, http::StreamReader reader,
                      Done<Nothing> done) {
    http::ServiceCall asked = request("logs", "GET",
                                      pods_path() + "/" + http::encode_url_part(pod) +
                                          "/log?container=" + std::string(kContainer) + (follow ? "&follow=true" : ""),
                                      ticket_id);
    asked.request.headers = {{"Accept", "*/*"}};
    asked.request.timeout = Duration::zero();  // whoever reads has an end of its own
    asked.deadline = {};
    asked.attempts = 1;
    asked.request.max_response_bytes = kAnyLength;
    asked.reader = std::move(reader);
    return send<Nothing>("logs", std::move(asked), std::move(done), nothing);
}

Api::Handle Api::events_of(std::string_view uid, std::string_view ticket_id, Done<std::vector<std::string>> done) {
    http::ServiceCall asked = request(
        "list_events", "GET",
        "/api/v1/namespaces/" + http::encode_url_part(options_.name_space) +
            "/events?limit=100&fieldSelector=" + http::encode_url_part("involvedObject.uid=" + std::string(uid)),
        ticket_id);
    asked.attempts = 1;
    return send<std::vector<std::string>>("list_events", std::move(asked), std::move(done), parse_events);
}

}  // namespace wa::kubernetes
