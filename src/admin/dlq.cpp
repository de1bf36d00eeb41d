// Dead letters: look, send back, discard.
#include <boost/json/array.hpp>

#include "admin/records.h"
#include "admin/submit.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::admin {
namespace json = boost::json;
namespace {

constexpr std::size_t kMaxReasonBytes = 500;

std::string_view actor_of(const net::Request& request) {
    return request.peer == net::Peer::kUnix ? "cli" : "api";
}

void list(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto page = query_page(request);
    if (!page) return responder.send(error_response(page.error()));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.dead_letters->list(
        page->offset, page->limit, on_loop<DeadLetterList>(loop, [answer, page = *page](Result<DeadLetterList> list) {
            if (!list) return answer->send(error_response(list.error()));
            json::array rows;
            for (const DeadLetterEntry& letter : list->letters)
                rows.push_back(dead_letter_record(letter));
            answer->send(
                json_response(list_json("dlq", std::move(rows), list->total, page.offset, page.limit, list->complete)));
        }));
}

void show(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.dead_letters->show(std::string(request.param("key")),
                                    on_loop<DeadLetterEntry>(loop, [answer](Result<DeadLetterEntry> letter) {
                                        if (!letter) return answer->send(error_response(letter.error()));
                                        answer->send(json_response(json_text(dead_letter_record(*letter))));
                                    }));
}

void replay(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    if (auto refusal = refusal_while_draining(*api)) return responder.send(std::move(*refusal));
    std::string key(request.param("key"));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.dead_letters->replay(key, std::string(actor_of(request)),
                                      on_loop<std::string>(loop, [answer, key](Result<std::string> ticket_id) {
                                          if (!ticket_id) return answer->send(error_response(ticket_id.error()));
                                          std::string out;
                                          JsonObjectWriter writer(out);
                                          writer.text("key", key);
                                          writer.text("ticket_id", *ticket_id);
                                          writer.close();
                                          answer->send(json_response(std::move(out), 202));
                                      }));
}

void discard(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    std::string reason = query_text(request, "reason");
    if (reason.size() > kMaxReasonBytes)
        return responder.send(error_response(bad_query("reason", "is longer than 500 bytes").value()));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.dead_letters->discard(std::string(request.param("key")), std::move(reason),
                                       std::string(actor_of(request)),
                                       on_loop<void>(loop, [answer](Result<void> result) {
                                           if (!result) return answer->send(error_response(result.error()));
                                           net::Response done;
                                           done.status = 204;
                                           answer->send(std::move(done));
                                       }));
}

}  // namespace

void add_dead_letter_routes(RouteTable& table) {
    table.get("/api/v1/dlq", list);
    table.get("/api/v1/dlq/{key}", show);
    table.write("POST", "/api/v1/dlq/{key}/replay", replay);
    table.write("DELETE", "/api/v1/dlq/{key}", discard);
}

}  // namespace wa::admin
