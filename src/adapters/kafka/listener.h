// What the Kafka adapter tells those who watch it: logs, metrics, readiness. It never changes the flow.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "ports/ticket_source.h"

namespace wa::kafka {

// What kind of thing keeps a client from its brokers; says what a person should look at.
enum class Trouble : std::uint8_t {
    kUnreachable,
    kAuthentication,  // name, password, token, mechanism
    kTls,             // certificates, authorities
    kNotAllowed,      // known, and not permitted
};

enum class Severity : std::uint8_t { kDebug, kInfo, kWarning, kError };

// Calls come on the engine's loop, except log(), producer_made(), transaction_failed() and dead_letter_failed(), which
// may come from any thread.
class Listener {
public:
    virtual ~Listener() = default;
    // `event` is a stable word; `detail` is for people and holds no secret.
    virtual void log(Severity, std::string_view /*event*/, std::string /*detail*/) {}
    virtual void connected(bool) {}
    virtual void consumer_made() {}
    virtual void producer_made() {}
    virtual void broker_error() {}
    // Why the brokers are not spoken with, in the client's words.
    virtual void trouble(Trouble, std::string /*detail*/) {}
    virtual void partitions_assigned(std::size_t /*now*/) {}
    virtual void rebalanced(std::string_view /*kind: assigned, revoked, lost*/, std::size_t /*partitions*/) {}
    // How far a partition is behind its stable end; negative = given up.
    virtual void behind(PartitionId, std::int64_t /*offsets*/) {}
    virtual void stalled(PartitionId, bool) {}
    // Finished offsets may be missing: what was committed does not fit the log any more.
    virtual void loss_suspected(PartitionId, std::string /*why*/) {}
    virtual void committed(Duration /*took*/) {}
    virtual void transaction_failed(std::string_view /*kind: retry, abort, fatal*/, const Error&) {}
    // Read to here: the results reader is behind by so many offsets.
    virtual void results_behind(std::int64_t /*offsets*/) {}
    virtual void dead_letter_written(std::string_view /*reason*/, std::string_view /*task_type*/, Duration /*took*/) {}
    // A dead letter that the brokers did not take, or have no topic for. It goes again with a later batch.
    virtual void dead_letter_failed() {}
    virtual void alert_written(std::string_view /*task_type*/) {}
};

}  // namespace wa::kafka
