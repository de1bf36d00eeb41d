// What exists in the Docker engine because of this worker, and how it goes away again.
//
// A container lives from its creation until its ticket's result is committed: a worker that is killed in between finds
// it again and reports it, instead of running it twice. So an ended container is removed when the ticket is settled, or
// when its next attempt begins; one that was stopped, at once; and one that nobody will ask for any more, by the sweep.
// What cannot be removed now is tried again for as long as this worker runs.
//
// Whose a container is: its label `worker` says who made it; a name that ends with "-of-<worker>" who adopted it since.
// The sweep touches only what is this worker's.
//
// A note (one small file a ticket, in the state folder) says that a container of a ticket may exist; it is written
// before the container is made, and lets a restarted worker know that it must not run the ticket elsewhere while the
// engine is away. It survives this process, not the machine: then the containers have ended too.
//
// Threading: the loop. Bounds: kMaxDoomed containers that wait for their removal, kAtOnce calls at a time.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "runtimes/docker_api.h"

namespace wa::docker {

// The labels of every container.
inline constexpr std::string_view kManagedByLabel = "neural-hive.io/managed-by";
inline constexpr std::string_view kTicketLabel = "neural-hive.io/ticket-id";
inline constexpr std::string_view kPlanLabel = "neural-hive.io/plan-id";
inline constexpr std::string_view kTaskLabel = "neural-hive.io/task-id";
inline constexpr std::string_view kAttemptLabel = "neural-hive.io/attempt";
inline constexpr std::string_view kWorkerLabel = "neural-hive.io/worker";
inline constexpr std::string_view kDomainLabel = "neural-hive.io/domain";
inline constexpr std::string_view kWorkLabel = "neural-hive.io/work";
inline constexpr std::string_view kDeadlineLabel = "neural-hive.io/deadline";
inline constexpr std::string_view kManagedBy = "worker-agents";

// What this worker knows about a ticket.
enum class TicketStanding : std::uint8_t {
    kOpen,     // it is here, and will be taken up again
    kEnded,    // its result is committed
    kUnknown,  // not here (any more)
};

struct KeeperOptions {
    std::string worker;           // stable over restarts, different for every other worker
    std::string domain;           // workers that share tickets: only they adopt each other's containers
    std::string notes_folder;     // made when it is missing; empty = no notes
    bool remove_ended = true;     // DOCKER_CLEANUP_CONTAINERS
    bool unknown_is_gone = true;  // no other worker can have taken over a ticket that is unknown here
    std::function<TicketStanding(std::string_view ticket_id)> standing;
    std::function<void(std::size_t)> on_swept;           // containers that were left behind and are gone now
    std::function<void(const std::string&)> on_problem;  // for the log
};

// SHA-256 as hexadecimal digits.
[[nodiscard]] std::string hash_of(std::string_view text);
// Parts of a name.
[[nodiscard]] std::string container_name(std::string_view domain, std::string_view ticket_id, std::int32_t attempt);
[[nodiscard]] std::string adopted_name(std::string_view name, std::string_view worker);
[[nodiscard]] bool is_kept_name(std::string_view name);  // reported, and left there on purpose

class Keeper {
public:
    static constexpr std::size_t kMaxDoomed = 10'000;
    static constexpr std::size_t kAtOnce = 4;

    Keeper(boost::asio::io_context& loop, const Clock& clock, Api& api, KeeperOptions options);
    ~Keeper();
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;

    // Reads the notes of the processes before. Once.
    Result<void> prepare();

    [[nodiscard]] Result<void> note(std::string_view ticket_id);
    [[nodiscard]] bool may_hold(std::string_view ticket_id) const;
    void forget_note(std::string_view ticket_id);

    // An attempt looks after the ticket's containers: the sweep leaves them alone.
    void attach(std::string_view ticket_id);
    void detach(std::string_view ticket_id);

    struct Doomed {
        std::string id;
        std::string name;
        std::string ticket_id;
        bool runs = false;  // it has to end, whatever is kept of those that ended
    };
    // Once its ticket is settled.
    void remove_when_settled(Doomed container);
    void remove_now(Doomed container);
    [[nodiscard]] bool is_doomed(std::string_view id) const { return doomed_.contains(id); }
    void ticket_settled(std::string_view ticket_id);

    // Removes what nobody will ask for any more.
    void sweep();
    // Finishes what is due, as long as `limit`; then `done`, once.
    void close(Duration limit, std::function<void()> done);

    [[nodiscard]] const KeeperOptions& options() const { return options_; }
    [[nodiscard]] bool is_ours(const StringMap& labels, std::string_view name) const;

private:
    struct Entry {
        Doomed container;
        bool due = false;
        bool swept = false;
        bool under_way = false;
        int tries = 0;
        MonoTime next{};
        http::Call call{};
    };
    void doom(Doomed container, bool due, bool swept);
    void work();
    void begin_removal(Entry& entry);
    void removed(const std::string& id, Reply<std::monostate> reply);
    void swept(Reply<std::vector<ContainerSummary>> reply);
    [[nodiscard]] bool is_left_behind(const ContainerSummary& container) const;
    void wake_at(MonoTime when);
    void maybe_closed();
    [[nodiscard]] std::string note_path(std::string_view ticket_id) const;

    boost::asio::io_context& loop_;
    const Clock& clock_;
    Api& api_;
    KeeperOptions options_;
    std::map<std::string, Entry, std::less<>> doomed_;  // by id
    std::map<std::string, int, std::less<>> attached_;
    std::set<std::string, std::less<>> noted_;  // hashes of ticket ids
    std::size_t under_way_ = 0;
    std::size_t swept_count_ = 0;
    boost::asio::steady_timer timer_;
    boost::asio::steady_timer closing_;
    std::function<void()> closed_;
    http::Call list_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa::docker
