// What happened to one ticket: explain, attempts, history; and its retry.
#include <boost/json/array.hpp>

#include "admin/records.h"
#include "admin/submit.h"
#include "core/codec/json_write.h"

namespace wa::admin {
namespace json = boost::json;
namespace {

void explain(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    const std::string id(request.param("id"));
    api->context.engine->explain(
        id, on_loop<Explanation>(loop, [api, answer, loop, id](Result<Explanation> result) {
            if (result) return answer->send(json_response(json_text(explanation_record(id, *result))));
            if (result.error().code != ErrorCode::kNotFound) return answer->send(error_response(result.error()));
            api->snapshot(loop, [api, answer, id](const EngineSnapshot* taken) {
                auto detail = api->context.store->ticket(id);
                if (!detail) {
                    if (detail.error().code == ErrorCode::kNotFound) detail.error().message = "Ticket not found";
                    return answer->send(error_response(detail.error()));
                }
                answer->send(json_response(json_text(explanation_record(id, explain_stored(*detail, taken)))));
            });
        }));
}

template <class Record>
std::string rows_json(std::string_view ticket_id, std::string_view name, const std::vector<Record>& records,
                      json::object (*record)(const Record&)) {
    json::array rows;
    for (const Record& each : records)
        rows.push_back(record(each));
    json::object out;
    out["ticket_id"] = json::string(ticket_id);
    out[name] = std::move(rows);
    return json_text(out);
}

void attempts(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto found = api->context.store->attempts(request.param("id"));
    if (!found) return responder.send(error_response(found.error()));
    responder.send(json_response(rows_json(request.param("id"), "attempts", *found, &attempt_record)));
}

void history(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto found = api->context.store->history(request.param("id"));
    if (!found) return responder.send(error_response(found.error()));
    responder.send(json_response(rows_json(request.param("id"), "history", *found, &history_record)));
}

void retry(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    if (auto refusal = refusal_while_draining(*api)) return responder.send(std::move(*refusal));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    const std::string id(request.param("id"));
    api->context.store->retry({id}, request.peer == net::Peer::kUnix ? "cli" : "api",
                              on_loop<RetryAnswer>(loop, [answer, id](Result<RetryAnswer> result) {
                                  if (!result) return answer->send(error_response(result.error()));
                                  json::array ids;
                                  for (const std::string& each : result->ticket_ids)
                                      ids.emplace_back(json::string(each));
                                  json::object out;
                                  out["ticket_id"] = json::string(id);
                                  out["ticket_ids"] = std::move(ids);
                                  answer->send(json_response(json_text(out), 202));
                              }));
}

}  // namespace

void add_ticket_history_routes(RouteTable& table) {
    table.get("/api/v1/tickets/{id}/explain", explain);
    table.get("/api/v1/tickets/{id}/attempts", attempts);
    table.get("/api/v1/tickets/{id}/history", history);
    table.write("POST", "/api/v1/tickets/{id}/retry", retry);
}

}  // namespace wa::admin
