// Which status goes out next: one at a time and in order for each ticket, the last one wins, bounded. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "ports/ticket_service.h"

namespace wa::ticket_service {

// A status that no other follows: worth keeping over a restart.
[[nodiscard]] bool is_ending(TicketStatus status);

class UpdateQueue {
public:
    enum class Added : std::uint8_t {
        kQueued,
        kReplaced,  // an older one of the ticket, which had not gone out
        kDropped,   // no room
    };
    struct Sending {
        const StatusUpdate* update = nullptr;  // until done() or put_back()
        MonoTime since{};                      // when the first update of this ticket that is still unsent was added
        std::int32_t failures = 0;             // since then
    };

    explicit UpdateQueue(std::size_t max_tickets) : max_tickets_(max_tickets) {}

    // `lost`: the update that had to go for want of room, this one or the RUNNING of another ticket.
    Added add(StatusUpdate update, MonoTime now, std::optional<StatusUpdate>& lost);
    // The next one to send; its ticket has nothing else under way until done() or put_back().
    [[nodiscard]] std::optional<Sending> take(MonoTime now);
    // It arrived, or is given up.
    void done(const std::string& ticket_id, MonoTime now);
    // To be sent again, or a newer one in its place, not before `when`. `failed`: it counts as a failure.
    void put_back(const std::string& ticket_id, MonoTime when, bool failed);

    // When take() may have something; nothing when all is sent or under way.
    [[nodiscard]] std::optional<MonoTime> next_due(MonoTime now) const;
    [[nodiscard]] std::size_t size() const { return entries_.size(); }  // tickets, those under way included
    [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
    // Tickets whose update waits for nothing but its turn, and since when the first of them does.
    [[nodiscard]] std::size_t ready() const { return ready_.size(); }
    [[nodiscard]] std::optional<MonoTime> ready_since();
    // The endings that have not arrived, for a file.
    [[nodiscard]] std::vector<StatusUpdate> unsent_endings() const;

private:
    struct Entry {
        std::optional<StatusUpdate> waiting;
        std::optional<StatusUpdate> sending;
        MonoTime since{};
        std::int32_t failures = 0;
        std::uint64_t place = 0;  // in ready_ or delayed_; what has another number there is stale
    };
    using Place = std::pair<std::string, std::uint64_t>;
    Entry* at(const Place& place);  // null when it is stale
    void make_ready(const std::string& ticket_id, Entry& entry);
    std::optional<StatusUpdate> evict_running();

    std::size_t max_tickets_;
    std::unordered_map<std::string, Entry> entries_;
    std::deque<Place> ready_;
    std::multimap<MonoTime, Place> delayed_;
    std::deque<std::string> running_;  // tickets with a RUNNING that may be evicted; may be stale
    std::size_t in_flight_ = 0;
    std::uint64_t next_place_ = 1;
};

}  // namespace wa::ticket_service
