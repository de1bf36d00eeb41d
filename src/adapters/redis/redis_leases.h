// Leases and endings of tickets in Redis (ports/ticket_leases.h).
//
// Only commands on single keys, so that it does not matter how keys are spread. Taking a lease sets the lease first and
// reads the ending after it, in one round trip: whoever writes an ending does so before giving the lease back, so
// nobody can slip between the two. While Redis is away everything is answered "unavailable" at once; leases, endings
// and give-backs that could not be written are kept, bounded, and written when it is back. Until then another worker
// may hold the same ticket: the listener is told when that turns out. Threading: everything on the loop; nothing is
// called back from inside a call. Rules: contract/engine.md section 3 (R1 to R6), services.md 7 (times),
// cluster-rules.md 11.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "adapters/redis/connection.h"
#include "adapters/redis/redis_address.h"
#include "base/clock.h"
#include "base/random.h"
#include "core/trace/call_watch.h"
#include "ports/ticket_leases.h"

namespace wa {

// Called from the loop; must not call back into the leases.
class RedisListener {
public:
    virtual ~RedisListener() = default;
    // Once for each change, and once for the first failure at the start. `why` when it is down.
    virtual void redis_changed(bool /*up*/, std::string_view /*why*/) {}
    // Another worker holds what we thought to hold: it was away for longer than a lease lives.
    virtual void lease_lost(const std::string& /*ticket_id*/, const LeaseNote& /*holder*/) {}
    // Redis refused something while it was up (wrong type, no memory, no permission).
    virtual void redis_refused(const Error& /*why*/) {}
    // No room for more endings and give-backs that wait for Redis.
    virtual void note_dropped(const std::string& /*ticket_id*/) {}
};

struct RedisLeasesOptions {
    std::string worker;  // AGENT_ID
    Duration lease_life = std::chrono::seconds(600);
    Duration renew_interval = std::chrono::seconds(200);
    Duration ending_life = std::chrono::seconds(604'800);
    std::size_t waiting = 10'000;  // endings and give-backs that wait for Redis; acquire() calls that wait their turn
    redis::ConnectionLimits limits;
    CallWatch* watch = nullptr;  // must outlive the leases; null = nobody
};

class RedisTicketLeases final : public TicketLeases {
public:
    // Begins to connect. All references must outlive this object.
    RedisTicketLeases(boost::asio::io_context& loop, const Clock& clock, Random& random, RedisAddress address,
                      RedisLeasesOptions options, RedisListener& listener);
    // Leases stay until they run out, or are taken over by a worker of the same name: release what should not.
    ~RedisTicketLeases() override;
    RedisTicketLeases(const RedisTicketLeases&) = delete;
    RedisTicketLeases& operator=(const RedisTicketLeases&) = delete;

    void acquire(std::string ticket_id, LeasePosition position, std::function<void(const LeaseAnswer&)> done) override;
    void release(const std::string& ticket_id) override;
    void mark_processed(const std::string& ticket_id, TicketStatus status, LeasePosition position) override;

    [[nodiscard]] bool up() const { return connection_.up(); }
    // Nothing is under way and nothing waits: all that was told is written.
    [[nodiscard]] bool idle() const;
    [[nodiscard]] std::size_t held() const { return leases_.size(); }

private:
    using Done = std::function<void(const LeaseAnswer&)>;
    struct Lease {
        std::string value;  // as it stands in Redis
        LeaseNote note;
        std::uint64_t number = 0;
        bool asking = true;  // acquire() has not been answered yet
    };
    struct Asked;  // one acquire() under way
    // What waits for Redis; the ending is written before the lease is given back.
    struct Waiting {
        std::optional<LeaseNote> ending;
        std::string give_back;  // the lease's value; empty = none
    };
    struct Renewal {
        MonoTime due{};
        std::string ticket_id;
        std::uint64_t number = 0;
    };

    // Tells the watch of one operation for a ticket.
    std::shared_ptr<WatchedCall> watch(const char* name, const char* command, const std::string& ticket_id);
    // A command on its own, watched.
    void command(const char* name, const std::string& ticket_id, const std::vector<std::string>& arguments,
                 redis::Connection::Done done);
    void changed(bool up, const std::string& why);
    void ask_next();
    void ask(const std::shared_ptr<Asked>& asked);
    void judge(const std::shared_ptr<Asked>& asked);
    void acquired(const std::shared_ptr<Asked>& asked);
    void take_over(const std::shared_ptr<Asked>& asked, const std::string& old_value, const LeaseNote& holder);
    void not_acquired(const std::shared_ptr<Asked>& asked, LeaseState state, LeaseNote note);
    void unavailable(const std::shared_ptr<Asked>& asked, const std::string& why);
    void answer_soon(Done done, LeaseAnswer answer);
    void write(const std::string& ticket_id, Waiting what);
    void write_ending(const std::string& ticket_id, const Waiting& what);
    void write_give_back(const std::string& ticket_id, const Waiting& what);
    void failed(const std::string& ticket_id, const Waiting& what, const Error& why);
    void keep(const std::string& ticket_id, const Waiting& what);
    void write_waiting();
    void renew_due();
    void renew(const std::string& ticket_id, const Lease& lease);
    void renewed(const std::string& ticket_id, std::uint64_t number, const Result<redis::Reply>& reply);
    void look_at_holder(const std::string& ticket_id);
    void arm_renewal();
    void schedule_renewal(const std::string& ticket_id, std::uint64_t number);

    boost::asio::io_context& loop_;
    const Clock& clock_;
    std::string host_;
    std::uint16_t port_;
    RedisLeasesOptions options_;
    RedisListener& listener_;
    redis::Connection connection_;
    std::optional<bool> told_up_;
    std::unordered_map<std::string, Lease> leases_;
    std::unordered_map<std::string, Waiting> waiting_;
    std::deque<Renewal> renewals_;  // by time; stale ones have another number
    boost::asio::steady_timer renewal_timer_;
    std::uint64_t next_number_ = 1;
    std::size_t writing_ = 0;
    std::deque<std::shared_ptr<Asked>> asks_;  // not sent yet
    std::size_t asking_ = 0;                   // sent
    EpochMillis last_at_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa
