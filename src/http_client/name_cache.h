// Addresses of host names: each name is asked for once at a time, answers are kept for a short while. Loop thread only.
//
// libcurl would start a thread for each request to a name (style/stack.md, fact 4); it gets the answer from here.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace wa::http {

using Addresses = std::vector<std::string>;  // as text, IPv6 without brackets; the best first

// Asks somebody for the addresses of a name. Destroying it drops what is under way without a call.
class NameLookup {
public:
    virtual ~NameLookup() = default;
    // `done` is called once, from the loop, never from inside. Names are asked one after the other by the system's
    // resolver: a name whose servers are silent delays the next ones.
    virtual void lookup(const std::string& host, std::function<void(Result<Addresses>)> done) = 0;
};

[[nodiscard]] std::unique_ptr<NameLookup> system_name_lookup(boost::asio::io_context& loop);

struct NameCacheOptions {
    Duration keep = std::chrono::seconds(30);
    // Older answers are still used, for the length of one look-up or while nobody can say better.
    Duration keep_stale = std::chrono::minutes(10);
    Duration keep_failure = std::chrono::seconds(1);
    std::size_t names = 256;
};

class NameCache {
public:
    using Answer = std::function<void(const Result<Addresses>&)>;

    NameCache(std::unique_ptr<NameLookup> lookup, const Clock& clock, NameCacheOptions options);
    ~NameCache();
    NameCache(const NameCache&) = delete;
    NameCache& operator=(const NameCache&) = delete;

    // An answer that is at hand. One that is not fresh any more is asked for again behind the caller's back.
    [[nodiscard]] const Result<Addresses>* find(const std::string& host);
    // Asks, or joins who asks already. `answer` is called from the loop. Returns a ticket for drop().
    std::uint64_t ask(const std::string& host, Answer answer);
    // The answer is not wanted any more; the question goes on for others.
    void drop(const std::string& host, std::uint64_t ticket);
    // The addresses did not work: ask anew next time.
    void forget(const std::string& host);
    // Names that left the cache since the last call: whoever copied their addresses forgets them too.
    [[nodiscard]] std::vector<std::string> take_forgotten();
    [[nodiscard]] std::uint64_t lookups() const { return lookups_; }

private:
    struct Entry {
        std::optional<Result<Addresses>> answer;
        MonoTime until{};         // fresh
        MonoTime usable_until{};  // at all
        bool asking = false;
        std::map<std::uint64_t, Answer> waiters;
        std::list<std::string>::iterator place;  // in order_
    };
    void look_up(const std::string& host, Entry& entry);
    void answered(const std::string& host, Result<Addresses> answer);
    void make_room();

    std::unique_ptr<NameLookup> lookup_;
    const Clock& clock_;
    NameCacheOptions options_;
    std::unordered_map<std::string, Entry> entries_;
    std::list<std::string> order_;  // the longest unused first
    std::vector<std::string> forgotten_;
    std::uint64_t next_ticket_ = 1;
    std::uint64_t lookups_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa::http
