#include "admin/support.h"

#include <algorithm>
#include <charconv>

#include "admin/records.h"
#include "core/codec/json_limits.h"
#include "core/codec/text.h"

namespace wa::admin {
namespace {

constexpr Duration kSnapshotLife = std::chrono::milliseconds(50);
constexpr Duration kSnapshotPatience = std::chrono::seconds(1);
constexpr Duration kStatsEvery = std::chrono::seconds(1);
constexpr int kBusyRetrySeconds = 1;

}  // namespace

// ---- shared state

Api::Api(ApiContext given) : context(std::move(given)), token_key(context.facts.token_key) {
    if (token_key.empty()) {
        for (int i = 0; i < 4; ++i)
            token_key += std::to_string(context.random->next());
    }
}

bool Api::serves(TaskType type) const {
    return std::ranges::find(context.facts.task_types, type) != context.facts.task_types.end();
}

void Api::snapshot(const std::shared_ptr<net::Loop>& loop, std::function<void(const EngineSnapshot*)> use) {
    if (last_ && context.clock->now() - last_at_ < kSnapshotLife) return use(&*last_);
    waiting_.push_back(std::move(use));
    if (asked_) return;
    asked_ = true;
    const std::uint64_t question = ++question_;
    const std::weak_ptr<Api> weak = weak_from_this();
    patience_ = loop->after(kSnapshotPatience, [weak, question] {
        if (const auto api = weak.lock(); api && api->question_ == question && api->asked_) api->deliver(nullptr);
    });
    context.engine->snapshot([loop, weak, question](EngineSnapshot taken) {
        auto kept = std::make_shared<EngineSnapshot>(std::move(taken));
        loop->post([weak, question, kept] {
            const auto api = weak.lock();
            if (!api || api->question_ != question || !api->asked_) return;
            api->last_ = std::move(*kept);
            api->last_at_ = api->context.clock->now();
            api->deliver(&*api->last_);
        });
    });
}

void Api::deliver(const EngineSnapshot* snapshot_taken) {
    asked_ = false;
    patience_.reset();
    const auto waiting = std::exchange(waiting_, {});
    for (const auto& use : waiting)
        use(snapshot_taken);
}

void Api::feed_stats(const std::shared_ptr<net::Loop>& loop) {
    if (std::exchange(stats_running_, true)) return;
    const std::weak_ptr<Api> weak = weak_from_this();
    stats_timer_ = loop->after(kStatsEvery, [weak, loop] {
        const auto api = weak.lock();
        if (!api) return;
        api->stats_running_ = false;
        if (!api->context.hub->wanted(observability::EventKind::kStats)) return;
        api->snapshot(loop, [api](const EngineSnapshot* taken) {
            if (taken == nullptr) return;
            observability::StreamEvent event;
            event.kind = observability::EventKind::kStats;
            event.text = stats_json(*taken, api->now());
            api->context.hub->publish(event);
        });
        api->feed_stats(loop);
    });
}

void publish_status(const Api& api, const TicketSummary& summary, std::string_view why) {
    observability::StreamEvent event;
    event.ticket_id = summary.ticket_id;
    event.plan_id = summary.plan_id;
    event.task_id = summary.task_id;
    event.task_type = summary.task_type;
    event.status = summary.status();
    event.phase = std::string(to_string(summary.phase));
    event.attempt = summary.attempts;
    event.text = why;
    api.context.hub->publish(event);
}

// ---- answers

Answer share(net::Responder responder) {
    return std::make_shared<net::Responder>(std::move(responder));
}

net::Response json_response(std::string body, int status) {
    net::Response response;
    response.status = status;
    response.body = std::move(body);
    return response;
}

int status_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::kMalformed: return 400;
        case ErrorCode::kNotAllowed: return 403;
        case ErrorCode::kNotFound: return 404;
        case ErrorCode::kConflict: return 409;
        case ErrorCode::kLimitExceeded: return 413;
        case ErrorCode::kInvalidArgument:
        case ErrorCode::kUnsupported: return 422;
        case ErrorCode::kUnavailable: return 503;
        case ErrorCode::kTimeout:
        case ErrorCode::kDeadlineExceeded: return 504;
        case ErrorCode::kDiskFull: return 507;
        default: return 500;
    }
}

net::Response unavailable(std::string_view detail, int retry_after_seconds) {
    net::Response response = net::problem(503, detail);
    response.headers.emplace_back("Retry-After", std::to_string(retry_after_seconds));
    return response;
}

net::Response error_response(const Error& error) {
    const int status = status_of(error.code);
    std::vector<net::FieldError> fields;
    // "Not found" and "conflict" are about a whole thing; their `field` is its id, which the text names already.
    const bool about_a_field = error.code != ErrorCode::kNotFound && error.code != ErrorCode::kConflict;
    if (about_a_field && !error.field.empty()) fields.push_back({error.field, error.message});
    std::string detail = error.describe();
    if (!error.fix.empty()) detail += "; " + error.fix;
    net::Response response = net::problem(status, detail, fields);
    if (status == 503) {
        const auto seconds =
            error.retry_after ? std::max<std::int64_t>(1, error.retry_after->count() / 1000) : kBusyRetrySeconds;
        response.headers.emplace_back("Retry-After", std::to_string(seconds));
    }
    return response;
}

net::Response errors_response(const std::vector<Error>& errors) {
    if (errors.size() == 1) return error_response(errors.front());
    // What cannot be parsed comes before what is too large, that before what is wrong.
    int status = 422;
    for (const Error& error : errors)
        status = std::min(status, status_of(error.code));
    std::vector<net::FieldError> fields;
    for (const Error& error : errors)
        fields.push_back({error.field, error.message});
    return net::problem(
        status, std::to_string(errors.size()) + " things are wrong; the first: " + errors.front().describe(), fields);
}

net::Response problems_response(const std::vector<Problem>& problems) {
    std::vector<net::FieldError> fields;
    std::string first;
    for (const Problem& problem : problems) {
        if (problem.severity != Severity::kError) continue;
        std::string message = problem.message;
        if (problem.line > 0)
            message =
                "line " + std::to_string(problem.line) + ", column " + std::to_string(problem.column) + ": " + message;
        if (first.empty()) first = message;
        fields.push_back({problem.path, std::move(message)});
    }
    std::string detail = first;
    if (fields.size() > 1) detail = std::to_string(fields.size()) + " things are wrong; the first: " + first;
    return net::problem(status_of(worst_code(problems)), detail, fields);
}

// ---- reading

Result<boost::json::object> body_object(const net::Request& request, bool may_be_empty) {
    if (may_be_empty && request.body.find_first_not_of(" \t\r\n") == std::string::npos) return boost::json::object{};
    JsonLimits limits;
    limits.duplicates = DuplicateKeys::kRejectTop;
    WA_TRY(boost::json::value value, parse_json(request.body, limits));
    if (!value.is_object()) return invalid("", "the body must be a JSON object");
    return std::move(value.get_object());
}

std::string text_or(const boost::json::object& object, std::string_view key, std::string_view fallback) {
    const auto* value = object.if_contains(key);
    if (value == nullptr || !value->is_string()) return std::string(fallback);
    return {value->get_string().data(), value->get_string().size()};
}

Failure bad_query(std::string_view name, std::string message) {
    Error error = make_error(ErrorCode::kMalformed, Retry::kNever, Fault::kInput, "http", std::move(message));
    error.field = std::string(name);
    return Failure(std::move(error));
}

Result<std::optional<std::int64_t>> query_number(const net::Request& request, std::string_view name, std::int64_t low,
                                                 std::int64_t high) {
    const auto text = request.query_value(name);
    if (!text) return std::optional<std::int64_t>();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc{} || end != text->data() + text->size() || value < low || value > high) {
        return bad_query(name, std::string(name) + " must be a whole number from " + std::to_string(low) + " to " +
                                   std::to_string(high) + ", not \"" + clip(*text) + "\"");
    }
    return std::optional(value);
}

Result<bool> query_flag(const net::Request& request, std::string_view name) {
    const auto text = request.query_value(name);
    if (!text) return false;
    if (text->empty() || *text == "1" || *text == "true" || *text == "yes") return true;
    if (*text == "0" || *text == "false" || *text == "no") return false;
    return bad_query(name, std::string(name) + " must be true or false, not \"" + clip(*text) + "\"");
}

std::string query_text(const net::Request& request, std::string_view name) {
    return std::string(request.query_value(name).value_or(""));
}

Result<Page> query_page(const net::Request& request) {
    Page page;
    WA_TRY(const auto offset, query_number(request, "offset", 0, 1'000'000'000));
    WA_TRY(const auto limit, query_number(request, "limit", 1, kMaxListLimit));
    if (offset) page.offset = static_cast<std::size_t>(*offset);
    if (limit) page.limit = static_cast<std::size_t>(*limit);
    return page;
}

// ---- routes

void RouteTable::get(std::string pattern, Handler handler, net::Access access) {
    net::Route route;
    route.method = "GET";
    route.pattern = std::move(pattern);
    route.access = access;
    route.handle = [api = api_, handler = std::move(handler)](net::Request request, net::Responder responder) {
        handler(api, std::move(request), std::move(responder));
    };
    router_.add(std::move(route));
}

void RouteTable::write(std::string method, std::string pattern, Handler handler, std::size_t body_limit,
                       std::vector<std::string> content_types) {
    net::Route route;
    route.method = std::move(method);
    route.pattern = std::move(pattern);
    route.access = net::Access::kWrite;
    route.body_limit = body_limit;
    route.content_types = std::move(content_types);
    route.handle = [api = api_, handler = std::move(handler)](net::Request request, net::Responder responder) {
        handler(api, std::move(request), std::move(responder));
    };
    router_.add(std::move(route));
}

Routers make_routes(ApiContext context) {
    const bool embedded = context.store != nullptr;
    const bool dead_letters = context.dead_letters != nullptr;
    const auto api = std::make_shared<Api>(std::move(context));
    Routers routers;
    routers.background = std::make_unique<BackgroundThread>(api->background);
    RouteTable table(api, routers.api);
    add_system_routes(table);
    add_metrics_route(table);
    add_task_routes(table);
    add_event_routes(table);
    if (embedded) {
        add_ticket_routes(table);
        add_ticket_history_routes(table);
        add_log_routes(table);
        add_plan_routes(table);
    }
    if (dead_letters) add_dead_letter_routes(table);
    RouteTable metrics(api, routers.metrics);
    add_metrics_route(metrics);
    return routers;
}

}  // namespace wa::admin
