#include "adapters/schema_registry/schema_registry.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "adapters/schema_registry/answers.h"
#include "core/codec/text.h"
#include "http_client/url.h"

namespace wa {
namespace asio = boost::asio;

namespace {

constexpr std::string_view kAccept =
    "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json";
constexpr std::int32_t kMaxFailures = 1000;

Error registry_error(ErrorCode code, Retry retry, std::string message) {
    return make_error(code, retry, Fault::kService, "schema_registry", std::move(message));
}

// Of the registry's own error codes, those that say "there is no such thing".
bool says_not_found(const schema_registry::RegistryError& error) {
    return error.code == 404 || (error.code >= 40'400 && error.code < 40'500);
}

}  // namespace

SchemaRegistry::SchemaRegistry(asio::io_context& loop, const Clock& clock, Random& random, http::Client& client,
                               SchemaRegistryOptions options, SchemaRegistryListener& listener)
    : loop_(loop),
      clock_(clock),
      random_(random),
      client_(client),
      options_(std::move(options)),
      listener_(listener),
      breaker_(options_.breaker_failures, options_.breaker_pause) {
    if (options_.folder.empty()) return;
    const auto url = http::parse_url(options_.base_url);
    if (!url) return;
    disk_.emplace(options_.folder, http::join_url(url->text, ""), options_.schemas);
    const auto read = disk_->read_all(
        [this](SchemaId id, std::string text) { keep(id, std::make_shared<const std::string>(std::move(text))); });
    if (!read) {
        listener_.schema_cache_problem(read.error());
        disk_.reset();
    }
}

SchemaRegistry::~SchemaRegistry() = default;

Result<void> SchemaRegistry::check(const SchemaRegistryOptions& options) {
    const auto url = http::parse_url(options.base_url);
    if (url) return {};
    Error error = url.error();
    error.field = "KAFKA_SCHEMA_REGISTRY_URL";
    return tl::unexpected(std::move(error).in("KAFKA_SCHEMA_REGISTRY_URL"));
}

std::shared_ptr<const std::string> SchemaRegistry::find(SchemaId id) {
    const auto found = kept_.find(id);
    if (found == kept_.end()) return nullptr;
    order_.splice(order_.end(), order_, found->second.place);
    return found->second.text;
}

void SchemaRegistry::fetch(SchemaId id, std::function<void(const SchemaAnswer&)> done) {
    if (auto text = find(id)) return answer_soon(std::move(done), {id, SchemaState::kFound, std::move(text), {}, {}});
    if (const auto found = not_found_.find(id); found != not_found_.end() && clock_.now() < found->second.until)
        return answer_soon(std::move(done), {id, SchemaState::kNotFound, nullptr, found->second.detail, {}});
    const auto found = asking_.find(id);
    if (found != asking_.end()) {
        if (found->second.waiting.size() >= options_.waiting)
            return answer_soon(std::move(done), unreachable(id, "too many ask for it already"));
        found->second.waiting.push_back(std::move(done));
        return;
    }
    if (asking_.size() >= options_.waiting)
        return answer_soon(std::move(done), unreachable(id, "too many schemas are being fetched"));
    asking_[id].waiting.push_back(std::move(done));
    queue_.push_back(id);
    ask_next();
}

http::Request SchemaRegistry::request(std::string method, std::string_view path, CallPurpose purpose) const {
    http::Request request;
    request.purpose = std::move(purpose);
    request.method = std::move(method);
    request.url = http::join_url(options_.base_url, path);
    request.headers.push_back({"Accept", std::string(kAccept)});
    if (!options_.username.empty())
        request.headers.push_back({"Authorization", "Basic " + base64(options_.username + ":" + options_.password)});
    request.connect_timeout = options_.connect_timeout;
    request.timeout = options_.timeout;
    request.max_response_bytes = schema_registry::kMaxAnswerBytes;
    request.tls = options_.tls;
    return request;
}

bool SchemaRegistry::may_ask() {
    const bool may = breaker_.try_acquire(clock_.now());
    tell_breaker();
    return may;
}

void SchemaRegistry::note(bool reachable) {
    if (reachable) {
        breaker_.success();
    } else {
        breaker_.failure(clock_.now());
    }
    tell_breaker();
}

void SchemaRegistry::tell_breaker() {
    if (std::exchange(told_, breaker_.state()) != breaker_.state())
        listener_.registry_breaker_changed(breaker_.state());
}

SchemaRegistry::Verdict SchemaRegistry::judge(const Result<http::Response>& response) {
    if (!response) {
        note(false);
        return {SchemaState::kUnreachable, false, response.error()};
    }
    const int status = response->status;
    if (status == 200) {
        note(true);
        return {};
    }
    const auto said = schema_registry::parse_error(response->body);
    std::string text = "the schema registry answered " + std::to_string(status);
    if (said && !said->message.empty()) text += ": " + said->message;
    if (status == 404 && said && says_not_found(*said)) {
        note(true);
        return {SchemaState::kNotFound, true, registry_error(ErrorCode::kNotFound, Retry::kNever, std::move(text))};
    }
    if (status == 404) text += ", but not in a registry's words; check the path of KAFKA_SCHEMA_REGISTRY_URL";
    if (status == 401 || status == 403) text += "; check its user and password";
    const bool refused = status >= 400 && status < 500 && status != 408 && status != 429 && status != 404;
    note(refused);  // it is there, and says no
    Error error = registry_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, std::move(text));
    if (const auto wait = http::retry_after(*response, clock_.wall_now())) error.retry_after = *wait;
    return {SchemaState::kUnreachable, refused, std::move(error)};
}

void SchemaRegistry::ask_next() {
    while (under_way_ < options_.requests && !queue_.empty()) {
        const SchemaId id = queue_.front();
        queue_.pop_front();
        if (may_ask()) {
            ask(id);
        } else {
            give(id, unreachable(id, "the schema registry is away; it is tried again later"));
        }
    }
}

void SchemaRegistry::ask(SchemaId id) {
    ++under_way_;
    Asking& asking = asking_[id];
    asking.sent_at = clock_.now();
    asking.call = client_.send(request("GET", "/schemas/ids/" + std::to_string(id), {"schema_registry.get_schema"}),
                               [this, id](const Result<http::Response>& response) { answered(id, response); });
}

void SchemaRegistry::answered(SchemaId id, const Result<http::Response>& response) {
    --under_way_;
    Verdict verdict = judge(response);
    SchemaAnswer answer{id, verdict.state, nullptr, verdict.error.message, {}};
    if (verdict.state == SchemaState::kFound) {
        auto schema = schema_registry::parse_schema(response->body);
        if (schema) {
            answer.text = std::make_shared<const std::string>(*std::move(schema));
            keep(id, answer.text);
            if (disk_) {
                if (const auto put = disk_->put(id, *answer.text); !put) listener_.schema_cache_problem(put.error());
            }
        } else {
            answer.state =
                schema.error().code == ErrorCode::kUnsupported ? SchemaState::kNotFound : SchemaState::kUnreachable;
            answer.detail = schema.error().message;
        }
    }
    if (answer.state == SchemaState::kNotFound) keep_not_found(id, answer.detail);
    if (answer.state == SchemaState::kUnreachable) {
        const std::string why = std::exchange(answer.detail, {});
        answer = unreachable(id, why);
        if (verdict.error.retry_after) answer.wait = verdict.error.retry_after;
    }
    const auto asking = asking_.find(id);
    listener_.schema_fetched(id, answer.state, answer.detail, clock_.now() - asking->second.sent_at);
    give(id, answer);
    ask_next();
}

SchemaAnswer SchemaRegistry::unreachable(SchemaId id, std::string why) const {
    SchemaAnswer answer{id, SchemaState::kUnreachable, nullptr, std::move(why), {}};
    if (breaker_.state() == CircuitBreaker::State::kOpen) {
        const Duration wait = std::max(Duration::zero(), breaker_.retry_at() - clock_.now());
        answer.wait = std::chrono::ceil<std::chrono::milliseconds>(wait);
    }
    return answer;
}

void SchemaRegistry::answer_soon(Done done, SchemaAnswer answer) {
    asio::post(loop_, [alive = std::weak_ptr<bool>(alive_), done = std::move(done), answer = std::move(answer)] {
        if (!alive.expired()) done(answer);
    });
}

void SchemaRegistry::give(SchemaId id, const SchemaAnswer& answer) {
    auto asking = asking_.extract(id);
    for (Done& done : asking.mapped().waiting)
        answer_soon(std::move(done), answer);
}

void SchemaRegistry::keep(SchemaId id, std::shared_ptr<const std::string> text) {
    if (kept_.contains(id)) return;
    while (kept_.size() >= options_.schemas && !order_.empty()) {
        kept_.erase(order_.front());
        order_.pop_front();
    }
    kept_[id] = {std::move(text), order_.insert(order_.end(), id)};
}

void SchemaRegistry::keep_not_found(SchemaId id, std::string detail) {
    if (not_found_.size() >= options_.schemas) not_found_.clear();
    not_found_[id] = {std::move(detail), clock_.now() + options_.keep_not_found};
}

void SchemaRegistry::publish(std::string subject, std::string text) {
    auto& publication = publications_[subject];
    if (publication && publication->text == text) return;
    if (publication && publication->call.active()) breaker_.abandoned();
    publication = std::make_unique<Publication>(loop_, std::move(text));
    send_publication(subject);
}

std::optional<SchemaId> SchemaRegistry::published(std::string_view subject) const {
    const auto found = publications_.find(std::string(subject));
    return found == publications_.end() ? std::nullopt : found->second->id;
}

bool SchemaRegistry::is_publishing(std::string_view subject) const {
    const auto found = publications_.find(std::string(subject));
    return found != publications_.end() && found->second->failures == 0 && found->second->call.active();
}

void SchemaRegistry::send_publication(const std::string& subject) {
    Publication& publication = *publications_.at(subject);
    if (publication.id || publication.call.active()) return;
    if (!may_ask()) {
        const Duration until_trial = breaker_.retry_at() - clock_.now();
        return publish_later(subject, std::max<Duration>(until_trial, std::chrono::seconds(1)));
    }
    http::Request post = request("POST", "/subjects/" + http::encode_url_part(subject) + "/versions?normalize=False",
                                 {"schema_registry.register_schema", {}, {}, publication.failures});
    post.headers.push_back({"Content-Type", "application/vnd.schemaregistry.v1+json"});
    post.body = schema_registry::registration_body(publication.text);
    publication.call = client_.send(std::move(post), [this, subject](const Result<http::Response>& response) {
        publication_answered(subject, response);
    });
}

void SchemaRegistry::publication_answered(const std::string& subject, const Result<http::Response>& response) {
    Publication& publication = *publications_.at(subject);
    Verdict verdict = judge(response);
    if (verdict.state == SchemaState::kFound) {
        const auto id = schema_registry::parse_registered(response->body);
        if (id) {
            publication.id = *id;
            listener_.schema_registered(subject, *id);
            return;
        }
        verdict.error = id.error();
    }
    publication.failures = std::min(publication.failures + 1, kMaxFailures);
    const std::optional<Duration> hint =
        verdict.error.retry_after ? std::optional<Duration>(*verdict.error.retry_after) : std::nullopt;
    const Duration wait = verdict.refused
                              ? options_.refused_pause
                              : next_backoff(options_.registration_backoff, publication.failures, hint, random_);
    listener_.registration_failed(subject, verdict.error);
    publish_later(subject, wait);
}

void SchemaRegistry::publish_later(const std::string& subject, Duration wait) {
    Publication& publication = *publications_.at(subject);
    publication.timer.expires_after(wait);
    publication.timer.async_wait(
        [this, alive = std::weak_ptr<bool>(alive_), subject](const boost::system::error_code& error) {
            if (!error && !alive.expired()) send_publication(subject);
        });
}

}  // namespace wa
