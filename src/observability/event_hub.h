// The event stream's memory: a ring of the last events under one growing id, written by the engine's loop (and by the
// API), read by the HTTP thread at each listener's own pace (experience.md 2.8).
//
// The ring is the bound: a listener holds a cursor, not a queue. One that lags has its `stats` merged; one whose cursor
// fell out of the ring is reset and refetches. Writing never waits for a reader and costs no allocation once the ring's
// strings have grown.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "ports/flow_observer.h"

namespace wa::observability {

inline constexpr std::size_t kEventRing = 10'000;
inline constexpr std::size_t kMaxTopics = 64;

// What one listener wants: "ticket", "plan:<id>", "stats", "log:<id>:<try>", "worker-log", separated by commas.
struct Topics {
    bool ticket = false;
    bool stats = false;
    bool worker_log = false;
    std::set<std::string, std::less<>> plans;
    std::vector<std::pair<std::string, std::int32_t>> logs;  // not in the ring: read from the task logs
};
[[nodiscard]] Result<Topics> parse_topics(std::string_view text);

enum class EventKind : std::uint8_t {
    kTicket,
    kStats,   // whole numbers of the moment: the newest replaces older ones
    kWorker,  // intake closed or opened, drain: goes with the topic stats, never merged
};

struct StreamEvent {
    std::uint64_t id = 0;
    EventKind kind = EventKind::kTicket;
    EpochMillis at = 0;
    std::string ticket_id;
    std::string plan_id;
    std::string task_id;
    TaskType task_type = TaskType::kExecute;
    TicketStatus status = TicketStatus::kPending;
    std::string phase;
    std::int32_t attempt = 0;
    std::string text;  // kTicket: the reason; else a JSON object
};
// The event as the stream shows it: "id: …", "event: …", "data: …" and an empty line.
void append_sse(std::string& out, const StreamEvent& event);

class EventHub {
public:
    // Ids begin above anything that an earlier process on this clock can have given out, so that an old Last-Event-ID
    // is recognised as unknown instead of matching by chance.
    explicit EventHub(const Clock& clock, std::size_t capacity = kEventRing);

    // Copies what it is given; `event.id` and `event.at` (when 0) are filled in. Any thread.
    void publish(const StreamEvent& event);

    class Listener {
    public:
        virtual ~Listener() = default;
    };
    // `wake` is called from the publishing thread, with a lock held, once after each arm(): it must only post.
    [[nodiscard]] std::unique_ptr<Listener> listen(Topics topics, std::optional<std::uint64_t> last_id,
                                                   std::function<void()> wake);

    struct Batch {
        std::vector<StreamEvent> events;
        bool reset = false;        // the cursor was not in the ring: everything before `newest` is missing
        std::uint64_t newest = 0;  // id that stands for "seen everything so far"
        bool more = false;
    };
    // The next events for this listener, at most `limit`.
    [[nodiscard]] Batch take(Listener& listener, std::size_t limit);
    // From now on the next event wakes. False: there is something to take already (and nothing was armed).
    [[nodiscard]] bool arm(Listener& listener);
    [[nodiscard]] std::uint64_t newest() const;
    // Does anybody want this? Lets the sender save the work.
    [[nodiscard]] bool wanted(EventKind kind) const;

private:
    class Entry;
    [[nodiscard]] static bool fits(const Topics& topics, const StreamEvent& event);
    void forget(Entry* entry);

    const Clock& clock_;
    mutable std::mutex mutex_;
    std::vector<StreamEvent> ring_;
    std::uint64_t first_ = 0;  // id of the oldest event kept; first_ == next_: none
    std::uint64_t next_ = 0;
    std::uint64_t base_ = 0;  // ids below were never given out by this process
    std::vector<Entry*> listeners_;
};

// Turns what the flow does into events. Engine's loop.
class EventFeed final : public FlowObserver {
public:
    explicit EventFeed(EventHub& hub) : hub_(hub) {}

    void ticket_consumed(const TicketView& ticket) override;
    void ticket_moved(const TicketView& ticket, State from, Event event, State to, std::string_view reason) override;
    void ticket_settled(const TicketView& ticket, const Settlement& settlement) override;
    void intake_changed(bool open, std::string_view why, Duration since) override;
    void drain_changed(std::string_view phase) override;

private:
    void fill(const TicketView& ticket, TicketStatus status, std::string_view phase, std::string_view reason);

    EventHub& hub_;
    StreamEvent scratch_;  // keeps its strings' memory
};

}  // namespace wa::observability
