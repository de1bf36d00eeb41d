#include "adapters/redis/redis_leases.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <iterator>
#include <utility>

#include "adapters/redis/lease_value.h"

namespace wa {
namespace asio = boost::asio;
using redis::Reply;

namespace {

// Each on one key. "Ours" is the whole value: nobody touches what somebody else has written.
constexpr const char* kGiveBack =
    "if redis.call('GET',KEYS[1])==ARGV[1] then return redis.call('DEL',KEYS[1]) end return 0";
constexpr const char* kTakeOver =
    "local v=redis.call('GET',KEYS[1]) "
    "if not v or v==ARGV[1] then redis.call('SET',KEYS[1],ARGV[2],'EX',ARGV[3]) return 1 end return 0";
// 1: renewed; 2: it had run out and is ours again; 0: somebody else's.
constexpr const char* kRenew =
    "local v=redis.call('GET',KEYS[1]) "
    "if v==ARGV[1] then redis.call('EXPIRE',KEYS[1],ARGV[2]) return 1 end "
    "if not v then redis.call('SET',KEYS[1],ARGV[1],'EX',ARGV[2]) return 2 end return 0";
// COMPLETED, also another implementation's, is not overwritten by anything less.
constexpr const char* kMark =
    "local v=redis.call('GET',KEYS[1]) "
    "if v and ARGV[3]=='0' and (string.sub(v,1,1)~='{' or string.find(v,'\"status\":\"COMPLETED\"',1,true)) then "
    "return 0 end redis.call('SET',KEYS[1],ARGV[1],'EX',ARGV[2]) return 1";

constexpr std::size_t kWritesAtOnce = 200;
constexpr std::size_t kAsksAtOnce = 200;  // three commands each
constexpr std::size_t kMaxTicketIdBytes = 512;

std::string seconds_text(Duration duration) {
    return std::to_string(
        std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(duration).count()));
}

std::string last_byte() {
    return std::to_string(redis::kMaxValueBytes - 1);
}

}  // namespace

struct RedisTicketLeases::Asked {
    std::string ticket_id;
    LeasePosition position;
    std::string value;
    std::uint64_t number = 0;
    Done done;
    int open = 0;  // answers to come
    std::optional<Error> error;
    bool set = false;        // the lease is ours
    std::string ending;      // what stands under "processed"
    std::string held_value;  // and under "processing"
    std::shared_ptr<WatchedCall> watched;
};

RedisTicketLeases::RedisTicketLeases(asio::io_context& loop, const Clock& clock, Random& random, RedisAddress address,
                                     RedisLeasesOptions options, RedisListener& listener)
    : loop_(loop),
      clock_(clock),
      host_(address.unix_socket.empty() ? address.host : address.unix_socket),
      port_(address.unix_socket.empty() ? address.port : std::uint16_t{0}),
      options_(std::move(options)),
      listener_(listener),
      connection_(loop, clock, random, std::move(address), options_.limits,
                  [this](bool up, const std::string& why) { changed(up, why); }),
      renewal_timer_(loop) {
    connection_.start();
}

RedisTicketLeases::~RedisTicketLeases() = default;

std::shared_ptr<WatchedCall> RedisTicketLeases::watch(const char* name, const char* command,
                                                      const std::string& ticket_id) {
    if (options_.watch == nullptr) return nullptr;
    OutgoingCall call;
    call.protocol = OutgoingCall::Protocol::kRedis;
    call.method = command;
    call.host = host_;
    call.port = port_;
    CarriedHeaders nowhere;  // Redis passes nothing on
    return options_.watch->begin({name, ticket_id}, call, nowhere);
}

void RedisTicketLeases::command(const char* name, const std::string& ticket_id,
                                const std::vector<std::string>& arguments, redis::Connection::Done done) {
    auto watched = watch(name, arguments.front().c_str(), ticket_id);
    if (!watched) return connection_.command(arguments, std::move(done));
    connection_.command(arguments, [watched = std::move(watched), done = std::move(done)](const Result<Reply>& reply) {
        watched->ended({{}, reply ? nullptr : &reply.error()});
        done(reply);
    });
}

bool RedisTicketLeases::idle() const {
    return connection_.pending() == 0 && waiting_.empty() && writing_ == 0 && asks_.empty();
}

void RedisTicketLeases::changed(bool up, const std::string& why) {
    if (told_up_ != up) {
        told_up_ = up;
        listener_.redis_changed(up, why);
    }
    if (!up) {
        for (const auto& asked : std::exchange(asks_, {}))
            unavailable(asked, why);
        return;
    }
    // What we hold may have run out, or was never written.
    const MonoTime now = clock_.now();
    renewals_.clear();
    for (const auto& [id, lease] : leases_) {
        if (!lease.asking) renewals_.push_back({now, id, lease.number});
    }
    write_waiting();
    renew_due();
}

// ------------------------------------------------------------ taking a lease

void RedisTicketLeases::acquire(std::string ticket_id, LeasePosition position, Done done) {
    if (const auto found = leases_.find(ticket_id); found != leases_.end())
        return answer_soon(std::move(done), {ticket_id, LeaseState::kHeldHere, found->second.note, {}});
    // An ending of ours that Redis does not know yet.
    if (const auto found = waiting_.find(ticket_id);
        found != waiting_.end() && found->second.ending && redis::suppresses(*found->second.ending, position))
        return answer_soon(std::move(done), {ticket_id, LeaseState::kProcessed, *found->second.ending, {}});
    if (ticket_id.empty() || ticket_id.size() > kMaxTicketIdBytes)
        return answer_soon(std::move(done), {ticket_id, LeaseState::kUnavailable, {}, "this cannot be a ticket's id"});
    Lease& lease = leases_[ticket_id];
    // Rises: no two leases of this process have the same value, so that giving one back never takes another.
    last_at_ = std::max(last_at_ + 1, clock_.wall_now());
    lease.note = {options_.worker, "RUNNING", position, last_at_};
    lease.value = redis::write_note(lease.note);
    lease.number = next_number_++;
    auto asked = std::make_shared<Asked>();
    asked->ticket_id = std::move(ticket_id);
    asked->position = std::move(position);
    asked->value = lease.value;
    asked->number = lease.number;
    asked->done = std::move(done);
    if (!connection_.up() || asks_.size() >= options_.waiting)
        return unavailable(asked, connection_.up() ? "too many tickets ask for a lease" : "Redis is away");
    asks_.push_back(std::move(asked));
    ask_next();
}

void RedisTicketLeases::ask_next() {
    while (asking_ < kAsksAtOnce && !asks_.empty()) {
        const auto asked = std::move(asks_.front());
        asks_.pop_front();
        ask(asked);
    }
}

void RedisTicketLeases::ask(const std::shared_ptr<Asked>& asked) {
    ++asking_;
    asked->open = 3;
    asked->watched = watch("redis.acquire_lease", "SET", asked->ticket_id);
    const auto note = [this, asked](const Result<Reply>& reply, auto take) {
        if (reply) {
            take(*reply);
        } else if (!asked->error) {
            asked->error = reply.error();
        }
        if (--asked->open > 0) return;
        --asking_;
        if (asked->watched) asked->watched->ended({{}, asked->error ? &*asked->error : nullptr});
        judge(asked);
        ask_next();
    };
    connection_.command(
        {"SET", redis::processing_key(asked->ticket_id), asked->value, "NX", "EX", seconds_text(options_.lease_life)},
        [asked, note](const Result<Reply>& reply) {
            note(reply, [&](const Reply& said) { asked->set = said.kind == Reply::Kind::kText; });
        });
    connection_.command({"GETRANGE", redis::processed_key(asked->ticket_id), "0", last_byte()},
                        [asked, note](const Result<Reply>& reply) {
                            note(reply, [&](const Reply& said) { asked->ending = said.text; });
                        });
    connection_.command({"GETRANGE", redis::processing_key(asked->ticket_id), "0", last_byte()},
                        [asked, note](const Result<Reply>& reply) {
                            note(reply, [&](const Reply& said) { asked->held_value = said.text; });
                        });
}

void RedisTicketLeases::judge(const std::shared_ptr<Asked>& asked) {
    const auto found = leases_.find(asked->ticket_id);
    const bool wanted = found != leases_.end() && found->second.number == asked->number;
    if (!wanted) {  // released meanwhile
        if (asked->set) write(asked->ticket_id, {std::nullopt, asked->value});
        return answer_soon(std::move(asked->done),
                           {asked->ticket_id, LeaseState::kUnavailable, {}, "it was given back meanwhile"});
    }
    if (asked->error) return unavailable(asked, asked->error->message);
    if (!asked->ending.empty()) {
        LeaseNote ending = redis::read_note(asked->ending);
        if (redis::suppresses(ending, asked->position)) {
            if (asked->set) write(asked->ticket_id, {std::nullopt, asked->value});
            return not_acquired(asked, LeaseState::kProcessed, std::move(ending));
        }
    }
    // Also when an earlier try set it and its answer was lost.
    if (asked->set || asked->held_value == asked->value) return acquired(asked);
    LeaseNote holder = redis::read_note(asked->held_value);
    // Of an earlier process of our name, or of a request whose answer was lost: this process does not hold it.
    const bool own_name = !options_.worker.empty() && holder.worker == options_.worker;
    // Of the last owner of this very record's partition: it is ours now, so that whatever it still does is void
    // (cluster-rule 1). A worker that was killed must not hold its tickets up for as long as a lease lives.
    const bool same_record = holder.position.offset >= 0 && holder.position == asked->position;
    if (own_name || same_record) return take_over(asked, asked->held_value, holder);
    not_acquired(asked, LeaseState::kHeld, std::move(holder));
}

void RedisTicketLeases::acquired(const std::shared_ptr<Asked>& asked) {
    Lease& lease = leases_.at(asked->ticket_id);
    lease.asking = false;
    schedule_renewal(asked->ticket_id, lease.number);
    answer_soon(std::move(asked->done), {asked->ticket_id, LeaseState::kAcquired, lease.note, {}});
}

void RedisTicketLeases::take_over(const std::shared_ptr<Asked>& asked, const std::string& old_value,
                                  const LeaseNote& holder) {
    command("redis.take_over_lease", asked->ticket_id,
            {"EVAL", kTakeOver, "1", redis::processing_key(asked->ticket_id), old_value, asked->value,
             seconds_text(options_.lease_life)},
            [this, asked, holder](const Result<Reply>& reply) {
                const auto found = leases_.find(asked->ticket_id);
                const bool wanted = found != leases_.end() && found->second.number == asked->number;
                const bool taken = reply && reply->integer == 1;
                if (!wanted) {
                    if (taken) write(asked->ticket_id, {std::nullopt, asked->value});
                    return answer_soon(std::move(asked->done),
                                       {asked->ticket_id, LeaseState::kUnavailable, {}, "it was given back meanwhile"});
                }
                if (!reply) return unavailable(asked, reply.error().message);
                if (taken) return acquired(asked);
                not_acquired(asked, LeaseState::kHeld, holder);
            });
}

void RedisTicketLeases::not_acquired(const std::shared_ptr<Asked>& asked, LeaseState state, LeaseNote note) {
    leases_.erase(asked->ticket_id);
    answer_soon(std::move(asked->done), {asked->ticket_id, state, std::move(note), {}});
}

// The ticket runs without. The lease is taken when Redis is back, unless somebody else has it by then.
void RedisTicketLeases::unavailable(const std::shared_ptr<Asked>& asked, const std::string& why) {
    const auto found = leases_.find(asked->ticket_id);
    if (found != leases_.end() && found->second.number == asked->number) {
        found->second.asking = false;
        schedule_renewal(asked->ticket_id, asked->number);
    }
    if (connection_.up())
        listener_.redis_refused(
            make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "redis", why));
    answer_soon(std::move(asked->done), {asked->ticket_id, LeaseState::kUnavailable, {}, why});
}

void RedisTicketLeases::answer_soon(Done done, LeaseAnswer answer) {
    asio::post(loop_, [alive = std::weak_ptr<bool>(alive_), done = std::move(done), answer = std::move(answer)] {
        if (!alive.expired()) done(answer);
    });
}

// ------------------------------------------------------------ giving it back

void RedisTicketLeases::release(const std::string& ticket_id) {
    const auto found = leases_.find(ticket_id);
    if (found == leases_.end()) return;
    Waiting what{std::nullopt, std::move(found->second.value)};
    const bool asking = found->second.asking;
    leases_.erase(found);
    if (!asking) write(ticket_id, std::move(what));  // else its answer will find out
}

void RedisTicketLeases::mark_processed(const std::string& ticket_id, TicketStatus status, LeasePosition position) {
    if (ticket_id.empty() || ticket_id.size() > kMaxTicketIdBytes) return;
    Waiting what;
    what.ending = LeaseNote{options_.worker, std::string(to_string(status)), std::move(position), clock_.wall_now()};
    const auto found = leases_.find(ticket_id);
    if (found != leases_.end()) {
        what.give_back = std::move(found->second.value);
        leases_.erase(found);
    }
    write(ticket_id, std::move(what));
}

void RedisTicketLeases::write(const std::string& ticket_id, Waiting what) {
    if (!connection_.up() || writing_ >= kWritesAtOnce) return keep(ticket_id, what);
    ++writing_;
    if (what.ending) {
        write_ending(ticket_id, what);
    } else {
        write_give_back(ticket_id, what);
    }
}

void RedisTicketLeases::write_ending(const std::string& ticket_id, const Waiting& what) {
    const bool completed = what.ending->status == to_string(TicketStatus::kCompleted);
    command("redis.mark_processed", ticket_id,
            {"EVAL", kMark, "1", redis::processed_key(ticket_id), redis::write_note(*what.ending),
             seconds_text(options_.ending_life), completed ? "1" : "0"},
            [this, ticket_id, what](const Result<Reply>& reply) {
                if (!reply) {
                    --writing_;
                    failed(ticket_id, what, reply.error());
                    return write_waiting();
                }
                write_give_back(ticket_id, {std::nullopt, what.give_back});
            });
}

void RedisTicketLeases::write_give_back(const std::string& ticket_id, const Waiting& what) {
    if (what.give_back.empty()) {
        --writing_;
        return write_waiting();
    }
    command("redis.give_lease_back", ticket_id,
            {"EVAL", kGiveBack, "1", redis::processing_key(ticket_id), what.give_back},
            [this, ticket_id, what](const Result<Reply>& reply) {
                --writing_;
                if (!reply) failed(ticket_id, what, reply.error());
                write_waiting();
            });
}

// While Redis is up it has refused: then trying again would only repeat that.
void RedisTicketLeases::failed(const std::string& ticket_id, const Waiting& what, const Error& why) {
    if (connection_.up()) return listener_.redis_refused(why);
    keep(ticket_id, what);
}

void RedisTicketLeases::keep(const std::string& ticket_id, const Waiting& what) {
    auto found = waiting_.find(ticket_id);
    if (found == waiting_.end()) {
        if (waiting_.size() >= options_.waiting) return listener_.note_dropped(ticket_id);
        found = waiting_.try_emplace(ticket_id).first;
    }
    Waiting& kept = found->second;
    const bool completed_before = kept.ending && kept.ending->status == to_string(TicketStatus::kCompleted);
    if (what.ending && !completed_before) kept.ending = what.ending;
    if (!what.give_back.empty()) kept.give_back = what.give_back;
}

void RedisTicketLeases::write_waiting() {
    while (connection_.up() && writing_ < kWritesAtOnce && !waiting_.empty()) {
        auto entry = waiting_.extract(waiting_.begin());
        write(entry.key(), std::move(entry.mapped()));
    }
}

// ------------------------------------------------------------ renewing

void RedisTicketLeases::schedule_renewal(const std::string& ticket_id, std::uint64_t number) {
    renewals_.push_back({clock_.now() + options_.renew_interval, ticket_id, number});
    if (renewals_.size() == 1) arm_renewal();
}

void RedisTicketLeases::arm_renewal() {
    if (renewals_.empty()) return;
    const Duration wait = renewals_.front().due - clock_.now();
    renewal_timer_.expires_after(std::max<Duration>(std::chrono::milliseconds(10), wait));
    renewal_timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
        if (!error && !alive.expired()) renew_due();
    });
}

void RedisTicketLeases::renew_due() {
    const MonoTime now = clock_.now();
    while (!renewals_.empty() && renewals_.front().due <= now && connection_.up() && writing_ < kWritesAtOnce) {
        const Renewal renewal = std::move(renewals_.front());
        renewals_.pop_front();
        const auto found = leases_.find(renewal.ticket_id);
        if (found == leases_.end() || found->second.number != renewal.number) continue;
        renew(renewal.ticket_id, found->second);
    }
    // While it is down nothing is due: coming back renews everything.
    if (connection_.up()) arm_renewal();
}

void RedisTicketLeases::renew(const std::string& ticket_id, const Lease& lease) {
    ++writing_;
    command("redis.renew_lease", ticket_id,
            {"EVAL", kRenew, "1", redis::processing_key(ticket_id), lease.value, seconds_text(options_.lease_life)},
            [this, ticket_id, number = lease.number](const Result<Reply>& reply) {
                --writing_;
                renewed(ticket_id, number, reply);
                renew_due();
            });
}

void RedisTicketLeases::renewed(const std::string& ticket_id, std::uint64_t number, const Result<Reply>& reply) {
    const auto found = leases_.find(ticket_id);
    if (found == leases_.end() || found->second.number != number) return;
    if (!reply && connection_.up()) listener_.redis_refused(reply.error());
    if (!reply || reply->integer != 0) return schedule_renewal(ticket_id, number);
    leases_.erase(found);
    look_at_holder(ticket_id);
}

void RedisTicketLeases::look_at_holder(const std::string& ticket_id) {
    connection_.command({"GETRANGE", redis::processing_key(ticket_id), "0", last_byte()},
                        [this, ticket_id](const Result<Reply>& reply) {
                            listener_.lease_lost(ticket_id, reply ? redis::read_note(reply->text) : LeaseNote{});
                        });
}

}  // namespace wa
