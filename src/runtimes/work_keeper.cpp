#include "runtimes/work_keeper.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <filesystem>
#include <fstream>
#include <utility>

#include "core/codec/text.h"

namespace wa {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShortHash = 10;
constexpr std::size_t kMostNotes = 100'000;
constexpr std::chrono::milliseconds kDeadlineMargin = std::chrono::minutes(1);

}  // namespace

std::string hash_of(std::string_view text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
    static constexpr std::string_view kHex = "0123456789abcdef";
    std::string hex;
    for (unsigned int at = 0; at < size; ++at) {
        hex += kHex[digest.at(at) >> 4U];
        hex += kHex[digest.at(at) & 0xFU];
    }
    return hex;
}

std::string work_name(std::string_view prefix, std::string_view domain, std::string_view ticket_id,
                      std::int32_t attempt) {
    return std::string(prefix) + hash_of(std::string(domain) + '\0' + std::string(ticket_id)).substr(0, kShortHash) +
           "-" + std::to_string(attempt);
}

WorkKeeper::WorkKeeper(boost::asio::io_context& loop, const Clock& clock, WorkPlace& place, std::string origin,
                       std::string kind, KeeperOptions options)
    : loop_(loop),
      clock_(clock),
      place_(place),
      origin_(std::move(origin)),
      kind_(std::move(kind)),
      options_(std::move(options)),
      timer_(loop),
      closing_(loop) {}

WorkKeeper::~WorkKeeper() = default;

Result<void> WorkKeeper::prepare() {
    if (options_.notes_folder.empty()) return {};
    std::error_code error;
    fs::create_directories(options_.notes_folder, error);
    if (error) {
        return fail(ErrorCode::kUnavailable, origin_,
                    "the folder " + options_.notes_folder + " cannot be made: " + error.message());
    }
    for (const auto& entry : fs::directory_iterator(options_.notes_folder, error)) {
        if (noted_.size() == kMostNotes) break;
        noted_.insert(entry.path().filename().string());
    }
    return {};
}

std::string WorkKeeper::note_path(std::string_view ticket_id) const {
    return options_.notes_folder + "/" + hash_of(ticket_id);
}

Result<void> WorkKeeper::note(std::string_view ticket_id) {
    const std::string mark = hash_of(ticket_id);
    if (noted_.contains(mark)) return {};
    if (!options_.notes_folder.empty()) {
        // Not synchronised: a worker that is killed leaves it in the page cache.
        std::ofstream file(note_path(ticket_id), std::ios::binary | std::ios::trunc);
        file << ticket_id << '\n';
        file.close();
        if (!file) {
            return fail(
                ErrorCode::kDiskFull, origin_,
                "the note that a " + kind_ + " is about to be made cannot be written in " + options_.notes_folder);
        }
    }
    noted_.insert(mark);
    return {};
}

bool WorkKeeper::may_hold(std::string_view ticket_id) const {
    return !noted_.empty() && noted_.contains(hash_of(ticket_id));
}

void WorkKeeper::forget_note(std::string_view ticket_id) {
    if (noted_.erase(hash_of(ticket_id)) == 0 || options_.notes_folder.empty()) return;
    std::error_code ignored;  // one that stays costs a look at the back-end
    fs::remove(note_path(ticket_id), ignored);
}

void WorkKeeper::attach(std::string_view ticket_id) {
    ++attached_[std::string(ticket_id)];
}

void WorkKeeper::detach(std::string_view ticket_id) {
    const auto found = attached_.find(ticket_id);
    if (found != attached_.end() && --found->second == 0) attached_.erase(found);
}

void WorkKeeper::remove_when_settled(Doomed work) {
    doom(std::move(work), false, false);
}

void WorkKeeper::remove_now(Doomed work) {
    doom(std::move(work), true, false);
}

void WorkKeeper::doom(Doomed work, bool due, bool swept) {
    std::string id = work.id;
    const auto [place, fresh] = doomed_.try_emplace(std::move(id));
    Entry& entry = place->second;
    const bool runs = work.runs;
    if (fresh) entry.work = std::move(work);
    entry.work.runs |= runs;
    entry.due |= due;
    entry.swept |= swept && fresh;
    // So many unsettled results are not waited for: the sweep of a later start finds what this leaves undone.
    if (doomed_.size() > kMaxDoomed) {
        for (auto& [other_id, other] : doomed_)
            other.due = true;
    }
    go_on();
}

void WorkKeeper::ticket_settled(std::string_view ticket_id, bool untried) {
    bool known = false;
    for (auto& [id, entry] : doomed_) {
        if (entry.work.ticket_id != ticket_id) continue;
        entry.due = true;
        known = true;
    }
    if (known) return go_on();
    const bool shared = !options_.unknown_is_gone;
    if (may_hold(ticket_id) || (untried && shared)) look_for(ticket_id);
}

// One list answers for all that are asked for meanwhile. Beyond the bound the sweeps find it.
void WorkKeeper::look_for(std::string_view ticket_id) {
    if (wanted_.size() + asked_.size() < kMaxDoomed) wanted_.emplace(ticket_id);
    if (!listing_) sweep();
}

void WorkKeeper::go_on() {
    const MonoTime now = clock_.now();
    std::optional<MonoTime> next;
    for (auto& [id, entry] : doomed_) {
        if (!entry.due || entry.under_way) continue;
        if (entry.next > now) {
            next = next ? std::min(*next, entry.next) : entry.next;
            continue;
        }
        if (under_way_ == kAtOnce) break;
        begin_removal(entry);
    }
    if (next) wake_at(*next);
    maybe_closed();
}

void WorkKeeper::wake_at(MonoTime when) {
    timer_.expires_after(std::max<Duration>(when - clock_.now(), std::chrono::milliseconds(1)));
    timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) go_on();
    });
}

void WorkKeeper::begin_removal(Entry& entry) {
    entry.under_way = true;
    ++under_way_;
    auto done = [this, id = entry.work.id](const Result<void>& result) { removed(id, result); };
    const bool removes = options_.remove_ended || entry.work.runs;
    const FoundWork found{entry.work.id, entry.work.name, entry.work.ticket_id, true, !entry.work.runs, std::nullopt};
    entry.call = removes ? place_.remove(found, std::move(done)) : place_.keep(found, std::move(done));
}

void WorkKeeper::removed(const std::string& id, const Result<void>& result) {
    const auto found = doomed_.find(id);
    if (found == doomed_.end()) return;
    Entry& entry = found->second;
    entry.under_way = false;
    --under_way_;
    if (!result) {
        constexpr int kMostDoublings = 6;
        const Duration wait = std::chrono::seconds(1) * (1 << std::min(entry.tries, kMostDoublings));
        if (entry.tries++ == 3 && options_.on_problem)
            options_.on_problem(kind_ + " " + entry.work.name + " cannot be removed: " + result.error().message);
        entry.next = clock_.now() + wait;
        return go_on();
    }
    if (entry.swept && options_.on_swept) options_.on_swept(1);
    const std::string ticket_id = entry.work.ticket_id;
    doomed_.erase(found);
    const bool others =
        std::ranges::any_of(doomed_, [&](const auto& other) { return other.second.work.ticket_id == ticket_id; });
    if (!others && !attached_.contains(ticket_id)) forget_note(ticket_id);
    go_on();
}

bool WorkKeeper::is_left_behind(const FoundWork& found) const {
    if (found.ticket_id.empty() || doomed_.contains(found.id) || attached_.contains(found.ticket_id)) return false;
    if (asked_.contains(found.ticket_id)) return true;  // ended here, so nobody else has it
    if (!found.ours) return false;
    switch (options_.standing ? options_.standing(found.ticket_id) : TicketStanding::kUnknown) {
        case TicketStanding::kOpen: return false;
        case TicketStanding::kEnded: return true;
        case TicketStanding::kUnknown: break;
    }
    if (options_.unknown_is_gone) return true;
    // Another worker may have the ticket, and be about to find this. After the attempt's time nobody is.
    return found.deadline && clock_.wall_now() > *found.deadline + kDeadlineMargin.count();
}

void WorkKeeper::sweep() {
    if (listing_) return;
    listing_ = true;
    asked_.merge(wanted_);
    wanted_.clear();
    list_ = place_.list([this](const Result<std::vector<FoundWork>>& found) {
        listing_ = false;
        swept(found);
    });
}

void WorkKeeper::swept(const Result<std::vector<FoundWork>>& found) {
    sweep_failed_ = !found;
    if (!found) {
        if (options_.on_problem) options_.on_problem("left-over work: " + found.error().message);
        return;
    }
    std::set<std::string, std::less<>> noted;
    for (const FoundWork& work : *found) {
        if (!work.ticket_id.empty()) noted.insert(hash_of(work.ticket_id));
        if (is_left_behind(work)) doom({work.id, work.name, work.ticket_id, !work.ended}, true, true);
    }
    for (const auto& [ticket_id, count] : attached_)
        noted.insert(hash_of(ticket_id));
    // Reported work whose ticket was settled by somebody else, and notes without any work.
    for (auto& [id, entry] : doomed_) {
        if (!entry.due && options_.standing)
            entry.due = options_.standing(entry.work.ticket_id) == TicketStanding::kEnded;
    }
    for (const std::string& mark : std::set<std::string, std::less<>>(noted_)) {
        if (noted.contains(mark)) continue;
        noted_.erase(mark);
        std::error_code ignored;
        if (!options_.notes_folder.empty()) fs::remove(options_.notes_folder + "/" + mark, ignored);
    }
    asked_.clear();
    go_on();
    if (!wanted_.empty()) sweep();
}

void WorkKeeper::close(Duration limit, std::function<void()> done) {
    closed_ = std::move(done);
    for (auto& [id, entry] : doomed_)
        entry.next = {};  // at once
    closing_.expires_after(limit);
    closing_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (error || alive.expired()) return;
        if (const auto closed = std::exchange(closed_, nullptr)) closed();
    });
    boost::asio::post(loop_, [this, alive = std::weak_ptr<int>(alive_)] {
        if (!alive.expired()) go_on();
    });
}

void WorkKeeper::maybe_closed() {
    if (!closed_) return;
    const bool busy = std::ranges::any_of(doomed_, [](const auto& one) { return one.second.due; });
    if (busy) return;
    closing_.cancel();
    boost::asio::post(loop_, std::exchange(closed_, nullptr));
}

}  // namespace wa
