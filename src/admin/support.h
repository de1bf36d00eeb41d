// Inside admin/: what all routes share. Not for other folders.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/api.h"
#include "admin/background.h"
#include "core/plan/problems.h"

namespace wa::admin {

inline constexpr std::size_t kMaxTicketBody = 1024 * 1024;
inline constexpr std::size_t kMaxPlanBody = 64 * 1024 * 1024;
// Bodies above this are parsed on the background thread.
inline constexpr std::size_t kInlineBody = 128 * 1024;
inline constexpr std::size_t kMaxListLimit = 1000;
inline constexpr std::size_t kMaxStreams = 256;

// A Responder that callbacks can share; the first answer counts.
using Answer = std::shared_ptr<net::Responder>;

// The state behind the routes; they share it.
class Api : public std::enable_shared_from_this<Api> {
public:
    explicit Api(ApiContext given);

    ApiContext context;
    const std::shared_ptr<BackgroundJobs> background = std::make_shared<BackgroundJobs>();
    std::string token_key;
    std::size_t open_streams = 0;  // HTTP thread

    // The engine's state, asked for at most every 50 ms; null when it does not answer within a second. HTTP thread.
    void snapshot(const std::shared_ptr<net::Loop>& loop, std::function<void(const EngineSnapshot*)> use);
    // What was asked before a change is not shown after it. HTTP thread.
    void forget_snapshot() { last_.reset(); }
    // Publishes `stats` once a second for as long as somebody listens. HTTP thread.
    void feed_stats(const std::shared_ptr<net::Loop>& loop);
    [[nodiscard]] EpochMillis now() const { return context.clock->wall_now(); }
    [[nodiscard]] bool serves(TaskType type) const;
    [[nodiscard]] bool draining() const { return context.draining && context.draining(); }

private:
    void deliver(const EngineSnapshot* snapshot);

    std::vector<std::function<void(const EngineSnapshot*)>> waiting_;
    bool asked_ = false;
    std::uint64_t question_ = 0;
    std::optional<EngineSnapshot> last_;
    MonoTime last_at_{};
    std::unique_ptr<net::Loop::Timer> patience_;
    std::unique_ptr<net::Loop::Timer> stats_timer_;
    bool stats_running_ = false;
};

// A callback from another thread, continued on the HTTP thread.
template <class T>
std::function<void(Result<T>)> on_loop(const std::shared_ptr<net::Loop>& loop, std::function<void(Result<T>)> use) {
    return [loop, use = std::move(use)](Result<T> result) {
        // The value travels behind a pointer: what is posted must be copyable, results need not be.
        auto kept = std::make_shared<Result<T>>(std::move(result));
        loop->post([use, kept] { use(std::move(*kept)); });
    };
}

[[nodiscard]] Answer share(net::Responder responder);
[[nodiscard]] net::Response json_response(std::string body, int status = 200);
// The status-code table of interface.md.
[[nodiscard]] int status_of(ErrorCode code);
[[nodiscard]] net::Response error_response(const Error& error);
[[nodiscard]] net::Response errors_response(const std::vector<Error>& errors);
[[nodiscard]] net::Response problems_response(const std::vector<Problem>& problems);
[[nodiscard]] net::Response unavailable(std::string_view detail, int retry_after_seconds);

// The body as a JSON object. An empty body is an empty object when `may_be_empty`.
[[nodiscard]] Result<boost::json::object> body_object(const net::Request& request, bool may_be_empty = false);
[[nodiscard]] std::string text_or(const boost::json::object& object, std::string_view key,
                                  std::string_view fallback = {});

// Query parameters; a bad value is kMalformed (400).
[[nodiscard]] Failure bad_query(std::string_view name, std::string message);
[[nodiscard]] Result<std::optional<std::int64_t>> query_number(const net::Request& request, std::string_view name,
                                                               std::int64_t low, std::int64_t high);
[[nodiscard]] Result<bool> query_flag(const net::Request& request, std::string_view name);
[[nodiscard]] std::string query_text(const net::Request& request, std::string_view name);
struct Page {
    std::size_t offset = 0;
    std::size_t limit = 100;
};
[[nodiscard]] Result<Page> query_page(const net::Request& request);

// Route helpers.
using Handler = std::function<void(const std::shared_ptr<Api>&, net::Request, net::Responder)>;
class RouteTable {
public:
    RouteTable(std::shared_ptr<Api> api, net::Router& router) : api_(std::move(api)), router_(router) {}
    void get(std::string pattern, Handler handler, net::Access access = net::Access::kRead);
    void write(std::string method, std::string pattern, Handler handler, std::size_t body_limit = 64 * 1024,
               std::vector<std::string> content_types = {"application/json"});

private:
    std::shared_ptr<Api> api_;
    net::Router& router_;
};

void add_system_routes(RouteTable& table);
void add_metrics_route(RouteTable& table);
void add_task_routes(RouteTable& table);
void add_ticket_routes(RouteTable& table);
void add_ticket_history_routes(RouteTable& table);
void add_plan_routes(RouteTable& table);
void add_dead_letter_routes(RouteTable& table);
void add_event_routes(RouteTable& table);
void add_log_routes(RouteTable& table);

// Tells the event streams what a ticket's record says now; `why` for people.
void publish_status(const Api& api, const TicketSummary& summary, std::string_view why);

// Cancels one ticket wherever it is: in the engine's hands, or still in the store's queue. Answers on the HTTP thread.
void cancel_anywhere(const std::shared_ptr<Api>& api, const std::shared_ptr<net::Loop>& loop, CancelRequest request,
                     std::function<void(Result<CancelAnswer>)> answer);

}  // namespace wa::admin
