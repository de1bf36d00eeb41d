// Cancelling work under way (contract/services.md 4; contract/engine.md 10).
#include <array>

#include "admin/records.h"
#include "admin/support.h"
#include "core/codec/json_write.h"
#include "core/codec/result_json.h"
#include "core/codec/text.h"
#include "core/codec/ticket_json.h"

namespace wa::admin {
namespace json = boost::json;
namespace {

constexpr std::int64_t kMaxGraceSeconds = 300;
// The caller is promised an answer within 2 s.
constexpr Duration kCancelPatience = std::chrono::milliseconds(1800);
constexpr std::size_t kMaxReasonBytes = 200;

Result<CancelRequest> read_request(const net::Request& request) {
    WA_TRY(const json::object body, body_object(request));
    CancelRequest cancel;
    cancel.ticket_id = std::string(request.param("id"));
    const auto* reason = body.if_contains("reason");
    if (reason == nullptr || !reason->is_string() || reason->get_string().empty()) {
        return invalid("reason", "is needed: preemption, timeout or user_request");
    }
    cancel.reason = std::string(utf8_prefix(text_or(body, "reason"), kMaxReasonBytes));
    if (const auto* by = body.if_contains("preempted_by"); by != nullptr && !by->is_null()) {
        if (!by->is_string()) return invalid("preempted_by", "must be a ticket id or null");
        cancel.preempted_by = std::string(utf8_prefix(text_or(body, "preempted_by"), kMaxReasonBytes));
    }
    if (const auto* grace = body.if_contains("grace_period_seconds"); grace != nullptr && !grace->is_null()) {
        const auto seconds = whole_number(*grace);
        if (!seconds || *seconds < 0 || *seconds > kMaxGraceSeconds) {
            return invalid("grace_period_seconds", "must be a whole number from 0 to 300");
        }
        cancel.grace = std::chrono::seconds(*seconds);
    }
    return cancel;
}

std::string cancel_json(const CancelRequest& request, const CancelAnswer& answer) {
    std::string out;
    JsonObjectWriter writer(out);
    writer.boolean("success", answer.accepted);
    writer.text("ticket_id", request.ticket_id);
    writer.text("reason", request.reason);
    writer.boolean("checkpoint_saved", false);
    writer.null("checkpoint_key");
    writer.text("message", answer.message);
    writer.close();
    return out;
}

void cancel(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    auto wanted = read_request(request);
    if (!wanted) return responder.send(error_response(wanted.error()));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    auto patience = std::make_shared<std::unique_ptr<net::Loop::Timer>>();
    *patience = loop->after(kCancelPatience, [answer] {
        answer->send(unavailable("the engine has not answered yet; the cancellation may still take effect", 2));
    });
    cancel_anywhere(api, loop, *wanted, [answer, patience, asked = *wanted](Result<CancelAnswer> result) {
        patience->reset();
        if (result) return answer->send(json_response(cancel_json(asked, *result)));
        if (result.error().code != ErrorCode::kNotFound) return answer->send(error_response(result.error()));
        answer->send(net::problem(404, "Task " + asked.ticket_id + " not found or not active"));
    });
}

// A ticket may be read, started or ended between two questions; each round asks anew.
constexpr int kCancelRounds = 5;

// The one result of a ticket that was ended in the queue.
ExecutionResult cancelled_result(const Api& api, const TicketDetail& detail, const CancelRequest& request,
                                 Outcome outcome, const std::string& message) {
    ExecutionResult result;
    result.ticket_id = request.ticket_id;
    result.metadata["outcome"] = std::string(to_string(outcome));
    result.metadata["attempts"] = std::to_string(detail.summary.attempts);
    result.metadata["retryable"] = "false";
    result.metadata["cause"] = std::string(to_string(Fault::kTask));
    result.metadata["reason"] = std::string(to_string(ErrorCode::kCancelled));
    if (!request.preempted_by.empty()) result.metadata["preempted_by"] = request.preempted_by;
    result.error_message = message;
    result.agent_id = api.context.facts.agent_id;
    result.timestamp = result.completed_at = api.now();
    result.plan_id = detail.summary.plan_id;
    result.correlation_id = detail.correlation_id;
    if (const auto ticket = parse_ticket(detail.summary.payload)) {
        const auto workflow = ticket->metadata.find("workflow_id");
        if (workflow != ticket->metadata.end()) result.workflow_id = workflow->second;
        result.trace_id = ticket->trace_id;
    }
    return result;
}

Settlement cancelled_settlement(const Api& api, const TicketDetail& detail, const CancelRequest& request) {
    const bool preempted = request.reason == "preemption";
    std::string message = "cancelled: " + request.reason;
    if (preempted) message = request.preempted_by.empty() ? "preempted" : "preempted by " + request.preempted_by;
    Settlement ending;
    ending.ticket_id = request.ticket_id;
    ending.plan_id = detail.summary.plan_id;
    ending.outcome = preempted ? Outcome::kPreempted : Outcome::kCancelled;
    ending.result = cancelled_result(api, detail, request, ending.outcome, message);
    return ending;
}

StatusPatch cancelling_patch(const Settlement& ending, const CancelRequest& request) {
    StatusPatch patch;
    patch.ticket_id = request.ticket_id;
    patch.status = TicketStatus::kFailed;
    patch.outcome = ending.outcome;
    patch.error_message = ending.result.error_message;
    patch.result_json = write_result(ending.result);
    patch.actor = request.actor;
    patch.reason = ending.result.error_message;
    patch.unless_ended = true;
    return patch;
}

// Once more in the engine, in case it was read meanwhile: then the ending is the engine's to tell, else it is told
// here.
void tell_ending(Api& api, const CancelRequest& request, const TicketSummary& ended, Settlement ending,
                 std::shared_ptr<void> under_way) {
    api.context.engine->cancel(request, [tell = api.context.ended_in_queue, ended, ending = std::move(ending),
                                         under_way = std::move(under_way)](const Result<CancelAnswer>& in_hand) {
        if (!in_hand && tell) tell(ended, ending);
    });
}

using CancelCallback = std::function<void(Result<CancelAnswer>)>;
void cancel_round(const std::shared_ptr<Api>& api, const std::shared_ptr<net::Loop>& loop, CancelRequest request,
                  CancelCallback answer, int rounds_left);

// A ticket that is stored but not read yet: ended in the store.
void cancel_stored(const std::shared_ptr<Api>& api, const std::shared_ptr<net::Loop>& loop, CancelRequest request,
                   CancelCallback answer, int rounds_left) {
    const auto detail = api->context.store->ticket(request.ticket_id);
    if (!detail) return answer(tl::unexpected(detail.error()));
    const StoredPhase phase = detail->summary.phase;
    if (phase == StoredPhase::kRunning && rounds_left > 0)  // read and started since the engine was asked
        return cancel_round(api, loop, std::move(request), std::move(answer), rounds_left - 1);
    if (phase != StoredPhase::kPending && phase != StoredPhase::kExternal) {
        return answer(fail(ErrorCode::kNotFound, "store", "the ticket has ended: " + std::string(to_string(phase))));
    }
    const auto ending = std::make_shared<const Settlement>(cancelled_settlement(*api, *detail, request));
    auto patch = cancelling_patch(*ending, request);
    const auto& hold = api->context.ending_under_way;
    auto patched = [api, loop, request, answer = std::move(answer), rounds_left, ending,
                    under_way = hold ? hold() : nullptr](Result<TicketSummary> done) {
        const bool overtaken = !done && done.error().code == ErrorCode::kConflict && rounds_left > 0;
        if (overtaken) return cancel_round(api, loop, request, answer, rounds_left - 1);
        if (!done) return answer(tl::unexpected(std::move(done).error()));
        publish_status(*api, *done, "cancelled before it was read");
        tell_ending(*api, request, *done, *ending, under_way);
        answer(CancelAnswer{true, "the ticket had not been read yet; it is cancelled"});
    };
    api->context.store->patch_status(std::move(patch), on_loop<TicketSummary>(loop, std::move(patched)));
}

void cancel_round(const std::shared_ptr<Api>& api, const std::shared_ptr<net::Loop>& loop, CancelRequest request,
                  CancelCallback answer, int rounds_left) {
    CancelRequest asked = request;
    api->context.engine->cancel(
        std::move(asked),
        on_loop<CancelAnswer>(loop, [api, loop, request = std::move(request), answer = std::move(answer),
                                     rounds_left](Result<CancelAnswer> result) {
            const bool elsewhere =
                !result && result.error().code == ErrorCode::kNotFound && api->context.store != nullptr;
            if (elsewhere) return cancel_stored(api, loop, request, answer, rounds_left);
            answer(std::move(result));
        }));
}

}  // namespace

void cancel_anywhere(const std::shared_ptr<Api>& api, const std::shared_ptr<net::Loop>& loop, CancelRequest request,
                     std::function<void(Result<CancelAnswer>)> answer) {
    request.on_arrival = api->context.store == nullptr;
    cancel_round(api, loop, std::move(request), std::move(answer), kCancelRounds);
}

void add_task_routes(RouteTable& table) {
    table.write("POST", "/api/v1/tasks/{id}/cancel", cancel);
}

}  // namespace wa::admin
