#include "adapters/tracing/ticket_tracer.h"

#include <utility>

#include "core/codec/text.h"

namespace wa {
namespace {

using tracing::put_error;
using tracing::put_text;

constexpr std::size_t kMaxEvents = 32;  // of one ticket; stops and retries

// error.type of contract/engine.md 1.
const char* error_type(Outcome outcome) {
    switch (outcome) {
        case Outcome::kCompleted: return "";
        case Outcome::kExecutionFailed: return "execution_failed";
        case Outcome::kTimeout:
        case Outcome::kDeadlineExceeded: return "timeout";
        case Outcome::kDependencyFailed:
        case Outcome::kDependencyTimeout: return "dependency";
        case Outcome::kCancelled:
        case Outcome::kPreempted: return "cancelled";
        case Outcome::kInvalid: return "exception";
    }
    return "exception";
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return out;
}

std::string execution_status(const AttemptReport& report) {
    if (report.success) return "success";
    const bool timed_out = report.error && (report.error->code == ErrorCode::kTimeout ||
                                            report.error->code == ErrorCode::kDeadlineExceeded);
    return timed_out ? "timeout" : "failed";
}

}  // namespace

TicketTracer::TicketTracer(const Clock& clock, tracing::SpanTime& time, Random& random, Sampler sampler, SpanSink& sink,
                           HintOf hint_of, std::size_t max_tickets)
    : clock_(clock),
      time_(time),
      random_(random),
      sampler_(sampler),
      sink_(sink),
      hint_of_(std::move(hint_of)),
      max_tickets_(max_tickets) {}

std::optional<TraceContext> TicketTracer::context_of(std::string_view ticket_id) const {
    const auto found = open_.find(ticket_id);
    if (found == open_.end()) return std::nullopt;
    TraceContext context = found->second.context;
    if (found->second.attempt) context.span_id = *found->second.attempt;
    return context;
}

TicketTracer::Open* TicketTracer::find(const TicketView& ticket) {
    const auto found = open_.find(ticket.ticket_id);
    return found == open_.end() ? nullptr : &found->second;
}

TicketTracer::Open* TicketTracer::begin(const TicketView& ticket) {
    if (open_.size() >= max_tickets_) return nullptr;
    Open open;
    open.task_type = ticket.task_type;
    const auto parent = hint_of_ ? parent_of(hint_of_(ticket)) : std::nullopt;
    if (parent) {
        open.context = *parent;
        open.parent = parent->span_id;
    } else {
        open.context.trace_id = new_trace_id(random_);
    }
    open.context.span_id = new_span_id(random_);
    open.context.sampled = sampler_.sample(open.context.trace_id, parent);
    open.began = clock_.now();
    open.began_ns = time_.now();
    return &open_.emplace(ticket.ticket_id, std::move(open)).first->second;
}

std::int64_t TicketTracer::nanos(const Open& open, MonoTime at) {
    return open.began_ns + (at - open.began).count();
}

Span TicketTracer::child(const Open& open, std::string name, MonoTime from) {
    Span span;
    span.context = open.context;
    span.context.span_id = new_span_id(random_);
    span.parent = open.context.span_id;
    span.name = std::move(name);
    span.start_ns = nanos(open, from);
    span.end_ns = nanos(open, clock_.now());
    return span;
}

void TicketTracer::hand_over(Span span) {
    if (span.context.sampled) sink_.end(std::move(span));
}

TicketTracer::Open* TicketTracer::find_or_begin(const TicketView& ticket) {
    Open* const open = find(ticket);
    return open != nullptr ? open : begin(ticket);
}

void TicketTracer::ticket_consumed(const TicketView& ticket) {
    // Another record of a ticket in hand shares the entry of the first one, and gets its own when that has ended.
    if (find_or_begin(ticket) == nullptr) ++untraced_;
}

void TicketTracer::ticket_moved(const TicketView& ticket, State from, Event event, State to,
                                std::string_view /*reason*/) {
    // What happens to a further record of a ticket while it is held says nothing about the first one.
    if (to == State::kHeld || from == State::kHeld) return;
    const bool goes_on = from == State::kReceived && (to == State::kReady || to == State::kParked);
    Open* const open = goes_on ? find_or_begin(ticket) : find(ticket);
    if (open == nullptr) return;
    if (to == State::kReady || event == Event::kBackoffOver) open->waits_for_slot = clock_.now();
    if (to == State::kHandedBack) end_ticket(ticket, *open, nullptr);
}

void TicketTracer::attempt_started(const TicketView& ticket, Duration /*queue_wait*/) {
    Open* const open = find_or_begin(ticket);
    if (open == nullptr) return;
    if (open->waits_for_slot) hand_over(child(*open, "slot_wait", *std::exchange(open->waits_for_slot, std::nullopt)));
    open->attempt = new_span_id(random_);
    open->attempt_began = clock_.now();
}

void TicketTracer::attempt_ended(const TicketView& ticket, const AttemptReport& report, Duration took,
                                 Duration retry_in) {
    Open* const open = find(ticket);
    if (open == nullptr || !open->attempt) return;
    Span span = child(*open, "task_execution", open->attempt_began);
    span.context.span_id = *std::exchange(open->attempt, std::nullopt);
    put_text(span, "neural.hive.task_id", ticket.ticket_id);
    put_text(span, "neural.hive.task_type", to_string(ticket.task_type));
    put_text(span, "neural.hive.executor", lower(to_string(ticket.task_type)));
    put_text(span, "neural.hive.execution_status", execution_status(report));
    put_text(span, "neural.hive.runtime", report.runtime);
    span.attributes.emplace_back("neural.hive.attempt", std::int64_t{ticket.attempt});
    span.attributes.emplace_back("neural.hive.duration_seconds", to_seconds(took));
    if (report.exit_code) span.attributes.emplace_back("neural.hive.exit_code", std::int64_t{*report.exit_code});
    if (report.simulated) span.attributes.emplace_back("neural.hive.simulated", true);
    if (report.error) {
        put_error(span, std::string(to_string(report.error->code)), report.error->message, span.end_ns);
    }
    if (retry_in >= Duration::zero() && open->events.size() < kMaxEvents) {
        open->events.push_back({span.end_ns, "retry", {{"neural.hive.retry_in_seconds", to_seconds(retry_in)}}});
    }
    hand_over(std::move(span));
}

void TicketTracer::dependency_wait_ended(const TicketView& ticket, std::string_view result, Duration waited) {
    Open* const open = find(ticket);
    if (open == nullptr) return;
    Span span = child(*open, "dependency_wait", clock_.now() - waited);
    put_text(span, "neural.hive.wait_result", result);
    hand_over(std::move(span));
}

void TicketTracer::stop_requested(const TicketView& ticket, StopReason reason) {
    Open* const open = find(ticket);
    if (open == nullptr || open->events.size() >= kMaxEvents) return;
    open->events.push_back(
        {nanos(*open, clock_.now()), "stop_requested", {{"neural.hive.stop_reason", std::string(to_string(reason))}}});
}

void TicketTracer::outcome_decided(const TicketView& ticket, const Settlement& settlement) {
    Open* const open = find(ticket);
    if (open != nullptr && settlement.kind != SettlementKind::kSuppressed) open->decided = clock_.now();
}

void TicketTracer::ticket_settled(const TicketView& ticket, const Settlement& settlement) {
    Open* const open = find(ticket);
    if (open == nullptr) return;
    // A repeat of a ticket that completed: when it is this record's own span, it ends; another record's goes on.
    if (settlement.kind == SettlementKind::kSuppressed && (open->decided || open->attempt)) return;
    if (open->decided) {
        Span span = child(*open, "result_publish", *open->decided);
        span.kind = SpanKind::kProducer;
        hand_over(std::move(span));
    }
    end_ticket(ticket, *open, &settlement);
}

void TicketTracer::end_ticket(const TicketView& ticket, Open& open, const Settlement* settlement) {
    if (open.attempt) {  // nobody waited for its end
        Span attempt = child(open, "task_execution", open.attempt_began);
        attempt.context.span_id = *open.attempt;
        put_text(attempt, "neural.hive.task_id", ticket.ticket_id);
        put_text(attempt, "neural.hive.task_type", to_string(open.task_type));
        put_text(attempt, "neural.hive.execution_status", "abandoned");
        hand_over(std::move(attempt));
    }
    Span span;
    span.context = open.context;
    span.parent = open.parent;
    span.name = "ticket_execution";
    span.kind = SpanKind::kConsumer;
    span.start_ns = open.began_ns;
    span.end_ns = nanos(open, clock_.now());
    put_text(span, "neural.hive.ticket_id", ticket.ticket_id);
    put_text(span, "neural.hive.task_type", to_string(open.task_type));  // a parked ticket's view does not know it
    put_text(span, "neural.hive.plan_id", ticket.plan_id);
    put_text(span, "neural.hive.intent_id", ticket.intent_id);
    put_text(span, "neural.hive.correlation_id", ticket.correlation_id);
    put_text(span, "neural.hive.task_node", ticket.task_id);
    span.attributes.emplace_back("neural.hive.attempts", std::int64_t{ticket.attempt});
    span.events = std::move(open.events);
    if (settlement == nullptr) {
        put_text(span, "neural.hive.outcome", "handed_back");
    } else if (settlement->kind == SettlementKind::kRequeue) {
        put_text(span, "neural.hive.outcome", "requeued");
    } else if (settlement->kind == SettlementKind::kSuppressed) {
        put_text(span, "neural.hive.outcome", "duplicate");
    } else if (settlement->kind == SettlementKind::kDeadLetter) {
        put_text(span, "neural.hive.outcome", "dead_letter");
        put_text(span, "neural.hive.dead_letter_reason", settlement->dead_letter.reason);
        put_error(span, "exception", settlement->dead_letter.error, span.end_ns);
    } else {
        put_text(span, "neural.hive.outcome", to_string(settlement->outcome));
        if (is_success(settlement->outcome)) {
            span.status = SpanStatus::kOk;
        } else {
            put_error(span, error_type(settlement->outcome), settlement->result.error_message, span.end_ns);
        }
    }
    hand_over(std::move(span));
    open_.erase(open_.find(ticket.ticket_id));
}

}  // namespace wa
