// The Execution Ticket Service over HTTP (ports/ticket_service.h): statuses go out, dependencies are looked up, tokens
// are fetched.
//
// Statuses: one at a time and in order for each ticket, the last one wins; sending one again changes nothing. While the
// service is away they wait in a bounded queue; with a state folder the endings among them also in a file that the next
// worker reads. 404 is waited out for a while, as the service reads tickets from the same topic as we do and may be
// slower.
// Look-ups: the plan of an id is learnt from the service's own answers; then one list answers for all awaited tickets
// of that plan. Answers are kept for 5 s, endings for 10 min.
// Threading: everything on the loop; nothing is called back from inside a call.
// Rules: contract/services.md 2, contract/engine.md 4 (P2, P4) and 6, cluster-rules.md 9, 10, 15.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "adapters/ticket_service/listener.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/random.h"
#include "core/retry/circuit_breaker.h"
#include "http_client/http_client.h"
#include "ports/ticket_service.h"

namespace wa {

struct TicketServiceOptions {
    std::string base_url;                         // EXECUTION_TICKET_SERVICE_URL; may have a path and credentials
    Duration timeout = std::chrono::seconds(10);  // TICKET_API_TIMEOUT_SECONDS, for one request
    std::string spill_file;                       // in the state folder; empty = none
    std::size_t requests = 64;                    // status updates under way
    Duration wait_for_service = std::chrono::seconds(10);  // how long an update may wait for its turn and be waited for
    std::size_t lookups = 8;                               // look-ups under way
    std::size_t queue = 10'000;                            // tickets with an update that has not arrived
    std::size_t awaited = 20'000;                          // ids whose look-up waits for its turn
    std::size_t cache = 20'000;                            // statuses
    std::size_t tokens = 1'000;                            // kept
    Duration retry_base = std::chrono::milliseconds(500);
    Duration retry_cap = std::chrono::seconds(30);
    Duration not_found_patience = std::chrono::seconds(30);
    Duration not_found_base = std::chrono::seconds(1);
    Duration not_found_cap = std::chrono::seconds(5);
    // How long an update is tried while the service answers 429 or not at all. Without a file 5 minutes are the rule;
    // an update that survives a restart may as well wait longer.
    Duration keep_trying = std::chrono::minutes(5);
    Duration keep_trying_with_file = std::chrono::hours(24);
    std::int32_t breaker_failures = 5;
    Duration breaker_pause = std::chrono::seconds(60);
};

// The JWT of one ticket, for an outside system that an executor calls. A secret.
struct TicketToken {
    std::string text;
    EpochMillis expires_at = 0;
};

struct TicketServiceStats {
    std::size_t queued = 0;     // tickets with an update that has not arrived, those under way included
    std::size_t in_flight = 0;  // updates under way
    std::size_t awaited = 0;    // ids being looked up
    CircuitBreaker::State breaker = CircuitBreaker::State::kClosed;
};

class HttpTicketService final : public TicketService {
public:
    // All references must outlive this object. `deliver` gets the answers of lookup(), from the loop. Reads the file of
    // waiting updates.
    HttpTicketService(boost::asio::io_context& loop, const Clock& clock, Random& random, http::Client& client,
                      TicketServiceOptions options, std::function<void(DependencyStatuses)> deliver,
                      TicketServiceListener& listener);
    // Requests under way are cut; what has not arrived is written to the file.
    ~HttpTicketService() override;
    HttpTicketService(const HttpTicketService&) = delete;
    HttpTicketService& operator=(const HttpTicketService&) = delete;

    // Whether the options can work at all: the URL.
    [[nodiscard]] static Result<void> check(const TicketServiceOptions& options);

    void update_status(StatusUpdate update) override;
    // True from half of the queue waiting for nothing but its turn, until less than a quarter does.
    [[nodiscard]] bool behind() override;
    // Ids that cannot be asked for now are not answered: the engine asks again.
    void lookup(std::vector<std::string> ticket_ids) override;
    // Fetched when first asked for, kept until 30 s before it ends. `done` is called once, from the loop.
    void token(const std::string& ticket_id, std::function<void(Result<TicketToken>)> done);
    // For the end of the process: calls `done` with the number of updates that have not arrived, once there are none
    // or after `limit`; at once when the service is known to be away for longer than that. What is left is in the file
    // by then.
    void flush(Duration limit, std::function<void(std::size_t left)> done);
    [[nodiscard]] TicketServiceStats stats() const;

private:
    class Sender;
    class Lookups;
    class Tokens;
    struct Shared;
    std::unique_ptr<Shared> shared_;
    std::unique_ptr<Sender> sender_;
    std::unique_ptr<Lookups> lookups_;
    std::unique_ptr<Tokens> tokens_;
};

}  // namespace wa
