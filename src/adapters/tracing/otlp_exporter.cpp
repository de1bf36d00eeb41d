#include "adapters/tracing/otlp_exporter.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <utility>

#include "adapters/tracing/otlp_message.h"
#include "adapters/tracing/transport.h"
#include "core/codec/text.h"
#include "core/retry/backoff.h"

namespace wa {

using boost::system::error_code;

std::string_view to_string(SpanDrop why) {
    switch (why) {
        case SpanDrop::kQueueFull: return "queue_full";
        case SpanDrop::kExportFailed: return "export_failed";
        case SpanDrop::kRejected: return "rejected";
        case SpanDrop::kClosing: return "closing";
    }
    return "export_failed";
}

class OtlpExporter::Impl {
public:
    Impl(boost::asio::io_context& loop, Random& random, TraceExportListener& listener, OtlpOptions options,
         std::unique_ptr<tracing::Transport> transport)
        : loop_(loop),
          random_(random),
          listener_(listener),
          options_(std::move(options)),
          transport_(std::move(transport)),
          delay_timer_(loop),
          retry_timer_(loop),
          flush_timer_(loop) {}

    ~Impl() {
        if (const std::size_t left = queue_.size() + batch_.size(); left > 0)
            listener_.spans_dropped(left, SpanDrop::kClosing);
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void end(Span span) {
        if (!span.context.sampled) return;
        if (queue_.size() >= options_.queue_spans) return drop(1, SpanDrop::kQueueFull);
        cut(span);
        queue_.push_back(std::move(span));
        if (!batch_.empty()) return;  // goes on when that one has ended
        if (queue_.size() >= options_.batch_spans || flushed_) return send_next();
        if (queue_.size() == 1) arm_delay();
    }

    void flush(Duration deadline, std::function<void()> done) {
        if (flushed_) finish_flush();
        flushed_ = std::move(done);
        flush_timer_.expires_after(deadline);
        flush_timer_.async_wait(guarded([this] { finish_flush(); }));
        // A batch that waits for its next try goes at once.
        if (waits_for_retry_) {
            retry_timer_.cancel();
            later([this] { retry(); });
        } else if (batch_.empty()) {
            later([this] { send_next(); });
        }
    }

    [[nodiscard]] OtlpStats stats() const { return {exported_, dropped_, queue_.size() + batch_.size()}; }

private:
    std::function<void(const error_code&)> guarded(std::function<void()> work) {
        return [work = std::move(work), alive = std::weak_ptr<bool>(alive_)](const error_code& error) {
            if (!error && !alive.expired()) work();
        };
    }
    void later(std::function<void()> work) {
        boost::asio::post(loop_, [work = std::move(work), alive = std::weak_ptr<bool>(alive_)] {
            if (!alive.expired()) work();
        });
    }
    // What waits in the queue is bounded too, not only what is sent.
    void cut(Span& span) const {
        const auto cut_list = [&](auto& list, std::size_t limit) {
            if (list.size() > limit) list.resize(limit);
        };
        const auto cut_texts = [&](SpanAttributes& attributes) {
            cut_list(attributes, options_.max_attributes);
            for (auto& attribute : attributes) {
                auto* text = std::get_if<std::string>(&attribute.second);
                if (text != nullptr && text->size() > options_.max_text_bytes)
                    *text = std::string(utf8_prefix(*text, options_.max_text_bytes));
            }
        };
        cut_texts(span.attributes);
        cut_list(span.events, options_.max_attributes);
        cut_list(span.links, options_.max_attributes);
        for (SpanEvent& event : span.events)
            cut_texts(event.attributes);
        for (SpanLink& link : span.links)
            cut_texts(link.attributes);
    }
    void arm_delay() {
        delay_timer_.expires_after(options_.delay);
        delay_timer_.async_wait(guarded([this] { send_next(); }));
    }
    void drop(std::size_t count, SpanDrop why) {
        dropped_ += count;
        listener_.spans_dropped(count, why);
    }

    void send_next() {
        if (!batch_.empty()) return;
        delay_timer_.cancel();
        if (queue_.empty()) return finish_flush();
        const auto count = static_cast<std::ptrdiff_t>(std::min(queue_.size(), options_.batch_spans));
        batch_.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.begin() + count));
        queue_.erase(queue_.begin(), queue_.begin() + count);
        tries_ = 0;
        send();
    }

    void send() {
        waits_for_retry_ = false;
        ++tries_;
        transport_->send(tracing::message_of(batch_, options_), [this](const Result<tracing::Taken>& answer) {
            if (answer) {
                batch_taken(*answer);
            } else {
                batch_failed(answer.error());
            }
        });
    }

    void batch_taken(const tracing::Taken& taken) {
        const auto rejected = static_cast<std::size_t>(
            std::clamp<std::int64_t>(taken.rejected, 0, static_cast<std::int64_t>(batch_.size())));
        const std::size_t good = batch_.size() - rejected;
        exported_ += good;
        if (good > 0) listener_.spans_exported(good);
        if (rejected > 0) drop(rejected, SpanDrop::kRejected);
        batch_ended();
    }

    void batch_failed(const Error& error) {
        const bool again = error.retryable() && tries_ < options_.tries;
        listener_.export_failed(error, again);
        if (!again) {
            drop(batch_.size(), SpanDrop::kExportFailed);
            return batch_ended();
        }
        waits_for_retry_ = true;
        const BackoffPolicy policy{options_.first_backoff, options_.longest_backoff};
        std::optional<Duration> hint;
        if (error.retry_after) hint = std::min<Duration>(*error.retry_after, options_.longest_backoff);
        retry_timer_.expires_after(next_backoff(policy, tries_, hint, random_));
        retry_timer_.async_wait(guarded([this] { retry(); }));
    }
    void retry() {
        if (waits_for_retry_) send();
    }

    void batch_ended() {
        batch_.clear();
        if (queue_.size() >= options_.batch_spans || flushed_) {
            send_next();
        } else if (!queue_.empty()) {
            arm_delay();
        }
    }

    void finish_flush() {
        flush_timer_.cancel();
        if (const auto done = std::exchange(flushed_, nullptr)) later(done);
    }

    boost::asio::io_context& loop_;
    Random& random_;
    TraceExportListener& listener_;
    OtlpOptions options_;
    std::unique_ptr<tracing::Transport> transport_;
    std::deque<Span> queue_;
    std::vector<Span> batch_;  // under way, or waiting for its next try
    std::int32_t tries_ = 0;
    bool waits_for_retry_ = false;
    std::uint64_t exported_ = 0;
    std::uint64_t dropped_ = 0;
    std::function<void()> flushed_;
    boost::asio::steady_timer delay_timer_;
    boost::asio::steady_timer retry_timer_;
    boost::asio::steady_timer flush_timer_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

OtlpExporter::OtlpExporter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OtlpExporter::~OtlpExporter() = default;

Result<std::unique_ptr<OtlpExporter>> OtlpExporter::make(boost::asio::io_context& loop, const Clock& clock,
                                                         Random& random, TraceExportListener& listener,
                                                         OtlpOptions options) {
    WA_TRY(auto transport, tracing::make_transport(loop, clock, options));
    auto impl = std::make_unique<Impl>(loop, random, listener, std::move(options), std::move(transport));
    return std::unique_ptr<OtlpExporter>(new OtlpExporter(std::move(impl)));
}

void OtlpExporter::end(Span span) {
    impl_->end(std::move(span));
}

void OtlpExporter::flush(Duration deadline, std::function<void()> done) {
    impl_->flush(deadline, std::move(done));
}

OtlpStats OtlpExporter::stats() const {
    return impl_->stats();
}

}  // namespace wa
