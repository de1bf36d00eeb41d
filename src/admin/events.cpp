// The event stream (experience.md 2.8) and the worker's own log.
#include <algorithm>
#include <array>
#include <charconv>

#include "admin/log_tail.h"
#include "admin/support.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::admin {
using observability::EventHub;
using observability::KeptLine;
using observability::LogLevel;
using observability::Topics;
namespace {

constexpr Duration kKeepAlive = std::chrono::seconds(15);
// After a wake-up, events are gathered this long before the next one: at most forty writes a second for each listener.
constexpr Duration kGather = std::chrono::milliseconds(25);
constexpr Duration kLogPoll = std::chrono::milliseconds(100);
constexpr std::size_t kEventsAtOnce = 256;
constexpr std::size_t kLogLinesAtOnce = 200;
constexpr std::size_t kLogPieceBytes = 64 * 1024;
constexpr std::size_t kUnsentBytes = 256 * 1024;

// ---- one listener

struct EventWish {
    Topics topics;
    std::optional<std::uint64_t> last_id{};
    LogLevel level = LogLevel::kDebug;
};

class EventSession : public std::enable_shared_from_this<EventSession> {
public:
    EventSession(std::shared_ptr<Api> api, std::shared_ptr<net::Loop> loop, std::shared_ptr<net::Stream> stream,
                 EventWish wish)
        : api_(std::move(api)), loop_(std::move(loop)), stream_(std::move(stream)), wish_(std::move(wish)) {}

    void start() {
        ++api_->open_streams;
        const std::weak_ptr<EventSession> weak = weak_from_this();
        const auto pump_later = [weak] {
            if (const auto self = weak.lock()) self->pump();
        };
        stream_->on_close([self = shared_from_this()] { self->end(); });
        stream_->on_drained([weak] {
            if (const auto self = weak.lock(); self && self->starved_) self->pump();
        });
        listener_ = api_->context.hub->listen(wish_.topics, wish_.last_id,
                                              [loop = loop_, pump_later] { loop->post(pump_later); });
        stream_->write("retry: 2000\n\n");
        greet();
        if (wish_.topics.stats) api_->feed_stats(loop_);
        pump();
        start_logs();
        keep_alive();
    }

private:
    void end() {
        --api_->open_streams;
        listener_.reset();
        gather_.reset();
        log_timer_.reset();
        alive_timer_.reset();
    }

    // Gives the listener an id to come back with even when nothing happens for a long time.
    void greet() {
        if (wish_.last_id) return;
        stream_->write("id: " + std::to_string(api_->context.hub->newest()) + "\nevent: hello\ndata: {\"agent_id\":" +
                       net::json_quote(api_->context.facts.agent_id) + "}\n\n");
    }

    void pump() {
        if (stream_->closed() || !listener_) return;
        starved_ = stream_->queued() > kUnsentBytes;
        if (starved_) return;
        const EventHub::Batch batch = api_->context.hub->take(*listener_, kEventsAtOnce);
        std::string out;
        if (batch.reset) {
            // With the id from which the next resume works.
            out += "id: " + std::to_string(batch.newest) +
                   "\nevent: reset\ndata: {\"reason\":\"events were missed; read the state again\"}\n\n";
        }
        for (const observability::StreamEvent& event : batch.events)
            observability::append_sse(out, event);
        send(std::move(out));
        gather_ = loop_->after(batch.more ? Duration::zero() : kGather, [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->rest();
        });
    }

    void rest() {
        if (stream_->closed() || !listener_) return;
        if (!api_->context.hub->arm(*listener_)) pump();
    }

    void send(std::string out) {
        if (out.empty()) return;
        quiet_ = false;
        stream_->write(std::move(out));
    }

    void keep_alive() {
        alive_timer_ = loop_->after(kKeepAlive, [weak = weak_from_this()] {
            const auto self = weak.lock();
            if (!self || self->stream_->closed()) return;
            if (std::exchange(self->quiet_, true)) self->stream_->write(": still here\n\n");
            self->keep_alive();
        });
    }

    // ---- logs: polled, without ids, as they are not in the ring

    void start_logs() {
        if (api_->context.task_logs != nullptr) {
            for (const auto& [ticket_id, attempt] : wish_.topics.logs) {
                tails_.emplace_back(*api_->context.task_logs, ticket_id, attempt, std::nullopt, kLogLinesAtOnce);
                // A reader that comes back starts over: its old lines are to be forgotten.
                send(log_head(tails_.back()) + ",\"reset\":true}\n\n");
            }
        }
        // "0" asks for everything that is still kept; otherwise only what comes.
        worker_line_ = wish_.last_id == 0U ? 0 : api_->context.log->last_kept();
        if (!tails_.empty() || wish_.topics.worker_log) poll_logs();
    }

    static std::string log_head(const LogTail& tail) {
        return "event: log\ndata: {\"ticket_id\":" + net::json_quote(tail.ticket_id()) +
               ",\"attempt\":" + std::to_string(tail.attempt());
    }

    void poll_logs() {
        if (stream_->closed()) return;
        if (stream_->queued() <= kUnsentBytes) {
            std::size_t room = kLogLinesAtOnce;
            for (LogTail& tail : tails_)
                room -= std::min(room, send_tail(tail, room));
            if (wish_.topics.worker_log) send_worker_lines();
        }
        log_timer_ = loop_->after(kLogPoll, [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->poll_logs();
        });
    }

    std::size_t send_tail(LogTail& tail, std::size_t room) {
        const auto piece = tail.next(kLogPieceBytes);
        if (!piece || piece->chunks.empty()) return 0;
        std::size_t skipped = 0;
        const auto lines = newest_lines(piece->chunks, room, skipped);
        std::string out;
        if (skipped > 0) out += log_head(tail) + ",\"skipped\":" + std::to_string(skipped) + "}\n\n";
        for (const LogLine& line : lines) {
            out += log_head(tail) + ",\"stream\":\"" + std::string(to_string(line.stream)) +
                   "\",\"at\":" + std::to_string(line.at) + ",\"text\":" + net::json_quote(line.text) +
                   ",\"position\":" + std::to_string(tail.position()) + "}\n\n";
        }
        send(std::move(out));
        return lines.size();
    }

    void send_worker_lines() {
        std::string out;
        for (const KeptLine& line : api_->context.log->kept(worker_line_, LogLevel::kDebug, kLogLinesAtOnce)) {
            worker_line_ = line.number;
            if (line.level >= wish_.level) out += "event: worker-log\ndata: " + line.json + "\n\n";
        }
        send(std::move(out));
    }

    std::shared_ptr<Api> api_;
    std::shared_ptr<net::Loop> loop_;
    std::shared_ptr<net::Stream> stream_;
    EventWish wish_;
    std::unique_ptr<EventHub::Listener> listener_;
    bool starved_ = false;  // the reader lags: nothing is taken until it has caught up
    bool quiet_ = true;
    std::vector<LogTail> tails_;
    std::uint64_t worker_line_ = 0;
    std::unique_ptr<net::Loop::Timer> gather_;
    std::unique_ptr<net::Loop::Timer> log_timer_;
    std::unique_ptr<net::Loop::Timer> alive_timer_;
};

Result<LogLevel> query_level(const net::Request& request, LogLevel fallback) {
    const std::string word = query_text(request, "level");
    if (word.empty()) return fallback;
    const auto level = observability::parse_log_level(word);
    if (!level)
        return bad_query("level", "must be debug, info, warning, error or critical, not \"" + clip(word) + "\"");
    return *level;
}

Result<EventWish> read_wish(const net::Request& request) {
    EventWish wish;
    auto topics = observability::parse_topics(query_text(request, "topics"));
    if (!topics) return bad_query("topics", topics.error().message);
    wish.topics = std::move(*topics);
    WA_TRY(wish.level, query_level(request, LogLevel::kDebug));
    // An id that is no number is not ours: the listener is told to start over.
    if (const std::string_view text = request.header("last-event-id"); !text.empty()) {
        std::uint64_t id = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
        wish.last_id = error == std::errc{} && end == text.data() + text.size() ? id : 1;
    }
    return wish;
}

void events(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    auto wish = read_wish(request);
    if (!wish) return responder.send(error_response(wish.error()));
    if (api->open_streams >= kMaxStreams)
        return responder.send(unavailable("too many streams; try again in a moment", 2));
    net::Response head;
    head.content_type = "text/event-stream";
    head.headers = {{"Cache-Control", "no-cache, no-transform"}, {"X-Accel-Buffering", "no"}};
    const auto loop = responder.loop();
    auto stream = responder.stream(std::move(head));
    std::make_shared<EventSession>(api, loop, std::move(stream), std::move(*wish))->start();
}

// ---- GET /api/v1/logs

class WorkerLogSession : public std::enable_shared_from_this<WorkerLogSession> {
public:
    WorkerLogSession(std::shared_ptr<Api> api, std::shared_ptr<net::Loop> loop, std::shared_ptr<net::Stream> stream,
                     LogLevel level, std::uint64_t after)
        : api_(std::move(api)), loop_(std::move(loop)), stream_(std::move(stream)), level_(level), after_(after) {}

    void start() {
        ++api_->open_streams;
        stream_->on_close([self = shared_from_this()] {
            --self->api_->open_streams;
            self->timer_.reset();
        });
        poll();
    }

private:
    void poll() {
        if (stream_->closed()) return;
        if (stream_->queued() <= kUnsentBytes) {
            std::string out;
            for (const KeptLine& line : api_->context.log->kept(after_, LogLevel::kDebug, kLogLinesAtOnce)) {
                after_ = line.number;
                if (line.level >= level_) out += line.json + "\n";
            }
            if (!out.empty()) stream_->write(std::move(out));
        }
        timer_ = loop_->after(kLogPoll, [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->poll();
        });
    }

    std::shared_ptr<Api> api_;
    std::shared_ptr<net::Loop> loop_;
    std::shared_ptr<net::Stream> stream_;
    LogLevel level_;
    std::uint64_t after_;
    std::unique_ptr<net::Loop::Timer> timer_;
};

void worker_logs(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto level = query_level(request, LogLevel::kDebug);
    if (!level) return responder.send(error_response(level.error()));
    const auto tail = query_number(request, "tail", 0, 100'000);
    if (!tail) return responder.send(error_response(tail.error()));
    const auto follow = query_flag(request, "follow");
    if (!follow) return responder.send(error_response(follow.error()));
    std::vector<KeptLine> lines = api->context.log->kept(0, *level, SIZE_MAX);
    if (*tail && lines.size() > static_cast<std::size_t>(**tail))
        lines.erase(lines.begin(), lines.end() - static_cast<std::ptrdiff_t>(**tail));
    std::string body;
    for (const KeptLine& line : lines)
        body += line.json + "\n";
    net::Response response;
    response.content_type = "application/x-ndjson";
    if (!*follow) {
        response.body = std::move(body);
        return responder.send(std::move(response));
    }
    if (api->open_streams >= kMaxStreams)
        return responder.send(unavailable("too many streams; try again in a moment", 2));
    const std::uint64_t after = lines.empty() ? api->context.log->last_kept() : lines.back().number;
    response.headers = {{"Cache-Control", "no-cache, no-transform"}, {"X-Accel-Buffering", "no"}};
    const auto loop = responder.loop();
    auto stream = responder.stream(std::move(response));
    if (!body.empty()) stream->write(std::move(body));
    std::make_shared<WorkerLogSession>(api, loop, std::move(stream), *level, after)->start();
}

}  // namespace

void add_event_routes(RouteTable& table) {
    table.get("/api/v1/events", events);
    table.get("/api/v1/logs", worker_logs);
}

}  // namespace wa::admin
