// What exists in a back-end because of this worker (containers, Jobs), and how it goes away again.
//
// Work lives there from its creation until its ticket's result is committed: a worker that is killed in between finds
// it again and reports it, instead of running it twice. So work that has ended is removed when the ticket is settled,
// or when its next attempt begins; what was stopped, at once; and what nobody will ask for any more, by the sweep. What
// cannot be removed now is tried again for as long as this worker runs.
//
// Whose it is, the back-end says (WorkPlace); the sweep touches only what is this worker's.
//
// A note (one small file a ticket, in the state folder) says that there may be work of a ticket; it is written before
// the work is made, and lets a restarted worker know that it must not run the ticket elsewhere while the back-end is
// away. It survives this process, not the machine.
//
// Threading: the loop. Bounds: kMaxDoomed pieces that wait for their removal, kAtOnce calls at a time.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace wa {

// What this worker knows about a ticket.
enum class TicketStanding : std::uint8_t {
    kOpen,     // it is here, and will be taken up again
    kEnded,    // its result is committed
    kUnknown,  // not here (any more)
};

struct KeeperOptions {
    std::string worker;           // stable over restarts, different for every other worker
    std::string domain;           // workers that share tickets: only they adopt each other's work
    std::string notes_folder;     // made when it is missing; empty = no notes
    bool remove_ended = true;     // false: what has ended by itself is kept for people
    bool unknown_is_gone = true;  // no other worker can have taken over a ticket that is unknown here
    std::function<TicketStanding(std::string_view ticket_id)> standing;
    std::function<void(std::size_t)> on_swept;           // pieces that were left behind and are gone now
    std::function<void(const std::string&)> on_problem;  // for the log
};

// SHA-256 as hexadecimal digits.
[[nodiscard]] std::string hash_of(std::string_view text);
// "<prefix><10 digits>-<attempt>", the same for the same ticket of the same domain.
[[nodiscard]] std::string work_name(std::string_view prefix, std::string_view domain, std::string_view ticket_id,
                                    std::int32_t attempt);

// One piece of work, as the back-end shows it.
struct FoundWork {
    std::string id;         // of the back-end; never used again
    std::string name;       // for people and calls
    std::string ticket_id;  // empty: it does not say
    bool ours = false;      // this worker's, to remove
    bool ended = false;
    std::optional<EpochMillis> deadline;  // when the attempt must have ended
};

// The back-end's part. All calls on the loop; answers never come from inside a call. Destroying a handle cancels.
class WorkPlace {
public:
    using Handle = std::shared_ptr<void>;
    using Listed = std::function<void(Result<std::vector<FoundWork>>)>;
    using Done = std::function<void(Result<void>)>;
    virtual ~WorkPlace() = default;
    // All of the domain that is not kept on purpose.
    [[nodiscard]] virtual Handle list(Listed done) = 0;
    // Whatever it does at present; not there (any more) is success.
    [[nodiscard]] virtual Handle remove(const FoundWork& work, Done done) = 0;
    // Marks it as reported: from now on list() does not show it, and nobody adopts it.
    [[nodiscard]] virtual Handle keep(const FoundWork& work, Done done) = 0;
};

class WorkKeeper {
public:
    static constexpr std::size_t kMaxDoomed = 10'000;
    static constexpr std::size_t kAtOnce = 4;

    // `origin` names the back-end in errors; `kind` is what it has ("container"). All must outlive this object.
    WorkKeeper(boost::asio::io_context& loop, const Clock& clock, WorkPlace& place, std::string origin,
               std::string kind, KeeperOptions options);
    ~WorkKeeper();
    WorkKeeper(const WorkKeeper&) = delete;
    WorkKeeper& operator=(const WorkKeeper&) = delete;

    // Reads the notes of the processes before. Once.
    Result<void> prepare();

    [[nodiscard]] Result<void> note(std::string_view ticket_id);
    [[nodiscard]] bool may_hold(std::string_view ticket_id) const;
    void forget_note(std::string_view ticket_id);

    // An attempt looks after the ticket's work: the sweep leaves it alone.
    void attach(std::string_view ticket_id);
    void detach(std::string_view ticket_id);

    struct Doomed {
        std::string id;
        std::string name;
        std::string ticket_id;
        bool runs = false;  // it has to end, whatever is kept of those that ended
    };
    // Once its ticket is settled.
    void remove_when_settled(Doomed work);
    void remove_now(Doomed work);
    [[nodiscard]] bool is_doomed(std::string_view id) const { return doomed_.contains(id); }
    // What was to go then goes. When there may be something that nobody here has looked after (a note of an earlier
    // process; `untried`, where workers share tickets), it is looked for, and goes, too.
    void ticket_settled(std::string_view ticket_id, bool untried);

    // Removes what nobody will ask for any more.
    void sweep();
    // The last one could not look: it should be done again soon.
    [[nodiscard]] bool sweep_failed() const { return sweep_failed_; }
    // Finishes what is due, as long as `limit`; then `done`, once.
    void close(Duration limit, std::function<void()> done);

    [[nodiscard]] const KeeperOptions& options() const { return options_; }

private:
    struct Entry {
        Doomed work;
        bool due = false;
        bool swept = false;
        bool under_way = false;
        int tries = 0;
        MonoTime next{};
        WorkPlace::Handle call{};
    };
    void doom(Doomed work, bool due, bool swept);
    void look_for(std::string_view ticket_id);
    void go_on();
    void begin_removal(Entry& entry);
    void removed(const std::string& id, const Result<void>& result);
    void swept(const Result<std::vector<FoundWork>>& found);
    [[nodiscard]] bool is_left_behind(const FoundWork& found) const;
    void wake_at(MonoTime when);
    void maybe_closed();
    [[nodiscard]] std::string note_path(std::string_view ticket_id) const;

    boost::asio::io_context& loop_;
    const Clock& clock_;
    WorkPlace& place_;
    std::string origin_;
    std::string kind_;
    KeeperOptions options_;
    std::map<std::string, Entry, std::less<>> doomed_;  // by id
    std::map<std::string, int, std::less<>> attached_;
    std::set<std::string, std::less<>> noted_;  // hashes of ticket ids
    std::size_t under_way_ = 0;
    boost::asio::steady_timer timer_;
    boost::asio::steady_timer closing_;
    std::function<void()> closed_;
    bool listing_ = false;
    std::set<std::string, std::less<>> wanted_;  // tickets that have ended, whose work is to be looked for
    std::set<std::string, std::less<>> asked_;   // those that the list under way is about; kept when it fails
    bool sweep_failed_ = false;
    WorkPlace::Handle list_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
