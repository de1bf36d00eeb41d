#include "runtimes/docker_keeper.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <filesystem>
#include <fstream>
#include <utility>

#include "core/codec/text.h"

namespace wa::docker {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "nh-exec-";
constexpr std::string_view kAdopted = "-of-";
constexpr std::string_view kKept = "-kept-";
constexpr std::size_t kShortHash = 10;
constexpr std::size_t kWorkerMark = 12;
constexpr std::size_t kMostNotes = 100'000;
constexpr std::chrono::milliseconds kDeadlineMargin = std::chrono::minutes(1);

std::string worker_mark(std::string_view worker) {
    return hash_of(worker).substr(0, kWorkerMark);
}

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

std::string container_name(std::string_view domain, std::string_view ticket_id, std::int32_t attempt) {
    return std::string(kPrefix) + hash_of(std::string(domain) + '\0' + std::string(ticket_id)).substr(0, kShortHash) +
           "-" + std::to_string(attempt);
}

std::string adopted_name(std::string_view name, std::string_view worker) {
    return std::string(name.substr(0, name.find(kAdopted))) + std::string(kAdopted) + worker_mark(worker);
}

bool is_kept_name(std::string_view name) {
    return name.find(kKept) != std::string_view::npos;
}

Keeper::Keeper(boost::asio::io_context& loop, const Clock& clock, Api& api, KeeperOptions options)
    : loop_(loop), clock_(clock), api_(api), options_(std::move(options)), timer_(loop), closing_(loop) {}

Keeper::~Keeper() = default;

Result<void> Keeper::prepare() {
    if (options_.notes_folder.empty()) return {};
    std::error_code error;
    fs::create_directories(options_.notes_folder, error);
    if (error) {
        return fail(ErrorCode::kUnavailable, "docker",
                    "the folder " + options_.notes_folder + " cannot be made: " + error.message());
    }
    for (const auto& entry : fs::directory_iterator(options_.notes_folder, error)) {
        if (noted_.size() == kMostNotes) break;
        noted_.insert(entry.path().filename().string());
    }
    return {};
}

std::string Keeper::note_path(std::string_view ticket_id) const {
    return options_.notes_folder + "/" + hash_of(ticket_id);
}

Result<void> Keeper::note(std::string_view ticket_id) {
    const std::string mark = hash_of(ticket_id);
    if (noted_.contains(mark)) return {};
    if (!options_.notes_folder.empty()) {
        // Not synchronised: a worker that is killed leaves it in the page cache, and with the machine the containers
        // go.
        std::ofstream file(note_path(ticket_id), std::ios::binary | std::ios::trunc);
        file << ticket_id << '\n';
        file.close();
        if (!file) {
            return fail(ErrorCode::kDiskFull, "docker",
                        "the note that a container is about to be made cannot be written in " + options_.notes_folder);
        }
    }
    noted_.insert(mark);
    return {};
}

bool Keeper::may_hold(std::string_view ticket_id) const {
    return !noted_.empty() && noted_.contains(hash_of(ticket_id));
}

void Keeper::forget_note(std::string_view ticket_id) {
    if (noted_.erase(hash_of(ticket_id)) == 0 || options_.notes_folder.empty()) return;
    std::error_code ignored;  // one that stays costs a look at the engine
    fs::remove(note_path(ticket_id), ignored);
}

void Keeper::attach(std::string_view ticket_id) {
    ++attached_[std::string(ticket_id)];
}

void Keeper::detach(std::string_view ticket_id) {
    const auto found = attached_.find(ticket_id);
    if (found != attached_.end() && --found->second == 0) attached_.erase(found);
}

void Keeper::remove_when_settled(Doomed container) {
    doom(std::move(container), false, false);
}

void Keeper::remove_now(Doomed container) {
    doom(std::move(container), true, false);
}

void Keeper::doom(Doomed container, bool due, bool swept) {
    std::string id = container.id;
    const auto [place, fresh] = doomed_.try_emplace(std::move(id));
    Entry& entry = place->second;
    const bool runs = container.runs;
    if (fresh) entry.container = std::move(container);
    entry.container.runs |= runs;
    entry.due |= due;
    entry.swept |= swept && fresh;
    // So many unsettled results are not waited for: the sweep of a later start finds what this leaves undone.
    if (doomed_.size() > kMaxDoomed) {
        for (auto& [other_id, other] : doomed_)
            other.due = true;
    }
    work();
}

void Keeper::ticket_settled(std::string_view ticket_id) {
    if (doomed_.empty()) return;
    for (auto& [id, entry] : doomed_)
        entry.due |= entry.container.ticket_id == ticket_id;
    work();
}

void Keeper::work() {
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

void Keeper::wake_at(MonoTime when) {
    timer_.expires_after(std::max<Duration>(when - clock_.now(), std::chrono::milliseconds(1)));
    timer_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) work();
    });
}

void Keeper::begin_removal(Entry& entry) {
    entry.under_way = true;
    ++under_way_;
    auto done = [this, id = entry.container.id](Reply<std::monostate> reply) { removed(id, std::move(reply)); };
    if (options_.remove_ended || entry.container.runs) {
        entry.call = api_.remove(entry.container.id, std::move(done));
    } else {
        constexpr std::size_t kShortId = 12;
        entry.call = api_.rename(entry.container.id,
                                 entry.container.name + std::string(kKept) + entry.container.id.substr(0, kShortId),
                                 std::move(done));
    }
}

void Keeper::removed(const std::string& id, Reply<std::monostate> reply) {
    const auto found = doomed_.find(id);
    if (found == doomed_.end()) return;
    Entry& entry = found->second;
    entry.under_way = false;
    --under_way_;
    // 409: somebody else removes it right now; asked again it is gone.
    const bool gone = reply || reply.error().is(404);
    if (!gone) {
        constexpr int kMostDoublings = 6;
        const Duration wait = std::chrono::seconds(1) * (1 << std::min(entry.tries, kMostDoublings));
        if (entry.tries++ == 3 && options_.on_problem)
            options_.on_problem("container " + entry.container.name +
                                " cannot be removed: " + reply.error().error.message);
        entry.next = clock_.now() + wait;
        return work();
    }
    if (entry.swept && options_.on_swept) options_.on_swept(1);
    const std::string ticket_id = entry.container.ticket_id;
    doomed_.erase(found);
    const bool others =
        std::ranges::any_of(doomed_, [&](const auto& other) { return other.second.container.ticket_id == ticket_id; });
    if (!others && !attached_.contains(ticket_id)) forget_note(ticket_id);
    work();
}

bool Keeper::is_ours(const StringMap& labels, std::string_view name) const {
    const std::size_t adopted = name.find(kAdopted);
    if (adopted != std::string_view::npos)
        return name.substr(adopted + kAdopted.size(), kWorkerMark) == worker_mark(options_.worker);
    const auto label = labels.find(std::string(kWorkerLabel));
    return label != labels.end() && label->second == options_.worker;
}

bool Keeper::is_left_behind(const ContainerSummary& container) const {
    if (!is_ours(container.labels, container.name) || is_kept_name(container.name)) return false;
    if (doomed_.contains(container.id)) return false;
    const auto ticket = container.labels.find(std::string(kTicketLabel));
    if (ticket == container.labels.end() || attached_.contains(ticket->second)) return false;
    switch (options_.standing ? options_.standing(ticket->second) : TicketStanding::kUnknown) {
        case TicketStanding::kOpen: return false;
        case TicketStanding::kEnded: return true;
        case TicketStanding::kUnknown: break;
    }
    if (options_.unknown_is_gone) return true;
    // Another worker may have the ticket, and be about to find this. After the attempt's time nobody is.
    const auto deadline = container.labels.find(std::string(kDeadlineLabel));
    const auto until = deadline == container.labels.end() ? std::nullopt : parse_whole_number(deadline->second);
    return until && clock_.wall_now() > *until + kDeadlineMargin.count();
}

void Keeper::sweep() {
    if (list_.active()) return;
    list_ = api_.list(
        {{std::string(kManagedByLabel), std::string(kManagedBy)}, {std::string(kDomainLabel), options_.domain}},
        [this](Reply<std::vector<ContainerSummary>> reply) { swept(std::move(reply)); });
}

void Keeper::swept(Reply<std::vector<ContainerSummary>> reply) {
    if (!reply) {
        if (options_.on_problem) options_.on_problem("left-over containers: " + reply.error().error.message);
        return;
    }
    std::set<std::string, std::less<>> noted;
    for (const ContainerSummary& container : *reply) {
        const auto ticket = container.labels.find(std::string(kTicketLabel));
        if (ticket != container.labels.end()) noted.insert(hash_of(ticket->second));
        if (is_left_behind(container))
            doom({container.id, container.name, ticket->second, container.state != ContainerState::kEnded}, true, true);
    }
    for (const auto& [ticket_id, count] : attached_)
        noted.insert(hash_of(ticket_id));
    // A reported container whose ticket was settled by somebody else, and notes without a container.
    for (auto& [id, entry] : doomed_) {
        if (!entry.due && options_.standing)
            entry.due = options_.standing(entry.container.ticket_id) == TicketStanding::kEnded;
    }
    for (const std::string& mark : std::set<std::string, std::less<>>(noted_)) {
        if (noted.contains(mark)) continue;
        noted_.erase(mark);
        std::error_code ignored;
        if (!options_.notes_folder.empty()) fs::remove(options_.notes_folder + "/" + mark, ignored);
    }
    work();
}

void Keeper::close(Duration limit, std::function<void()> done) {
    closed_ = std::move(done);
    for (auto& [id, entry] : doomed_)
        entry.next = {};  // at once
    closing_.expires_after(limit);
    closing_.async_wait([this, alive = std::weak_ptr<int>(alive_)](const boost::system::error_code& error) {
        if (error || alive.expired()) return;
        if (const auto closed = std::exchange(closed_, nullptr)) closed();
    });
    boost::asio::post(loop_, [this, alive = std::weak_ptr<int>(alive_)] {
        if (!alive.expired()) work();
    });
}

void Keeper::maybe_closed() {
    if (!closed_) return;
    const bool busy = std::ranges::any_of(doomed_, [](const auto& one) { return one.second.due; });
    if (busy) return;
    closing_.cancel();
    boost::asio::post(loop_, std::exchange(closed_, nullptr));
}

}  // namespace wa::docker
