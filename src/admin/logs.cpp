// Output of attempts as text, followed when asked; and what results kept of older ones.
#include "admin/log_tail.h"
#include "admin/support.h"
#include "core/codec/text.h"

namespace wa::admin {
namespace {

constexpr Duration kPollEvery = std::chrono::milliseconds(100);
constexpr std::size_t kPieceBytes = 128 * 1024;
constexpr std::size_t kUnsentBytes = 256 * 1024;
constexpr std::size_t kMaxTail = 100'000;
// How often a follower of a log that is not there yet asks the store whether the ticket has ended.
constexpr int kAskStoreEvery = 10;

struct LogQuestion {
    std::string ticket_id;
    std::int32_t attempt = 0;  // 0 = the last one
    std::optional<TaskLogStream> stream{};
    std::optional<std::size_t> tail{};
    bool follow = false;
};

Result<LogQuestion> read_question(const net::Request& request) {
    LogQuestion question;
    question.ticket_id = std::string(request.param("id"));
    WA_TRY(const auto attempt, query_number(request, "attempt", 1, 1'000'000));
    WA_TRY(const auto tail, query_number(request, "tail", 0, kMaxTail));
    WA_TRY(question.follow, query_flag(request, "follow"));
    if (attempt) question.attempt = static_cast<std::int32_t>(*attempt);
    if (tail) question.tail = static_cast<std::size_t>(*tail);
    const std::string stream = query_text(request, "stream");
    if (stream == "stdout" || stream == "out") {
        question.stream = TaskLogStream::kStdout;
    } else if (stream == "stderr" || stream == "err") {
        question.stream = TaskLogStream::kStderr;
    } else if (stream == "worker") {
        question.stream = TaskLogStream::kWorker;
    } else if (!stream.empty() && stream != "all") {
        return bad_query("stream", "must be stdout, stderr, worker or all, not \"" + clip(stream) + "\"");
    }
    return question;
}

// Writes a log to a stream, at the reader's pace. Kept alive by its stream and its timer.
class LogSession : public std::enable_shared_from_this<LogSession> {
public:
    LogSession(std::shared_ptr<Api> api, std::shared_ptr<net::Loop> loop, std::shared_ptr<net::Stream> stream,
               LogTail tail, bool follow)
        : api_(std::move(api)),
          loop_(std::move(loop)),
          stream_(std::move(stream)),
          tail_(std::move(tail)),
          follow_(follow) {}

    void start() {
        ++api_->open_streams;
        stream_->on_close([self = shared_from_this()] {
            --self->api_->open_streams;
            self->timer_.reset();
        });
        stream_->on_drained([weak = weak_from_this()] {
            if (const auto self = weak.lock(); self && self->starved_) self->pump();
        });
        pump();
    }

private:
    void pump() {
        starved_ = false;
        while (!stream_->closed()) {
            if (stream_->queued() > kUnsentBytes) {
                starved_ = true;
                return;
            }
            auto piece = tail_.next(kPieceBytes);
            if (!piece) return end("\n[worker-agents] the log cannot be read: " + piece.error().describe() + "\n");
            for (const TaskLogChunk& chunk : piece->chunks)
                stream_->write(chunk.text);
            if (piece->more) continue;
            if (!follow_ || piece->ended) return end({});
            if (piece->absent && ++absent_rounds_ % kAskStoreEvery == 0 && has_ended()) return end({});
            timer_ = loop_->after(kPollEvery, [weak = weak_from_this()] {
                if (const auto self = weak.lock()) self->pump();
            });
            return;
        }
    }

    [[nodiscard]] bool has_ended() const {
        const auto detail = api_->context.store->ticket(tail_.ticket_id());
        return !detail || is_ended(detail->summary.phase);
    }

    void end(const std::string& last_words) {
        if (!last_words.empty()) stream_->write(last_words);
        stream_->finish();
    }

    std::shared_ptr<Api> api_;
    std::shared_ptr<net::Loop> loop_;
    std::shared_ptr<net::Stream> stream_;
    LogTail tail_;
    bool follow_;
    bool starved_ = false;
    int absent_rounds_ = 0;
    std::unique_ptr<net::Loop::Timer> timer_;
};

// What the results kept, for attempts whose output is gone or was never written to a file.
net::Response kept_lines(const Api& api, const LogQuestion& question) {
    net::Response response;
    response.content_type = "text/plain; charset=utf-8";
    const auto log = api.context.store->log(question.ticket_id, question.attempt);
    if (!log) {
        if (log.error().code == ErrorCode::kNotFound) return response;
        return error_response(log.error());
    }
    std::size_t first = 0;
    if (question.tail && log->lines.size() > *question.tail) first = log->lines.size() - *question.tail;
    for (std::size_t i = first; i < log->lines.size(); ++i)
        response.body += log->lines[i] + "\n";
    return response;
}

void logs(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    auto question = read_question(request);
    if (!question) return responder.send(error_response(question.error()));
    auto detail = api->context.store->ticket(question->ticket_id);
    if (!detail) {
        if (detail.error().code == ErrorCode::kNotFound) detail.error().message = "Ticket not found";
        return responder.send(error_response(detail.error()));
    }
    const bool open = !is_ended(detail->summary.phase);
    const TaskLogs* all = api->context.task_logs;
    if (all != nullptr && question->attempt == 0) {
        const std::vector<std::int32_t> attempts = all->attempts(question->ticket_id);
        if (!attempts.empty()) question->attempt = attempts.back();
        if (open && detail->summary.attempts > question->attempt) question->attempt = detail->summary.attempts;
    }
    const std::int32_t attempt = std::max(1, question->attempt);
    const bool follow = question->follow && open;
    const bool there =
        all != nullptr && all->read({.ticket_id = question->ticket_id, .attempt = attempt, .max_bytes = 1}).has_value();
    if (!there && !(follow && all != nullptr)) return responder.send(kept_lines(*api, *question));
    if (api->open_streams >= kMaxStreams)
        return responder.send(unavailable("too many streams; try again in a moment", 1));
    net::Response head;
    head.content_type = "text/plain; charset=utf-8";
    head.headers = {{"Cache-Control", "no-cache, no-transform"}, {"X-Accel-Buffering", "no"}};
    const auto loop = responder.loop();
    auto stream = responder.stream(std::move(head));
    std::make_shared<LogSession>(api, loop, std::move(stream),
                                 LogTail(*all, question->ticket_id, attempt, question->stream, question->tail), follow)
        ->start();
}

}  // namespace

void add_log_routes(RouteTable& table) {
    table.get("/api/v1/tickets/{id}/logs", logs);
}

}  // namespace wa::admin
