// Plans: submit all or nothing, look, cancel, retry.
#include <algorithm>
#include <boost/json/array.hpp>
#include <unordered_map>

#include "admin/plan_view.h"
#include "admin/records.h"
#include "admin/submit.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"
#include "plan_file/plan_file.h"

namespace wa::admin {
namespace json = boost::json;
namespace {

constexpr std::size_t kNodesShown = 10'000;
constexpr std::size_t kMaxNodesShown = 100'000;
constexpr Duration kCancelPatience = std::chrono::milliseconds(1800);

// ---- POST /api/v1/plans

TextFormat format_of_request(const net::Request& request) {
    const std::string_view type = request.header("content-type");
    if (type.find("yaml") != std::string_view::npos) return TextFormat::kYaml;
    return type.find("json") != std::string_view::npos ? TextFormat::kJson : TextFormat::kAuto;
}

struct PreparedPlan {
    SubmitRequest request;
    std::string body;  // of the answer
};

std::string submitted_json(const Plan& plan) {
    std::string out;
    JsonObjectWriter writer(out);
    writer.text("plan_id", plan.plan_id);
    writer.text("name", plan.name);
    std::string& names = writer.key("tickets");
    JsonObjectWriter tickets(names);
    for (const PlanTicket& each : plan.tickets)
        tickets.text(each.name, each.ticket.ticket_id);
    tickets.close();
    if (!plan.compensations.empty()) {
        JsonObjectWriter compensations(writer.key("compensations"));
        for (const PlanCompensation& each : plan.compensations)
            compensations.text(each.name, each.ticket_id);
        compensations.close();
    }
    writer.close();
    return out;
}

Result<void> check_external(const Api& api, const Plan& plan) {
    if (plan.external_dependencies.empty()) return {};
    WA_TRY(const auto statuses, api.context.store->statuses(plan.external_dependencies));
    for (const DependencyStatus& status : statuses) {
        if (status.state != DependencyState::kUnknown) continue;
        return invalid("dependencies",
                       "ticket " + clip(status.ticket_id) + " is neither in this plan nor in the store");
    }
    return {};
}

// What to send to the store, or the answer that refuses.
std::variant<PreparedPlan, net::Response> prepare(const Api& api, std::string_view text, TextFormat format,
                                                  std::string actor) {
    const PlanContext context{*api.context.random, api.now(), {}, "plan"};
    PlanReading reading = read_plan_text(text, format, context);
    if (!reading.plan) return problems_response(reading.problems);
    const Plan& plan = *reading.plan;
    std::vector<Error> errors;
    for (const PlanTicket& each : plan.tickets) {
        auto good = check_acceptable(api, each.ticket);
        if (good) continue;
        Error error = std::move(good).error();
        error.field = "tickets." + each.name + (error.field.empty() ? "" : "." + error.field);
        errors.push_back(std::move(error));
        if (errors.size() >= kMaxProblems) break;
    }
    if (!errors.empty()) return errors_response(errors);
    if (const auto known = check_external(api, plan); !known) return error_response(known.error());
    PreparedPlan prepared;
    prepared.request.plan_id = plan.plan_id;
    prepared.request.plan_name = plan.name;
    prepared.request.actor = std::move(actor);
    if (!plan.tickets.empty()) prepared.request.intent_id = plan.tickets.front().ticket.intent_id;
    prepared.request.tickets.reserve(plan.tickets.size());
    for (const PlanTicket& each : plan.tickets) {
        Ticket sent = each.ticket;
        if (each.made_up_correlation) sent.correlation_id.clear();
        if (each.relative_deadline) sent.sla.deadline.reset();
        prepared.request.tickets.push_back(new_ticket(each.ticket, std::move(sent)));
    }
    prepared.body = submitted_json(plan);
    return prepared;
}

void submit(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    if (auto refusal = refusal_while_draining(*api)) return responder.send(std::move(*refusal));
    const TextFormat format = format_of_request(request);
    const std::string actor = request.peer == net::Peer::kUnix ? "cli" : "api";
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    const auto text = std::make_shared<const std::string>(std::move(request.body));
    const auto work = [api, answer, loop, format, actor, text] {
        auto prepared = prepare(*api, *text, format, actor);
        if (auto* refusal = std::get_if<net::Response>(&prepared)) return answer->send(std::move(*refusal));
        auto& plan = std::get<PreparedPlan>(prepared);
        api->context.store->submit(
            std::move(plan.request),
            on_loop<SubmitAnswer>(loop, [answer, body = std::move(plan.body)](Result<SubmitAnswer> result) {
                if (!result) return answer->send(error_response(result.error()));
                const bool known = std::ranges::all_of(result->tickets, [](const SubmittedTicket& ticket) {
                    return ticket.disposition == Disposition::kSame;
                });
                answer->send(json_response(body, known && !result->tickets.empty() ? 200 : 201));
            }));
    };
    if (text->size() <= kInlineBody) return work();
    if (!api->background->run(work))
        answer->send(unavailable("too many large plans at once; try again in a moment", 1));
}

// ---- GET

void list(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto page = query_page(request);
    if (!page) return responder.send(error_response(page.error()));
    const auto plans = api->context.store->plans(page->offset, page->limit);
    if (!plans) return responder.send(error_response(plans.error()));
    json::array rows;
    for (const PlanSummary& plan : plans->plans)
        rows.push_back(plan_record(plan));
    responder.send(json_response(list_json("plans", std::move(rows), plans->total, page->offset, page->limit)));
}

std::int64_t weight_of(const TicketSummary& ticket, EpochMillis now) {
    if (ticket.actual_duration_ms > 0) return ticket.actual_duration_ms;
    if (ticket.started_at > 0 && ticket.ended_at == 0) return now - ticket.started_at;
    return 1;
}

std::string graph_json(const PlanGraph& graph, const LiveTasks& live, EpochMillis now, const WorkerFacts& worker) {
    std::unordered_map<std::string_view, std::size_t> index;
    for (std::size_t i = 0; i < graph.nodes.size(); ++i)
        index.emplace(graph.nodes[i].ticket.ticket_id, i);
    std::vector<PlanShapeNode> shape_nodes(graph.nodes.size());
    json::array edges;
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
        shape_nodes[i].weight_ms = weight_of(graph.nodes[i].ticket, now);
        for (const std::string& need : graph.nodes[i].dependencies) {
            json::object edge;
            edge["from"] = json::string(need);
            edge["to"] = json::string(graph.nodes[i].ticket.ticket_id);
            edges.push_back(std::move(edge));
            if (const auto found = index.find(need); found != index.end())
                shape_nodes[i].needs.push_back(found->second);
        }
    }
    const PlanShape shape = shape_of(shape_nodes);
    json::array nodes;
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
        const PlanNode& node = graph.nodes[i];
        const auto found = live.find(node.ticket.ticket_id);
        json::object out = ticket_line(node.ticket, found == live.end() ? nullptr : found->second, worker);
        json::array needs;
        for (const std::string& need : node.dependencies)
            needs.emplace_back(json::string(need));
        out["dependencies"] = std::move(needs);
        out["level"] = shape.levels[i];
        nodes.push_back(std::move(out));
    }
    json::array path;
    for (const std::size_t step : shape.critical_path)
        path.emplace_back(json::string(graph.nodes[step].ticket.ticket_id));
    json::object out = plan_record(graph.plan);
    out["complete"] = graph.complete;
    out["nodes"] = std::move(nodes);
    out["edges"] = std::move(edges);
    out["critical_path"] = std::move(path);
    return json_text(out);
}

void show(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto wanted = query_number(request, "nodes", 0, kMaxNodesShown);
    if (!wanted) return responder.send(error_response(wanted.error()));
    const std::size_t limit = *wanted ? static_cast<std::size_t>(**wanted) : kNodesShown;
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    const std::string id(request.param("id"));
    api->snapshot(loop, [api, answer, id, limit](const EngineSnapshot* taken) {
        const auto copy = taken == nullptr ? nullptr : std::make_shared<const EngineSnapshot>(*taken);
        const bool queued = api->background->run([api, answer, id, limit, copy] {
            const auto graph = api->context.store->plan_graph(id, limit);
            if (!graph) return answer->send(error_response(graph.error()));
            answer->send(json_response(graph_json(*graph, live_tasks(copy.get()), api->now(), api->context.facts)));
        });
        if (!queued) answer->send(unavailable("too many long requests at once", 1));
    });
}

// ---- cancel and retry

json::array id_array(const std::vector<std::string>& ids) {
    json::array out;
    for (const std::string& id : ids)
        out.emplace_back(json::string(id));
    return out;
}

std::string ids_json(std::string_view plan_id, const std::vector<std::string>& ids) {
    json::object out;
    out["plan_id"] = json::string(plan_id);
    out["ticket_ids"] = id_array(ids);
    return json_text(out);
}

// One cancellation of many tickets: answered when each has been answered, or when the caller has waited long enough.
struct PlanCancel {
    std::string plan_id;
    Answer answer;
    std::size_t open = 0;
    std::vector<std::string> ids;
    std::optional<Error> refused;  // the first that is not "ended meanwhile"
    std::unique_ptr<net::Loop::Timer> patience;

    void reply() {
        patience.reset();
        if (ids.empty() && refused) return answer->send(error_response(*refused));
        answer->send(json_response(ids_json(plan_id, ids), 202));
    }
};

void cancel(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto body = body_object(request, true);
    if (!body) return responder.send(error_response(body.error()));
    const std::string id(request.param("id"));
    if (const auto plan = api->context.store->plan(id); !plan) return responder.send(error_response(plan.error()));
    const auto open = api->context.store->open_tickets(id);
    if (!open) return responder.send(error_response(open.error()));
    const auto loop = responder.loop();
    const auto work = std::make_shared<PlanCancel>();
    work->plan_id = id;
    work->answer = share(std::move(responder));
    work->open = open->size();
    if (open->empty()) return work->reply();
    work->patience = loop->after(kCancelPatience, [weak = std::weak_ptr(work)] {
        const auto late = weak.lock();
        if (late && late->ids.empty() && !late->refused)
            late->refused = make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, "api",
                                       "the engine has not answered yet; the cancellation may still take effect");
        if (late) late->reply();
    });
    const std::string reason = text_or(*body, "reason", "user_request");
    // The last ones first: no ticket starts because its predecessor was taken out of the way.
    for (auto ticket = open->rbegin(); ticket != open->rend(); ++ticket) {
        CancelRequest wanted;
        wanted.ticket_id = *ticket;
        wanted.reason = reason;
        cancel_anywhere(api, loop, std::move(wanted), [work, ticket_id = *ticket](Result<CancelAnswer> result) {
            if (result && result->accepted) work->ids.push_back(ticket_id);
            if (!result && result.error().code != ErrorCode::kNotFound && !work->refused)
                work->refused = result.error();
            if (--work->open == 0) work->reply();
        });
    }
}

void retry(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    if (auto refusal = refusal_while_draining(*api)) return responder.send(std::move(*refusal));
    const auto body = body_object(request, true);
    if (!body) return responder.send(error_response(body.error()));
    const std::string only = text_or(*body, "only", body->contains("only") ? "" : "failed");
    if (only != "failed" && only != "all")
        return responder.send(error_response(invalid("only", "must be \"failed\" or \"all\"").value()));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    const std::string id(request.param("id"));
    api->context.store->retry_plan(id, only == "all" ? PlanRetry::kAll : PlanRetry::kFailed,
                                   request.peer == net::Peer::kUnix ? "cli" : "api",
                                   on_loop<RetryAnswer>(loop, [answer, id](Result<RetryAnswer> result) {
                                       if (!result) return answer->send(error_response(result.error()));
                                       answer->send(json_response(ids_json(id, result->ticket_ids), 202));
                                   }));
}

}  // namespace

void add_plan_routes(RouteTable& table) {
    table.write("POST", "/api/v1/plans", submit, kMaxPlanBody,
                {"application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"});
    table.get("/api/v1/plans", list);
    table.get("/api/v1/plans/{id}", show);
    table.write("POST", "/api/v1/plans/{id}/cancel", cancel);
    table.write("POST", "/api/v1/plans/{id}/retry", retry);
}

}  // namespace wa::admin
