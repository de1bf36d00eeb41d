#include "adapters/ticket_service/sender.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "adapters/ticket_service/answers.h"
#include "core/retry/backoff.h"

namespace wa {
namespace asio = boost::asio;
using boost::system::error_code;
using ticket_service::Fate;
using ticket_service::UpdateQueue;
using ticket_service::Verdict;

namespace {

constexpr Duration kFilePause = std::chrono::seconds(1);
// Shares of the queue. What is in hand when intake closes still has to find room.
constexpr double kBehindAt = 0.5;
constexpr double kCaughtUpAt = 0.25;
constexpr std::size_t kMaxAnswerBytes = 4ULL << 20U;

}  // namespace

HttpTicketService::Sender::Sender(Shared& shared)
    : shared_(shared),
      queue_(shared.options.queue),
      room_(shared.options.queue, kBehindAt, kCaughtUpAt),
      timer_(shared.loop),
      file_timer_(shared.loop),
      flush_timer_(shared.loop) {
    if (!shared.options.spill_file.empty()) {
        file_ = std::make_unique<ticket_service::SpillFile>(shared.options.spill_file);
        read_file();
    }
}

HttpTicketService::Sender::~Sender() {
    requests_.clear();
    if (file_) write_file();
}

void HttpTicketService::Sender::read_file() {
    auto updates = file_->read();
    if (!updates) {
        shared_.listener.spill_problem(updates.error().message);
        return;
    }
    if (updates->empty()) return;
    file_has_something_ = true;
    shared_.listener.spill_read(updates->size());
    for (StatusUpdate& update : *updates)
        add(std::move(update));
    arm_file_timer();
}

void HttpTicketService::Sender::add(StatusUpdate update) {
    if (!ticket_service::can_be_asked_for(update.ticket_id)) {
        shared_.listener.status_lost(update, make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput,
                                                        "ticket_service", "this cannot be the id of a ticket"));
        return;
    }
    const std::string id = update.ticket_id;
    std::optional<StatusUpdate> lost;
    const auto added = queue_.add(std::move(update), shared_.clock.now(), lost);
    if (added == UpdateQueue::Added::kReplaced) shared_.listener.status_replaced(id);
    if (lost) {
        shared_.listener.status_lost(
            *lost,
            make_error(ErrorCode::kLimitExceeded, Retry::kNever, Fault::kService, "ticket_service",
                       std::to_string(shared_.options.queue) +
                           " tickets have a status that the ticket service has not taken; there is no room for more"));
    }
    pump_soon();
}

void HttpTicketService::Sender::pump_soon() {
    if (std::exchange(pump_posted_, true)) return;
    asio::post(shared_.loop, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        pump_posted_ = false;
        pump();
    });
}

void HttpTicketService::Sender::pump() {
    const MonoTime now = shared_.clock.now();
    while (queue_.in_flight() < shared_.options.requests) {
        const auto due = queue_.next_due(now);
        if (!due) break;
        if (*due > now) {
            wait_until(*due);
            break;
        }
        if (!shared_.gate.try_pass()) {
            wait_until(shared_.gate.opens_at());
            arm_file_timer();
            break;
        }
        const auto next = queue_.take(now);
        if (!next) {
            shared_.gate.abandoned();
            continue;  // what was due was stale; next_due() moves on
        }
        Request& request = requests_[next->update->ticket_id];
        request.update = *next->update;
        request.since = next->since;
        request.failures = next->failures;
        send(request);
    }
    check_flush();
}

// Only a service that works the queue off within seconds is waited for: one that crawls holds up no work, as little as
// one that is away.
bool HttpTicketService::Sender::behind() {
    if (room_.update(queue_.ready()) || !shared_.gate.open()) return false;
    const auto since = queue_.ready_since();
    return since && shared_.clock.now() - *since < shared_.options.wait_for_service;
}

void HttpTicketService::Sender::send(Request& entry) {
    const StatusUpdate& update = entry.update;
    const std::string id = update.ticket_id;
    http::Request request = shared_.request("PATCH", http::encode_url_part(id) + "/status",
                                            {"ticket_service.update_ticket_status", id, update.cause, entry.failures});
    request.headers.push_back({"Content-Type", "application/json"});
    request.body = ticket_service::status_body(update);
    request.max_response_bytes = kMaxAnswerBytes;
    entry.call = shared_.client.send(std::move(request),
                                     [this, id](const Result<http::Response>& answer) { answered(id, answer); });
}

void HttpTicketService::Sender::answered(const std::string& ticket_id, const Result<http::Response>& answer) {
    const Verdict verdict = ticket_service::judge(answer, shared_.clock.wall_now());
    shared_.gate.passed(verdict);
    switch (verdict.fate) {
        case Fate::kOk: {
            // Something in between may answer 200 to everything.
            const auto ticket = ticket_service::parse_ticket(answer->body);
            if (ticket && ticket->ticket_id == ticket_id) {
                arrived(ticket_id);
            } else {
                give_up(ticket_id, ticket ? make_error(ErrorCode::kMalformed, Retry::kNever, Fault::kService,
                                                       "ticket_service", "the answer is about another ticket")
                                          : ticket.error());
            }
            break;
        }
        case Fate::kRefused: give_up(ticket_id, verdict.error); break;
        default: try_again(ticket_id, verdict); break;
    }
    pump_soon();
}

void HttpTicketService::Sender::arrived(const std::string& ticket_id) {
    const auto request = requests_.extract(ticket_id);
    const MonoTime now = shared_.clock.now();
    queue_.done(ticket_id, now);
    if (file_has_something_) arm_file_timer();
    shared_.listener.status_delivered(request.mapped().update, now - request.mapped().since);
}

void HttpTicketService::Sender::give_up(const std::string& ticket_id, const Error& why) {
    const auto request = requests_.extract(ticket_id);
    queue_.done(ticket_id, shared_.clock.now());
    if (file_has_something_) arm_file_timer();
    shared_.listener.status_lost(request.mapped().update, why);
}

Duration HttpTicketService::Sender::patience() const {
    return file_ ? shared_.options.keep_trying_with_file : shared_.options.keep_trying;
}

void HttpTicketService::Sender::try_again(const std::string& ticket_id, const Verdict& verdict) {
    const auto request = requests_.extract(ticket_id);
    const StatusUpdate& update = request.mapped().update;
    const MonoTime now = shared_.clock.now();
    const bool unknown = verdict.fate == Fate::kNotFound;
    const Duration limit = unknown ? shared_.options.not_found_patience : patience();
    if (now - request.mapped().since >= limit) {
        queue_.done(ticket_id, now);
        shared_.listener.status_lost(update, verdict.error);
        return;
    }
    const std::int32_t failures = request.mapped().failures + 1;
    const BackoffPolicy policy = unknown ? BackoffPolicy{shared_.options.not_found_base, shared_.options.not_found_cap}
                                         : BackoffPolicy{shared_.options.retry_base, shared_.options.retry_cap};
    const Duration wait = next_backoff(policy, failures, verdict.retry_after, shared_.random);
    queue_.put_back(ticket_id, now + wait, true);
    shared_.listener.status_delayed(update, verdict.error);
    if (verdict.fate == Fate::kUnreachable) arm_file_timer();
}

void HttpTicketService::Sender::wait_until(MonoTime when) {
    timer_.expires_after(std::max(Duration(std::chrono::milliseconds(1)), when - shared_.clock.now()));
    timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const error_code& error) {
        if (!error && !alive.expired()) pump();
    });
}

// The file follows the queue once a second, and only while the service is not answering or the file is not empty.
void HttpTicketService::Sender::arm_file_timer() {
    if (!file_ || std::exchange(file_timer_armed_, true)) return;
    file_timer_.expires_after(kFilePause);
    file_timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const error_code& error) {
        if (error || alive.expired()) return;
        file_timer_armed_ = false;
        write_file();
        if (auto problem = file_->take_problem()) {
            shared_.listener.spill_problem(*problem);
            arm_file_timer();
        }
    });
}

void HttpTicketService::Sender::write_file() {
    auto updates = queue_.unsent_endings();
    if (updates.empty() && !file_has_something_) return;
    file_has_something_ = !updates.empty();
    file_->write(std::move(updates));
}

void HttpTicketService::Sender::flush(Duration limit, std::function<void(std::size_t)> done) {
    flushed_ = std::move(done);
    flush_until_ = shared_.clock.now() + limit;
    flush_timer_.expires_after(limit);
    flush_timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const error_code& error) {
        if (!error && !alive.expired()) check_flush();
    });
    pump_soon();
}

void HttpTicketService::Sender::check_flush() {
    if (!flushed_) return;
    const MonoTime now = shared_.clock.now();
    const bool hopeless = requests_.empty() && shared_.gate.state() == CircuitBreaker::State::kOpen &&
                          shared_.gate.opens_at() >= flush_until_;
    if (queue_.size() != 0 && now < flush_until_ && !hopeless) return;
    flush_timer_.cancel();
    if (file_) {
        write_file();
        file_->wait();
        if (auto problem = file_->take_problem()) shared_.listener.spill_problem(*problem);
    }
    std::exchange(flushed_, nullptr)(queue_.size());
}

}  // namespace wa
