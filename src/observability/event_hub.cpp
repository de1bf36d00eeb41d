#include "observability/event_hub.h"

#include <algorithm>
#include <charconv>

#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::observability {
namespace {

// More than a ticket's reason ever needs; the stream is for looking, the history has the whole text.
constexpr std::size_t kMaxReasonBytes = 500;
constexpr std::size_t kMaxTopicBytes = 300;

Result<std::pair<std::string, std::int32_t>> parse_log_topic(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    std::int32_t attempt = 0;
    if (colon != std::string_view::npos) {
        const char* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, attempt);
        if (error == std::errc{} && stop == end && attempt >= 1 && colon > 0) {
            return std::pair{std::string(text.substr(0, colon)), attempt};
        }
    }
    return invalid("topics", "\"log:" + clip(text) + "\" is not log:<ticket id>:<attempt>");
}

}  // namespace

Result<Topics> parse_topics(std::string_view text) {
    Topics topics;
    std::size_t count = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(','), text.size());
        const std::string_view topic = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (topic.empty()) continue;
        if (++count > kMaxTopics) return invalid("topics", "more than 64 topics in one stream");
        if (topic.size() > kMaxTopicBytes) return invalid("topics", "a topic is longer than 300 bytes");
        if (topic == "ticket") {
            topics.ticket = true;
        } else if (topic == "stats") {
            topics.stats = true;
        } else if (topic == "worker-log") {
            topics.worker_log = true;
        } else if (topic.starts_with("plan:") && topic.size() > 5) {
            topics.plans.emplace(topic.substr(5));
        } else if (topic.starts_with("log:")) {
            WA_TRY(auto log, parse_log_topic(topic.substr(4)));
            topics.logs.push_back(std::move(log));
        } else {
            return invalid("topics", "unknown topic \"" + clip(topic) +
                                         "\"; known: ticket, plan:<id>, stats, log:<ticket id>:<attempt>, worker-log");
        }
    }
    if (count == 0)
        return invalid("topics",
                       "no topic given; known: ticket, plan:<id>, stats, log:<ticket id>:<attempt>, worker-log");
    return topics;
}

void append_sse(std::string& out, const StreamEvent& event) {
    out += "id: " + std::to_string(event.id);
    if (event.kind != EventKind::kTicket) {
        out += event.kind == EventKind::kStats ? "\nevent: stats\ndata: " : "\nevent: worker\ndata: ";
        out += event.text;
        out += "\n\n";
        return;
    }
    out += "\nevent: ticket\ndata: ";
    JsonObjectWriter json(out);
    json.text("ticket_id", event.ticket_id);
    json.text_or_null("plan_id", event.plan_id);
    json.text("task_id", event.task_id);
    json.text("task_type", to_string(event.task_type));
    json.text("status", to_string(event.status));
    json.text("phase", event.phase);
    json.integer("attempt", event.attempt);
    json.text("reason", event.text);
    json.integer("at", event.at);
    json.close();
    out += "\n\n";
}

class EventHub::Entry final : public EventHub::Listener {
public:
    Entry(EventHub& hub, Topics wanted) : topics(std::move(wanted)), hub_(hub) {}
    ~Entry() override { hub_.forget(this); }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

    Topics topics;
    std::uint64_t cursor = 0;  // next id to look at
    bool lost = false;         // came with an id that the ring does not know
    bool armed = false;
    std::function<void()> wake;

private:
    EventHub& hub_;
};

EventHub::EventHub(const Clock& clock, std::size_t capacity)
    : clock_(clock), ring_(std::max<std::size_t>(capacity, 1)) {
    // A thousand ids for each millisecond since 1970 stays exact in a JavaScript number until the year 2255.
    base_ = static_cast<std::uint64_t>(std::max<EpochMillis>(clock.wall_now(), 0)) * 1000 + 1;
    first_ = next_ = base_;
}

void EventHub::publish(const StreamEvent& event) {
    const std::scoped_lock lock(mutex_);
    StreamEvent& slot = ring_[next_ % ring_.size()];
    slot = event;  // copies into the strings that are there
    slot.id = next_++;
    if (slot.at == 0) slot.at = clock_.wall_now();
    if (next_ - first_ > ring_.size()) first_ = next_ - ring_.size();
    for (Entry* entry : listeners_) {
        if (!entry->armed || !fits(entry->topics, slot)) continue;
        entry->armed = false;
        entry->wake();
    }
}

bool EventHub::fits(const Topics& topics, const StreamEvent& event) {
    if (event.kind != EventKind::kTicket) return topics.stats;
    return topics.ticket || (!event.plan_id.empty() && topics.plans.contains(event.plan_id));
}

std::unique_ptr<EventHub::Listener> EventHub::listen(Topics topics, std::optional<std::uint64_t> last_id,
                                                     std::function<void()> wake) {
    auto entry = std::make_unique<Entry>(*this, std::move(topics));
    entry->wake = std::move(wake);
    const std::scoped_lock lock(mutex_);
    entry->cursor = next_;
    if (last_id) {
        // The id just before the oldest one kept is still good: nothing after it is missing.
        if (*last_id + 1 >= first_ && *last_id < next_) {
            entry->cursor = *last_id + 1;
        } else {
            entry->lost = true;
        }
    }
    listeners_.push_back(entry.get());
    return entry;
}

void EventHub::forget(Entry* entry) {
    const std::scoped_lock lock(mutex_);
    std::erase(listeners_, entry);
}

EventHub::Batch EventHub::take(Listener& listener, std::size_t limit) {
    auto& entry = static_cast<Entry&>(listener);
    Batch batch;
    const std::scoped_lock lock(mutex_);
    if (entry.lost || entry.cursor < first_) {
        entry.lost = false;
        entry.cursor = next_;
        batch.reset = true;
    }
    std::optional<std::size_t> stats;  // where the last `stats` of this batch stands
    for (; entry.cursor < next_ && batch.events.size() < limit; ++entry.cursor) {
        const StreamEvent& event = ring_[entry.cursor % ring_.size()];
        if (!fits(entry.topics, event)) continue;
        if (event.kind == EventKind::kStats) {
            // Several in one batch mean that the reader lags: the last one says it all.
            if (stats) batch.events.erase(batch.events.begin() + static_cast<std::ptrdiff_t>(*stats));
            stats = batch.events.size();
        }
        batch.events.push_back(event);
    }
    batch.newest = entry.cursor - 1;
    batch.more = entry.cursor < next_;
    return batch;
}

bool EventHub::arm(Listener& listener) {
    auto& entry = static_cast<Entry&>(listener);
    const std::scoped_lock lock(mutex_);
    if (entry.cursor < next_) return false;
    entry.armed = true;
    return true;
}

std::uint64_t EventHub::newest() const {
    const std::scoped_lock lock(mutex_);
    return next_ - 1;
}

bool EventHub::wanted(EventKind kind) const {
    const std::scoped_lock lock(mutex_);
    return std::ranges::any_of(listeners_, [&](const Entry* entry) {
        if (kind != EventKind::kTicket) return entry->topics.stats;
        return entry->topics.ticket || !entry->topics.plans.empty();
    });
}

void EventFeed::fill(const TicketView& ticket, TicketStatus status, std::string_view phase_word,
                     std::string_view reason) {
    scratch_.kind = EventKind::kTicket;
    scratch_.at = 0;
    scratch_.ticket_id = ticket.ticket_id;
    scratch_.plan_id = ticket.plan_id;
    scratch_.task_id = ticket.task_id;
    scratch_.task_type = ticket.task_type;
    scratch_.status = status;
    scratch_.phase = phase_word;
    scratch_.attempt = ticket.attempt;
    scratch_.text = utf8_prefix(reason, kMaxReasonBytes);
    hub_.publish(scratch_);
}

void EventFeed::ticket_consumed(const TicketView& ticket) {
    fill(ticket, TicketStatus::kPending, phase(State::kReceived), {});
}

void EventFeed::ticket_moved(const TicketView& ticket, State, Event, State to, std::string_view reason) {
    if (to == State::kSettled) return;  // ticket_settled says more
    fill(ticket, wire_status(to), phase(to), reason);
}

void EventFeed::ticket_settled(const TicketView& ticket, const Settlement& settlement) {
    switch (settlement.kind) {
        case SettlementKind::kResult: {
            const bool good = is_success(settlement.outcome);
            const bool simulated = settlement.result.metadata.contains("simulated");
            const std::string_view word = good ? (simulated ? "simulated" : "completed") : std::string_view("failed");
            return fill(ticket, good ? TicketStatus::kCompleted : TicketStatus::kFailed, word,
                        good ? to_string(settlement.outcome) : std::string_view(settlement.result.error_message));
        }
        case SettlementKind::kDeadLetter:
            return fill(ticket, TicketStatus::kFailed, "dead-lettered", settlement.dead_letter.error);
        case SettlementKind::kSuppressed:
            return fill(ticket, TicketStatus::kCompleted, "suppressed", "completed before");
        case SettlementKind::kRequeue: return fill(ticket, TicketStatus::kPending, "waiting", "re-queued");
    }
}

void EventFeed::intake_changed(bool open, std::string_view why, Duration) {
    scratch_.kind = EventKind::kWorker;
    scratch_.at = 0;
    scratch_.ticket_id.clear();
    scratch_.plan_id.clear();
    scratch_.text.clear();
    JsonObjectWriter json(scratch_.text);
    json.boolean("open", open);
    json.text("why", why);
    json.close();
    hub_.publish(scratch_);
}

void EventFeed::drain_changed(std::string_view drain_phase) {
    scratch_.kind = EventKind::kWorker;
    scratch_.at = 0;
    scratch_.ticket_id.clear();
    scratch_.plan_id.clear();
    scratch_.text.clear();
    JsonObjectWriter json(scratch_.text);
    json.text("drain", drain_phase);
    json.close();
    hub_.publish(scratch_);
}

}  // namespace wa::observability
