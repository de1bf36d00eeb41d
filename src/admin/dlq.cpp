// Dead letters: look, send back, discard.
#include <boost/json/array.hpp>
#include <charconv>

#include "admin/records.h"
#include "admin/submit.h"
#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::admin {
namespace json = boost::json;
namespace {

constexpr std::size_t kMaxReasonBytes = 500;

Result<std::int64_t> key_of(const net::Request& request) {
    const std::string_view text = request.param("key");
    std::int64_t key = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), key);
    if (error != std::errc{} || end != text.data() + text.size())
        return fail(ErrorCode::kNotFound, "api", "there is no dead letter \"" + clip(text) + "\"");
    return key;
}

std::string_view actor_of(const net::Request& request) {
    return request.peer == net::Peer::kUnix ? "cli" : "api";
}

void list(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto page = query_page(request);
    if (!page) return responder.send(error_response(page.error()));
    const auto letters = api->context.store->dead_letters(page->offset, page->limit);
    if (!letters) return responder.send(error_response(letters.error()));
    json::array rows;
    for (const DeadLetterRecord& letter : letters->letters)
        rows.push_back(dead_letter_record(letter));
    responder.send(json_response(list_json("dlq", std::move(rows), letters->total, page->offset, page->limit)));
}

void show(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto key = key_of(request);
    if (!key) return responder.send(error_response(key.error()));
    const auto letter = api->context.store->dead_letter(*key);
    if (!letter) return responder.send(error_response(letter.error()));
    responder.send(json_response(json_text(dead_letter_record(*letter))));
}

void replay(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    if (auto refusal = refusal_while_draining(*api)) return responder.send(std::move(*refusal));
    const auto key = key_of(request);
    if (!key) return responder.send(error_response(key.error()));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.store->replay_dead_letter(
        *key, std::string(actor_of(request)),
        on_loop<SubmittedTicket>(loop, [answer, key = *key](Result<SubmittedTicket> result) {
            if (!result) return answer->send(error_response(result.error()));
            std::string out;
            JsonObjectWriter writer(out);
            writer.text("key", std::to_string(key));
            writer.text("ticket_id", result->ticket_id);
            writer.close();
            answer->send(json_response(std::move(out), 202));
        }));
}

void discard(const std::shared_ptr<Api>& api, net::Request request, net::Responder responder) {
    const auto key = key_of(request);
    if (!key) return responder.send(error_response(key.error()));
    std::string reason = query_text(request, "reason");
    if (reason.size() > kMaxReasonBytes)
        return responder.send(error_response(bad_query("reason", "is longer than 500 bytes").value()));
    const auto loop = responder.loop();
    const auto answer = share(std::move(responder));
    api->context.store->discard_dead_letter(*key, std::move(reason), std::string(actor_of(request)),
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
