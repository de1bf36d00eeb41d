#include "runtimes/docker_api.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <limits>
#include <memory>
#include <utility>
#include <variant>

#include "core/codec/text.h"
#include "runtimes/docker_progress.h"

namespace wa::docker {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxAnswer = 4U << 20U;
constexpr std::size_t kMaxList = 32U << 20U;
constexpr std::size_t kAnyLength = std::numeric_limits<std::size_t>::max();
constexpr Duration kStopMargin = std::chrono::seconds(10);

Failure bad_endpoint(std::string why) {
    Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "docker", std::move(why));
    error.field = "DOCKER_BASE_URL";
    error.fix = "use unix:///var/run/docker.sock, tcp://host:2376 or https://host:2376";
    return Failure(std::move(error));
}

std::string joined(const std::vector<std::string>& parts) {
    std::string text;
    for (const std::string& part : parts)
        text += (text.empty() ? "" : "&") + part;
    return text;
}

long whole_seconds(Duration duration) {
    return static_cast<long>(std::max<std::int64_t>(0, (to_millis(duration) + 999) / 1000));
}

}  // namespace

std::string percent_encoded(std::string_view text) {
    static constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    static constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        if (kPlain.find(c) != std::string_view::npos) {
            out += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        out += '%';
        out += kHex[byte >> 4U];
        out += kHex[byte & 0xFU];
    }
    return out;
}

Result<Endpoint> parse_endpoint(std::string_view url, bool tls) {
    Endpoint endpoint;
    endpoint.shown = clip(url, 200);
    constexpr std::string_view kUnix = "unix://";
    if (url.starts_with(kUnix)) {
        endpoint.unix_socket = url.substr(kUnix.size());
        if (!endpoint.unix_socket.starts_with('/')) return bad_endpoint("the path of the socket is not absolute");
        constexpr std::size_t kMaxSocketPath = 107;
        if (endpoint.unix_socket.size() > kMaxSocketPath)
            return bad_endpoint("the path of the socket is longer than 107 bytes");
        endpoint.base_url = "http://docker";
        return endpoint;
    }
    const std::size_t colon = url.find("://");
    const std::string_view scheme = url.substr(0, colon);
    if (colon == std::string_view::npos || (scheme != "tcp" && scheme != "http" && scheme != "https"))
        return bad_endpoint("Docker's address begins with unix://, tcp://, http:// or https://");
    std::string_view rest = url.substr(colon + 3);
    while (rest.ends_with('/'))
        rest.remove_suffix(1);
    if (rest.empty() || rest.find_first_of("/?#@ ") != std::string_view::npos)
        return bad_endpoint("Docker's address has a host and a port, and nothing else");
    endpoint.tls = scheme == "https" || (scheme == "tcp" && tls);
    endpoint.base_url = (endpoint.tls ? "https://" : "http://") + std::string(rest);
    return endpoint;
}

Api::Api(http::Client& client, const Clock& clock, ApiOptions options)
    : client_(client), clock_(clock), options_(std::move(options)) {}

http::Request Api::request(std::string_view call, std::string method, std::string path,
                           std::string_view ticket_id) const {
    http::Request request;
    request.method = std::move(method);
    request.url = options_.endpoint.base_url + std::move(path);
    request.unix_socket = options_.endpoint.unix_socket;
    request.connect_timeout = options_.connect_timeout;
    request.timeout = options_.call_timeout;
    request.max_response_bytes = kMaxAnswer;
    request.tls = options_.tls;
    request.purpose.name = "docker." + std::string(call);
    request.purpose.ticket_id = ticket_id;
    return request;
}

void Api::tell(const Asked& asked, std::string_view status) const {
    if (options_.on_call) options_.on_call(asked.call, status, clock_.now() - asked.began);
}

ApiError Api::silence(const Asked& asked, Error error) const {
    tell(asked, "unreachable");
    error.origin = "docker";
    error.message = "the engine at " + options_.endpoint.shown + " does not answer: " + error.message;
    return ApiError{0, std::move(error)};
}

ApiError Api::refusal(const Asked& asked, int status, std::string_view body) const {
    tell(asked, status >= 500 ? "error" : "refused");
    ErrorCode code = ErrorCode::kInvalidArgument;
    Retry retry = Retry::kNever;
    Fault fault = Fault::kInput;
    if (status == 404) code = ErrorCode::kNotFound;
    if (status == 409) code = ErrorCode::kConflict;
    if (status == 401 || status == 403) {
        code = ErrorCode::kNotAllowed;
        fault = Fault::kWorker;
    }
    if (status >= 500 || status == 429 || status < 400) {
        code = ErrorCode::kUnavailable;
        retry = Retry::kAfterBackoff;
        fault = Fault::kService;
    }
    return ApiError{
        status, make_error(code, retry, fault, "docker",
                           refusal_text(body) + " (" + std::string(asked.call) + ": " + std::to_string(status) + ")")};
}

template <class T, class Parse>
http::Completion Api::judged(std::string_view call, Done<T> done, Parse parse) const {
    const Asked asked{call, clock_.now()};
    return [this, asked, done = std::move(done), parse = std::move(parse)](Result<http::Response> answer) {
        if (!answer) return done(tl::unexpected(silence(asked, std::move(answer).error())));
        Result<T> value = parse(*answer);
        if (value) {
            tell(asked, "success");
            return done(std::move(*value));
        }
        // kMalformed and the like: it answered, but not what we understand. What it did is not known.
        const bool refused = value.error().code == ErrorCode::kInternal;
        if (refused) return done(tl::unexpected(refusal(asked, answer->status, answer->body)));
        tell(asked, "error");
        Error error = std::move(value).error();
        error.retry = Retry::kAfterBackoff;
        error.fault = Fault::kService;
        return done(tl::unexpected(ApiError{0, std::move(error)}));
    };
}

namespace {

// Reads the body of an answer with one of these statuses. kInternal marks a refusal for Api::judged().
template <class T, class Read>
auto when(std::vector<int> good, Read read) {
    return [good = std::move(good), read = std::move(read)](const http::Response& response) -> Result<T> {
        if (std::ranges::find(good, response.status) == good.end())
            return fail(ErrorCode::kInternal, "docker", "refused");
        return read(response.body);
    };
}

Result<std::monostate> nothing(std::string_view) {
    return std::monostate{};
}

}  // namespace

http::Call Api::simple(std::string_view call, std::string method, std::string path, std::string_view ticket_id,
                       std::vector<int> good, Duration limit, Done<std::monostate> done) {
    http::Request asked = request(call, std::move(method), std::move(path), ticket_id);
    asked.timeout = limit;
    return client_.send(std::move(asked),
                        judged<std::monostate>(call, std::move(done), when<std::monostate>(std::move(good), nothing)));
}

http::Call Api::ping(Duration limit, Done<std::monostate> done) {
    return simple("ping", "GET", "/_ping", {}, {200}, limit, std::move(done));
}

http::Call Api::version(Duration limit, Done<EngineVersion> done) {
    http::Request asked = request("version", "GET", "/version", {});
    asked.timeout = limit;
    auto negotiate = [this, done = std::move(done)](Reply<EngineVersion> reply) {
        if (!reply) return done(std::move(reply));
        const ApiVersion chosen = std::min(reply->newest, kNewestKnown);
        if (chosen < kOldestKnown || (reply->oldest && chosen < *reply->oldest)) {
            Error error = make_error(
                ErrorCode::kUnsupported, Retry::kNever, Fault::kService, "docker",
                "the engine speaks API " + (reply->oldest ? reply->oldest->text() + " to " : std::string("up to ")) +
                    reply->newest.text() + "; this worker knows " + kOldestKnown.text() + " to " + kNewestKnown.text());
            return done(tl::unexpected(ApiError{400, std::move(error)}));
        }
        prefix_ = "/v" + chosen.text();
        done(std::move(reply));
    };
    return client_.send(std::move(asked), judged<EngineVersion>("version", std::move(negotiate),
                                                                when<EngineVersion>({200}, parse_version)));
}

http::Call Api::list(const StringMap& labels, Done<std::vector<ContainerSummary>> done) {
    json::array wanted;
    for (const auto& [name, value] : labels)
        wanted.push_back(json::value(json::string(name + "=" + value)));
    const std::string filters = json::serialize(json::object{{"label", std::move(wanted)}});
    http::Request asked =
        request("list", "GET", prefix_ + "/containers/json?all=1&filters=" + percent_encoded(filters), {});
    asked.max_response_bytes = kMaxList;
    return client_.send(std::move(asked),
                        judged<std::vector<ContainerSummary>>("list", std::move(done),
                                                              when<std::vector<ContainerSummary>>({200}, parse_list)));
}

http::Call Api::create(std::string_view name, std::string body, std::string_view ticket_id,
                       Done<CreatedContainer> done) {
    http::Request asked =
        request("create", "POST", prefix_ + "/containers/create?name=" + percent_encoded(name), ticket_id);
    asked.headers.push_back({"Content-Type", "application/json"});
    asked.body = std::move(body);
    return client_.send(std::move(asked), judged<CreatedContainer>("create", std::move(done),
                                                                   when<CreatedContainer>({201}, parse_created)));
}

http::Call Api::start(std::string_view id, std::string_view ticket_id, Done<std::monostate> done) {
    return simple("start", "POST", prefix_ + "/containers/" + percent_encoded(id) + "/start", ticket_id, {204, 304},
                  std::chrono::seconds(60), std::move(done));
}

http::Call Api::stop(std::string_view id, Duration grace, std::string_view ticket_id, Done<std::monostate> done) {
    const long seconds = whole_seconds(grace);
    return simple("stop", "POST", prefix_ + "/containers/" + percent_encoded(id) + "/stop?t=" + std::to_string(seconds),
                  ticket_id, {204}, std::chrono::seconds(seconds) + kStopMargin, std::move(done));
}

http::Call Api::kill(std::string_view id, std::string_view ticket_id, Done<std::monostate> done) {
    return simple("kill", "POST", prefix_ + "/containers/" + percent_encoded(id) + "/kill", ticket_id, {204},
                  options_.call_timeout, std::move(done));
}

http::Call Api::inspect(std::string_view id, std::string_view ticket_id, Done<ContainerDetail> done) {
    return client_.send(
        request("inspect", "GET", prefix_ + "/containers/" + percent_encoded(id) + "/json", ticket_id),
        judged<ContainerDetail>("inspect", std::move(done), when<ContainerDetail>({200}, parse_inspect)));
}

http::Call Api::wait(std::string_view id, std::string_view ticket_id, Done<WaitAnswer> done) {
    http::Request asked = request(
        "wait", "POST", prefix_ + "/containers/" + percent_encoded(id) + "/wait?condition=not-running", ticket_id);
    asked.timeout = Duration::zero();
    return client_.send(std::move(asked),
                        judged<WaitAnswer>("wait", std::move(done), when<WaitAnswer>({200}, parse_wait)));
}

http::Call Api::remove(std::string_view id, Done<std::monostate> done) {
    return simple("remove", "DELETE", prefix_ + "/containers/" + percent_encoded(id) + "?force=1&v=1", {}, {204, 404},
                  options_.call_timeout, std::move(done));
}

http::Call Api::rename(std::string_view id, std::string_view name, Done<std::monostate> done) {
    return simple("rename", "POST",
                  prefix_ + "/containers/" + percent_encoded(id) + "/rename?name=" + percent_encoded(name), {}, {204},
                  options_.call_timeout, std::move(done));
}

http::Call Api::logs(std::string_view id, bool follow, std::string_view ticket_id, http::StreamReader reader,
                     Done<std::monostate> done) {
    http::Request asked = request(
        "logs", "GET",
        prefix_ + "/containers/" + percent_encoded(id) + "/logs?stdout=1&stderr=1&follow=" + (follow ? "1" : "0"),
        ticket_id);
    asked.timeout = Duration::zero();  // whoever reads has an end of its own
    asked.max_response_bytes = kAnyLength;
    return client_.stream(std::move(asked), std::move(reader),
                          judged<std::monostate>("logs", std::move(done), when<std::monostate>({200}, nothing)));
}

http::Call Api::was_killed(std::string_view id, EpochMillis now, std::string_view ticket_id, Done<bool> done) {
    const std::string filters = json::serialize(json::object{
        {"type", json::array{"container"}}, {"event", json::array{"kill"}}, {"container", json::array{id}}});
    // With an end in the past the answer ends too. Clocks of another machine may differ.
    constexpr EpochMillis kDay = 86'400'000;
    return client_.send(request("events", "GET",
                                prefix_ + "/events?since=" + std::to_string((now - 7 * kDay) / 1000) +
                                    "&until=" + std::to_string(now / 1000 + 1) + "&filters=" + percent_encoded(filters),
                                ticket_id),
                        judged<bool>("events", std::move(done), when<bool>({200}, [](std::string_view body) {
                                         return Result<bool>(body.find("\"kill\"") != std::string_view::npos);
                                     })));
}

http::Call Api::pull(const ImageName& image, std::string auth, Duration limit, std::string_view ticket_id,
                     Done<std::monostate> done) {
    http::Request asked = request(
        "pull", "POST",
        prefix_ + "/images/create?" +
            joined({"fromImage=" + percent_encoded(image.repository), "tag=" + percent_encoded(image.version())}),
        ticket_id);
    asked.timeout = limit;
    asked.max_response_bytes = kAnyLength;  // lines of progress, one by one
    if (!auth.empty()) asked.headers.push_back({"X-Registry-Auth", std::move(auth)});
    struct Reading {
        PullProgress progress;
        Result<void> good;
        bool refused = false;
        std::string refusal;
    };
    static constexpr std::size_t kRefusal = 64 * 1024;
    const auto reading = std::make_shared<Reading>();
    http::StreamReader reader;
    reader.head = [reading](const http::Response& head) { reading->refused = head.status != 200; };
    reader.chunk = [reading](std::string_view bytes) {
        if (reading->refused) {
            reading->refusal += bytes.substr(0, kRefusal - std::min(kRefusal, reading->refusal.size()));
        } else if (reading->good) {
            reading->good = reading->progress.feed(bytes);
        }
        return true;
    };
    return client_.stream(
        std::move(asked), std::move(reader),
        [this, call = Asked{"pull", clock_.now()}, reading, done = std::move(done)](Result<http::Response> answer) {
            if (!answer) return done(tl::unexpected(silence(call, std::move(answer).error())));
            if (answer->status != 200) return done(tl::unexpected(refusal(call, answer->status, reading->refusal)));
            if (reading->good) reading->good = reading->progress.finish();
            if (!reading->good) {
                tell(call, "error");
                Error error = reading->good.error();
                error.retry = Retry::kAfterBackoff;
                error.fault = Fault::kService;
                return done(tl::unexpected(ApiError{0, std::move(error)}));
            }
            if (reading->progress.failure()) {
                // The engine's own status where it gives one; without it nobody can say whether
                // another try helps.
                const int status = reading->progress.failure_status().value_or(500);
                return done(tl::unexpected(refusal(call, status, *reading->progress.failure())));
            }
            tell(call, "success");
            done(std::monostate{});
        });
}

}  // namespace wa::docker
