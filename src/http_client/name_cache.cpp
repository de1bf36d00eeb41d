#include "http_client/name_cache.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <utility>

namespace wa::http {
namespace asio = boost::asio;

namespace {

constexpr std::size_t kMaxAddresses = 16;

class SystemNameLookup final : public NameLookup {
public:
    explicit SystemNameLookup(asio::io_context& loop) : resolver_(loop) {}

    void lookup(const std::string& host, std::function<void(Result<Addresses>)> done) override {
        using tcp = asio::ip::tcp;
        // Without flags: a machine with nothing but loopback still finds what its hosts file says.
        resolver_.async_resolve(host, "", tcp::resolver::flags{},
                                [alive = std::weak_ptr<bool>(alive_), host, done = std::move(done)](
                                    const boost::system::error_code& error, const tcp::resolver::results_type& found) {
                                    if (!alive.expired()) done(answer(host, error, found));
                                });
    }

private:
    static Result<Addresses> answer(const std::string& host, const boost::system::error_code& error,
                                    const asio::ip::tcp::resolver::results_type& found) {
        Addresses addresses;
        for (const auto& entry : found) {
            if (addresses.size() == kMaxAddresses) break;
            addresses.push_back(entry.endpoint().address().to_string());
        }
        if (!error && !addresses.empty()) return addresses;
        return tl::unexpected(make_error(
            ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "http",
            "the name '" + host + "' has no address: " + (error ? error.message() : "the answer was empty")));
    }

    asio::ip::tcp::resolver resolver_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<NameLookup> system_name_lookup(asio::io_context& loop) {
    return std::make_unique<SystemNameLookup>(loop);
}

NameCache::NameCache(std::unique_ptr<NameLookup> lookup, const Clock& clock, NameCacheOptions options)
    : lookup_(std::move(lookup)), clock_(clock), options_(options) {}

NameCache::~NameCache() = default;

const Result<Addresses>* NameCache::find(const std::string& host) {
    const auto found = entries_.find(host);
    if (found == entries_.end()) return nullptr;
    Entry& entry = found->second;
    const MonoTime now = clock_.now();
    if (!entry.answer || now >= entry.usable_until) return nullptr;
    if (now >= entry.until) look_up(host, entry);
    order_.splice(order_.end(), order_, entry.place);
    return &*entry.answer;
}

std::uint64_t NameCache::ask(const std::string& host, Answer answer) {
    auto found = entries_.find(host);
    if (found == entries_.end()) {
        make_room();
        found = entries_.try_emplace(host).first;
        found->second.place = order_.insert(order_.end(), host);
    }
    Entry& entry = found->second;
    const std::uint64_t ticket = next_ticket_++;
    entry.waiters.emplace(ticket, std::move(answer));
    look_up(host, entry);
    return ticket;
}

void NameCache::look_up(const std::string& host, Entry& entry) {
    if (std::exchange(entry.asking, true)) return;
    ++lookups_;
    lookup_->lookup(host, [this, alive = std::weak_ptr<bool>(alive_), host](Result<Addresses> result) {
        if (!alive.expired()) answered(host, std::move(result));
    });
}

void NameCache::drop(const std::string& host, std::uint64_t ticket) {
    if (const auto found = entries_.find(host); found != entries_.end()) found->second.waiters.erase(ticket);
}

void NameCache::forget(const std::string& host) {
    if (const auto found = entries_.find(host); found != entries_.end()) found->second.answer.reset();
}

std::vector<std::string> NameCache::take_forgotten() {
    return std::exchange(forgotten_, {});
}

void NameCache::answered(const std::string& host, Result<Addresses> answer) {
    const auto found = entries_.find(host);
    if (found == entries_.end()) return;
    Entry& entry = found->second;
    const MonoTime now = clock_.now();
    entry.asking = false;
    entry.until = now + (answer ? options_.keep : options_.keep_failure);
    if (answer) {
        entry.usable_until = now + std::max(options_.keep, options_.keep_stale);
    } else if (entry.answer && entry.answer->has_value() && now < entry.usable_until) {
        answer = *entry.answer;  // the old one is better than none
    } else {
        entry.usable_until = entry.until;
    }
    entry.answer = answer;
    auto waiters = std::exchange(entry.waiters, {});
    const std::weak_ptr<bool> alive = alive_;
    for (auto& [ticket, waiter] : waiters) {
        waiter(answer);
        if (alive.expired()) return;
    }
}

// Entries that somebody waits for stay: their number is bounded by the number of calls.
void NameCache::make_room() {
    for (auto place = order_.begin(); entries_.size() >= options_.names && place != order_.end();) {
        const auto found = entries_.find(*place);
        if (found->second.asking) {
            ++place;
            continue;
        }
        if (forgotten_.size() < options_.names) forgotten_.push_back(*place);
        entries_.erase(found);
        place = order_.erase(place);
    }
}

}  // namespace wa::http
