// The Execution Ticket Service's contract (contract/services.md 2), served from the embedded store.
#include <boost/json/array.hpp>

#include "admin/records.h"
#include "admin/submit.h"
#include "admin/ticket_token.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"
#include "core/codec/ticket_json.h"

namespace wa::admin {
namespace json = boost::json;
namespace {

constexpr int kDrainRetrySeconds = 30;
constexpr std::int64_t kCompensationTimeout = 120'000;
constexpr std::size_t kOriginalPrefix = 8;

net::Response not_found() {
    return net::problem(404, "Ticket not found");
}

// The stored ticket, or the answer that says why not.
Result<TicketDetail> stored(const Api& api, std::string_view ticket_id) {
    auto detail = api.context.store->ticket(ticket_id);
    if (!detail && detail.error().code == ErrorCode::kNotFound) detail.error().message = "Ticket not found";
    return detail;
}

void send_record(const std::shared_ptr<Api>& api, const Answer& answer, const std::shared_ptr<net::Loop>& loop,
                 std::string ticket_id, int status) {
    api->snapshot(loop, [api, answer, ticket_id = std::move(ticket_id), status](const EngineSnapshot* taken) {
        const auto detail = stored(*api, ticket_id);
        if (!detail) return answer->send(error_response(detail.error()));
        const LiveTasks live = live_tasks(taken);
        const auto found = live.find(ticket_id);
        const RunningTask* task = found == live.end() ? nullptr : found->second;
        answer->send(json_response(json_text(ticket_detail(*detail, task, api->context.facts)), status));
    });
}

// ---- POST /api/v1/tickets

void answer_submitted(const std::shared_ptr<Api>& api, const Answer& answer, const std::shared_ptr<net::Loop>& loop,
                      const Ticket& ticket, const Result<SubmitAnswer>& result) {
    if (!result) return answer->send(error_response(result.error()));
    const SubmittedTicket& submitted = result->tickets.front();
    if (submitted.disposition == Disposition::kSame) return send_record(api, answer, loop, submitted.ticket_id, 200);
    TicketSummary summary;
    summary.queue_seq = submitted.queue_seq;
    summary.ticket_id = ticket.ticket_id;
    summary.plan_id = ticket.plan_id;
    summary.task_id = ticket.task_id;
    summary.task_type = ticket.task_type;
    summary.priority = ticket.priority;
    summary.phase = submitted.phase;
    summary.created_at = ticket.created_at;
    summary.submitted_at = api->now();
    summary.payload = write_ticket(ticket);
    net::Response response = json_response(json_text(ticket_record(summary, nullptr, api->context.facts)), 201);
    response.headers.emplace_back("Location", "/api/v1/tickets/" + ticket.ticket_id);
    answer->send(std::move(response));
}

void submit(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    if (auto refusal = refusal_while_draining(*api)) return responder.send(std::move(*refusal));
    TicketLimits limits;
    limits.require_id = false;
    auto parsed = parse_ticket(request.body, limits);
    if (!parsed) {
        std::vector<Error> errors = check_ticket(request.body, limits);
        if (errors.empty()) errors.push_back(parsed.error());
        return responder.send(errors_response(errors));
    }
    auto ticket = std::make_shared<Ticket>(std::move(*parsed));
    if (const auto good = check_acceptable(*api, *ticket); !good) return responder.send(error_response(good.error()));
    if (ticket->ticket_id.empty()) ticket->ticket_id = uuid4(*api->context.random);
    NewTicket entry = new_ticket(*ticket);
    if (ticket->created_at == 0) {
        ticket->created_at = api->now();
        entry.created_at = ticket->created_at;
        entry.payload = write_ticket(*ticket);
    }
    SubmitRequest wanted;
    wanted.plan_id = ticket->plan_id;
    wanted.plan_name = ticket->plan_id;
    wanted.intent_id = ticket->intent_id;
    wanted.actor = request.peer == net::Peer::kUnix ? "cli" : "api";
    wanted.tickets.push_back(std::move(entry));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.store->submit(std::move(wanted),
                               on_loop<SubmitAnswer>(loop, [api, answer, loop, ticket](Result<SubmitAnswer> result) {
                                   answer_submitted(api, answer, loop, *ticket, result);
                               }));
}

// ---- GET /api/v1/tickets

Result<TicketQuery> read_query(const net::Request& request) {
    TicketQuery query;
    WA_TRY(const Page page, query_page(request));
    query.offset = page.offset;
    query.limit = page.limit;
    query.plan_id = query_text(request, "plan_id");
    query.text = query_text(request, "text");
    if (const std::string word = query_text(request, "status"); !word.empty()) {
        query.status = parse_ticket_status(word);
        if (!query.status) return bad_query("status", "there is no status \"" + clip(word) + "\"");
    }
    if (const std::string word = query_text(request, "phase"); !word.empty()) {
        query.phase = parse_stored_phase(word);
        if (!query.phase) return bad_query("phase", "there is no stored phase \"" + clip(word) + "\"");
    }
    if (const std::string word = query_text(request, "task_type"); !word.empty()) {
        query.task_type = parse_task_type(word);
        if (!query.task_type) return bad_query("task_type", "there is no task type \"" + clip(word) + "\"");
    }
    // "summary" leaves the tickets' own text out: for tools that only want to know where things stand.
    const std::string view = query_text(request, "view");
    if (!view.empty() && view != "full" && view != "summary") return bad_query("view", "must be full or summary");
    query.with_payload = view != "summary";
    return query;
}

void list(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto query = read_query(request);
    if (!query) return responder.send(error_response(query.error()));
    const auto loop = responder.loop();
    api->snapshot(loop, [api, query = *query, answer = share(std::move(responder))](const EngineSnapshot* taken) {
        const auto page = api->context.store->tickets(query);
        if (!page) return answer->send(error_response(page.error()));
        const LiveTasks live = live_tasks(taken);
        json::array rows;
        for (const TicketSummary& summary : page->tickets) {
            const auto found = live.find(summary.ticket_id);
            rows.push_back(ticket_record(summary, found == live.end() ? nullptr : found->second, api->context.facts));
        }
        answer->send(json_response(
            list_json("tickets", std::move(rows), page->total, query.offset, query.limit, page->complete)));
    });
}

void show(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto loop = responder.loop();
    send_record(api, share(std::move(responder)), loop, std::string(request.param("id")), 200);
}

// ---- PATCH /api/v1/tickets/{id}/status

Result<StatusPatch> read_patch(const net::Request& request) {
    WA_TRY(const json::object body, body_object(request));
    StatusPatch patch;
    patch.ticket_id = std::string(request.param("id"));
    const auto status = parse_ticket_status(text_or(body, "status"));
    if (!status) return invalid("status", "must be PENDING, RUNNING, COMPLETED, FAILED, COMPENSATING or COMPENSATED");
    patch.status = *status;
    if (const auto* error = body.if_contains("error_message"); error != nullptr && !error->is_null()) {
        if (!error->is_string()) return invalid("error_message", "must be text or null");
        patch.error_message = text_or(body, "error_message");
    }
    if (const auto* took = body.if_contains("actual_duration_ms"); took != nullptr && !took->is_null()) {
        const auto millis = whole_number(*took);
        if (!millis || *millis < 0)
            return invalid("actual_duration_ms", "must be a whole number of milliseconds or null");
        patch.actual_duration_ms = millis;
    }
    return patch;
}

// A copy of it that waits in the engine has nothing left to do.
void tell_engine(const Api& api, const TicketSummary& patched) {
    if (!is_ended(patched.phase)) return;
    if (patched.status() == TicketStatus::kCompleted)
        return api.context.engine->completed_outside(patched.ticket_id, api.now());
    CancelRequest drop;
    drop.ticket_id = patched.ticket_id;
    drop.reason = "user_request";
    drop.on_arrival = false;
    api.context.engine->cancel(std::move(drop), [](Result<CancelAnswer>) {});
}

void patch_status(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    auto patch = read_patch(request);
    if (!patch) return responder.send(error_response(patch.error()));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.store->patch_status(std::move(*patch),
                                     on_loop<TicketSummary>(loop, [api, answer, loop](Result<TicketSummary> result) {
                                         if (!result) {
                                             if (result.error().code == ErrorCode::kNotFound)
                                                 return answer->send(not_found());
                                             return answer->send(error_response(result.error()));
                                         }
                                         publish_status(*api, *result, "set from outside");
                                         tell_engine(*api, *result);
                                         send_record(api, answer, loop, result->ticket_id, 200);
                                     }));
}

// ---- GET /api/v1/tickets/{id}/token

void token(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto detail = stored(*api, request.param("id"));
    if (!detail) return responder.send(error_response(detail.error()));
    const TicketStatus status = detail->summary.status();
    if (status != TicketStatus::kPending && status != TicketStatus::kRunning) {
        return responder.send(
            net::problem(403, "a ticket that is " + std::string(to_string(status)) + " gets no token"));
    }
    const auto ticket = parse_ticket(detail->summary.payload);
    if (!ticket) return responder.send(error_response(ticket.error()));
    const std::int64_t now = api->now() / 1000;
    json::object out;
    out["access_token"] = json::string(make_ticket_token(*ticket, api->token_key, uuid4(*api->context.random), now));
    out["token_type"] = "Bearer";
    out["expires_in"] = kTokenSeconds;
    out["expires_at"] = now + kTokenSeconds;
    out["ticket_id"] = json::string(ticket->ticket_id);
    json::array scopes;
    for (const std::string& scope : token_scopes(*ticket))
        scopes.emplace_back(json::string(scope));
    out["scopes"] = std::move(scopes);
    responder.send(json_response(json_text(out)));
}

// ---- POST /api/v1/tickets/compensation

struct CompensationWish {
    std::string original;
    std::string reason;
    std::string action;
    json::object parameters;
};

Result<CompensationWish> read_wish(const net::Request& request) {
    WA_TRY(const json::object body, body_object(request));
    CompensationWish wish;
    wish.original = text_or(body, "original_ticket_id");
    wish.reason = text_or(body, "reason");
    wish.action = text_or(body, "compensation_action");
    if (wish.original.empty()) return invalid("original_ticket_id", "is needed");
    if (wish.reason.empty()) return invalid("reason", "is needed");
    if (wish.action.empty()) return invalid("compensation_action", "is needed");
    if (const auto* parameters = body.if_contains("parameters"); parameters != nullptr && !parameters->is_null()) {
        if (!parameters->is_object()) return invalid("parameters", "must be an object");
        wish.parameters = parameters->get_object();
    }
    return wish;
}

Ticket compensation_ticket(Api& api, const Ticket& original, const CompensationWish& wish) {
    Ticket ticket;
    ticket.ticket_id = uuid4(*api.context.random);
    ticket.plan_id = original.plan_id;
    ticket.intent_id = original.intent_id;
    ticket.decision_id = original.decision_id;
    ticket.correlation_id = original.correlation_id;
    ticket.task_id = "compensate-" + original.ticket_id.substr(0, kOriginalPrefix);
    ticket.task_type = TaskType::kCompensate;
    ticket.description = "undo " + original.task_id + ": " + wish.reason;
    ticket.priority = original.priority;
    ticket.risk_band = original.risk_band;
    ticket.sla.timeout_ms = kCompensationTimeout;
    ticket.created_at = api.now();
    ticket.parameters["action"] = json::string(wish.action);
    ticket.parameters["reason"] = json::string(wish.reason);
    ticket.parameters["original_ticket_id"] = json::string(original.ticket_id);
    ticket.parameters["original_task_type"] = json::string(std::string(to_string(original.task_type)));
    for (const auto& [key, value] : wish.parameters)
        ticket.parameters[key] = value;
    ticket.metadata["compensation_reason"] = wish.reason;
    ticket.metadata["original_task_type"] = std::string(to_string(original.task_type));
    ticket.metadata["original_status"] = "FAILED";
    return ticket;
}

void compensate(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    if (auto refusal = refusal_while_draining(*api)) return responder.send(std::move(*refusal));
    const auto wish = read_wish(request);
    if (!wish) return responder.send(error_response(wish.error()));
    const auto detail = stored(*api, wish->original);
    if (!detail) return responder.send(error_response(detail.error()));
    const TicketStatus status = detail->summary.status();
    if (status != TicketStatus::kFailed && status != TicketStatus::kRunning) {
        return responder.send(net::problem(
            400, "only a FAILED or RUNNING ticket is compensated; this one is " + std::string(to_string(status))));
    }
    if (!api->serves(TaskType::kCompensate)) {
        return responder.send(net::problem(422, "COMPENSATE is not served by this worker, so nothing was done",
                                           {{"compensation_action", "no executor of this worker can undo tickets"}}));
    }
    const auto original = parse_ticket(detail->summary.payload);
    if (!original) return responder.send(error_response(original.error()));
    const Ticket ticket = compensation_ticket(*api, *original, *wish);
    SubmitRequest wanted;
    wanted.plan_id = ticket.plan_id;
    wanted.intent_id = ticket.intent_id;
    wanted.compensates = original->ticket_id;
    wanted.tickets.push_back(new_ticket(ticket));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.store->submit(
        std::move(wanted),
        on_loop<SubmitAnswer>(loop, [answer, wish = *wish, id = ticket.ticket_id](Result<SubmitAnswer> result) {
            if (!result) return answer->send(error_response(result.error()));
            std::string out;
            JsonObjectWriter writer(out);
            writer.text("ticket_id", id);
            writer.text("original_ticket_id", wish.original);
            writer.text("status", "PENDING");
            writer.text("action", wish.action);
            writer.text("reason", wish.reason);
            writer.close();
            answer->send(json_response(std::move(out)));
        }));
}

}  // namespace

NewTicket new_ticket(const Ticket& ticket) {
    return new_ticket(ticket, ticket);
}

NewTicket new_ticket(const Ticket& ticket, Ticket sent) {
    NewTicket entry;
    entry.ticket_id = ticket.ticket_id;
    entry.task_id = ticket.task_id;
    entry.correlation_id = ticket.correlation_id;
    entry.task_type = ticket.task_type;
    entry.priority = ticket.priority;
    entry.created_at = ticket.created_at;
    entry.dependencies = ticket.dependencies;
    entry.payload = write_ticket(ticket);
    sent.created_at = 0;
    entry.identity = sha256_hex(write_ticket(sent));
    return entry;
}

Result<void> check_acceptable(const Api& api, const Ticket& ticket) {
    if (!api.serves(ticket.task_type)) {
        Error error = make_error(ErrorCode::kUnsupported, Retry::kNever, Fault::kInput, "input",
                                 std::string(to_string(ticket.task_type)) + " tickets are not served by this worker");
        error.field = "task_type";
        return tl::unexpected(std::move(error));
    }
    if (ticket.status != TicketStatus::kPending) {
        return invalid("status", "a new ticket is PENDING, not " + std::string(to_string(ticket.status)));
    }
    if (api.context.check_ticket) return api.context.check_ticket(ticket);
    return {};
}

std::optional<net::Response> refusal_while_draining(const Api& api) {
    if (!api.draining()) return std::nullopt;
    return unavailable("this worker is draining and takes no new tickets", kDrainRetrySeconds);
}

void add_ticket_routes(RouteTable& table) {
    table.write("POST", "/api/v1/tickets", submit, kMaxTicketBody);
    table.get("/api/v1/tickets", list);
    table.get("/api/v1/tickets/{id}", show);
    table.write("PATCH", "/api/v1/tickets/{id}/status", patch_status);
    table.get("/api/v1/tickets/{id}/token", token);
    table.write("POST", "/api/v1/tickets/compensation", compensate);
}

}  // namespace wa::admin
