// For tests only: an Execution Ticket Service on the test's own loop, which can misbehave in the ways the real one and
// what stands in front of it do.
#pragma once

#include <boost/json/parse.hpp>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/codec/json_write.h"
#include "http_client/testing/raw_server.h"

namespace wa::ticket_service::testing {

using http::testing::RawServer;
using http::testing::Reaction;
using http::testing::reply;
using http::testing::Seen;

struct StoredTicket {
    std::string plan_id;
    std::string status = "PENDING";
    std::string error_message;
    std::vector<std::string> history;  // statuses, as they were set
};

class StandIn {
public:
    explicit StandIn(boost::asio::io_context& loop, std::uint16_t port = 0)
        : server_(loop, [this](const Seen& seen) { return serve(seen); }, port) {}

    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }
    [[nodiscard]] std::uint16_t port() const { return server_.port(); }
    [[nodiscard]] RawServer& server() { return server_; }
    void stop() { server_.stop(); }
    // How often a target that begins with `prefix` was asked for.
    [[nodiscard]] std::size_t asked(std::string_view method, std::string_view prefix = "") const {
        std::size_t count = 0;
        for (const Seen& seen : server_.seen())
            count += seen.method == method && seen.target.starts_with(prefix) ? 1U : 0U;
        return count;
    }

    std::map<std::string, StoredTicket> tickets;
    bool creates = true;                                    // a PATCH to an unknown ticket makes it
    std::deque<Reaction> next;                              // answers for the next requests, whatever they are
    std::function<bool(const Seen&, Reaction&)> misbehave;  // true: the reaction is the answer
    std::int64_t token_expires_at = 0;

private:
    static std::string json_of(const std::string& id, const StoredTicket& ticket) {
        std::string out;
        JsonObjectWriter writer(out);
        writer.text("ticket_id", id);
        writer.text("plan_id", ticket.plan_id);
        writer.text("status", ticket.status);
        writer.text_or_null("error_message", ticket.error_message);
        writer.null("predictions");
        writer.close();
        return out;
    }
    Reaction serve(const Seen& seen) {
        if (!next.empty()) {
            Reaction reaction = next.front();
            next.pop_front();
            return reaction;
        }
        if (Reaction reaction; misbehave && misbehave(seen, reaction)) return reaction;
        static const std::string kRoot = "/api/v1/tickets/";
        if (!seen.target.starts_with(kRoot)) return reply(404, R"({"detail":"Not Found"})");
        const std::string rest = seen.target.substr(kRoot.size());
        if (rest.starts_with("?plan_id=")) return list(rest.substr(9, rest.find('&') - 9));
        const std::string id = rest.substr(0, rest.find('/'));
        const std::string what = rest.size() > id.size() ? rest.substr(id.size()) : "";
        auto found = tickets.find(id);
        if (found == tickets.end() && seen.method == "PATCH" && creates) found = tickets.try_emplace(id).first;
        if (found == tickets.end()) return reply(404, R"({"detail":"Ticket not found"})");
        if (seen.method == "GET" && what.empty()) return reply(200, json_of(id, found->second));
        if (seen.method == "GET" && what == "/token")
            return reply(200, R"({"access_token":"jwt-of-)" + id + R"(","token_type":"Bearer","expires_at":)" +
                                  std::to_string(token_expires_at) + "}");
        if (seen.method == "PATCH" && what == "/status") return patch(id, found->second, seen.body);
        return reply(405, R"({"detail":"Method Not Allowed"})");
    }
    static Reaction patch(const std::string& id, StoredTicket& ticket, const std::string& body) {
        const auto fields = boost::json::parse(body).as_object();
        ticket.status = fields.at("status").as_string().c_str();
        ticket.error_message =
            fields.at("error_message").is_null() ? "" : fields.at("error_message").as_string().c_str();
        ticket.history.push_back(ticket.status);
        return reply(200, json_of(id, ticket));
    }
    Reaction list(const std::string& plan_id) const {
        std::string body = R"({"tickets":[)";
        std::size_t count = 0;
        for (const auto& [id, ticket] : tickets) {
            if (ticket.plan_id == plan_id) body += (count++ == 0 ? "" : ",") + json_of(id, ticket);
        }
        return reply(200, body + R"(],"total":)" + std::to_string(count) + R"(,"offset":0,"limit":1000})");
    }

    RawServer server_;
};

}  // namespace wa::ticket_service::testing
