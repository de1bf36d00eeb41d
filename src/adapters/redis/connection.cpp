#include "adapters/redis/connection.h"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <deque>
#include <utility>

#include "core/codec/text.h"

namespace wa::redis {
namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::int32_t kMaxFailures = 1000;

// Answers after which this connection is of no use: another one may lead to the new master, or to a loaded one.
bool ends_connection(std::string_view error) {
    return error.starts_with("LOADING") || error.starts_with("READONLY") || error.starts_with("MASTERDOWN") ||
           error.starts_with("NOAUTH") || error.starts_with("CLUSTERDOWN");
}

}  // namespace

struct Connection::Link {
    explicit Link(asio::io_context& loop) : descriptor(loop) {}

    struct Pending {
        Done done;
        MonoTime until{};
    };

    Connection* owner = nullptr;  // null: nobody listens any more
    redisAsyncContext* context = nullptr;
    asio::posix::stream_descriptor descriptor;
    bool wants_read = false;
    bool wants_write = false;
    bool reading = false;
    bool writing = false;
    bool connected = false;
    bool greeting = false;
    bool gone = false;  // hiredis has freed the context
    std::string why;
    std::deque<Pending> pending;
};

struct Connection::Hooks {
    static Link& link(void* data) { return *static_cast<Link*>(data); }

    static void add_read(void* data) { link(data).wants_read = true; }
    static void del_read(void* data) { link(data).wants_read = false; }
    static void add_write(void* data) { link(data).wants_write = true; }
    static void del_write(void* data) { link(data).wants_write = false; }
    // Before hiredis closes the descriptor.
    static void cleanup(void* data) {
        Link& self = link(data);
        self.gone = true;
        self.context = nullptr;
        if (self.descriptor.is_open()) self.descriptor.release();
    }
    static void on_connect(const redisAsyncContext* context, int status) {
        Link& self = link(context->data);
        if (status == REDIS_OK) {
            self.connected = true;
        } else {
            self.why = context->errstr != nullptr ? context->errstr : "no connection";
        }
    }
    static void on_disconnect(const redisAsyncContext* context, int status) {
        Link& self = link(context->data);
        if (status != REDIS_OK && context->errstr != nullptr) self.why = context->errstr;
    }
    static void on_reply(redisAsyncContext* context, void* raw, void* /*unused*/) {
        Link& self = link(context->data);
        if (self.pending.empty()) return;
        Done done = std::move(self.pending.front().done);
        self.pending.pop_front();
        if (self.owner == nullptr) return;
        if (raw == nullptr) {
            std::string why = self.why;
            if (why.empty() && context->err != 0 && context->errstr != nullptr) why = context->errstr;
            if (why.empty()) why = "the connection ended";
            return self.owner->answered(std::move(done), tl::unexpected(self.owner->unavailable(why)));
        }
        self.owner->answered(std::move(done), read(*static_cast<const redisReply*>(raw), self));
    }
    static Result<Reply> read(const redisReply& raw, Link& self) {
        const auto text = [&] { return std::string(raw.str, raw.len); };
        switch (raw.type) {
            case REDIS_REPLY_STRING:
            case REDIS_REPLY_STATUS: return Reply{Reply::Kind::kText, text(), 0};
            case REDIS_REPLY_INTEGER: return Reply{Reply::Kind::kInteger, {}, raw.integer};
            case REDIS_REPLY_NIL: return Reply{};
            case REDIS_REPLY_ERROR: {
                std::string said = clip(text(), 200);
                // The first error of a greeting is the one that explains.
                const bool greeting = !self.owner->up_;
                if (self.why.empty() && (greeting || ends_connection(said))) self.why = "Redis says: " + said;
                if (said.starts_with("MOVED") || said.starts_with("ASK"))
                    said += " (this is a Redis cluster; the worker needs a single address for all keys)";
                return tl::unexpected(self.owner->unavailable("Redis says: " + said));
            }
            default: return Reply{Reply::Kind::kOther, {}, 0};
        }
    }
};

Connection::Connection(asio::io_context& loop, const Clock& clock, Random& random, RedisAddress address,
                       ConnectionLimits limits, Changed changed)
    : loop_(loop),
      clock_(clock),
      random_(random),
      address_(std::move(address)),
      limits_(limits),
      changed_(std::move(changed)),
      resolver_(loop),
      connect_timer_(loop),
      command_timer_(loop),
      retry_timer_(loop) {}

Connection::~Connection() {
    alive_.reset();
    if (!link_) return;
    link_->owner = nullptr;
    if (link_->context != nullptr) redisAsyncFree(link_->context);
}

std::size_t Connection::pending() const {
    return link_ ? link_->pending.size() : 0;
}

Error Connection::unavailable(const std::string& why) const {
    return make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "redis",
                      "Redis at " + address_.shown() + ": " + why);
}

void Connection::start() {
    connect();
}

void Connection::connect() {
    const std::uint64_t attempt = ++attempt_;
    const std::weak_ptr<bool> alive = alive_;
    connect_timer_.expires_after(limits_.connect);
    connect_timer_.async_wait([this, alive, attempt](const error_code& error) {
        if (error || alive.expired() || attempt != attempt_ || up_) return;
        resolver_.cancel();
        drop("no connection in time");
    });
    if (!address_.unix_socket.empty()) return connect_to({});
    resolver_.async_resolve(
        address_.host, std::to_string(address_.port), asio::ip::tcp::resolver::flags{},
        [this, alive, attempt](const error_code& error, const asio::ip::tcp::resolver::results_type& found) {
            if (alive.expired() || attempt != attempt_) return;
            if (error || found.empty()) return drop("its name has no address: " + error.message());
            auto entry = found.begin();
            std::advance(entry, tries_++ % found.size());
            connect_to(entry->endpoint().address().to_string());
        });
}

// Not called from inside hiredis.
void Connection::connect_to(const std::string& host) {
    redisAsyncContext* const context = address_.unix_socket.empty()
                                           ? redisAsyncConnect(host.c_str(), address_.port)
                                           : redisAsyncConnectUnix(address_.unix_socket.c_str());
    if (context == nullptr) return drop("out of memory");
    if (context->err != 0) {
        const std::string why = context->errstr != nullptr ? context->errstr : "no connection";
        redisAsyncFree(context);
        return drop(why);
    }
    auto link = std::make_shared<Link>(loop_);
    link->owner = this;
    link->context = context;
    context->data = link.get();
    context->ev.data = link.get();
    context->ev.addRead = &Hooks::add_read;
    context->ev.delRead = &Hooks::del_read;
    context->ev.addWrite = &Hooks::add_write;
    context->ev.delWrite = &Hooks::del_write;
    context->ev.cleanup = &Hooks::cleanup;
    link_ = link;
    error_code error;
    link->descriptor.assign(context->c.fd, error);
    if (error) return drop(error.message());
    redisAsyncSetDisconnectCallback(context, &Hooks::on_disconnect);
    redisAsyncSetConnectCallback(context, &Hooks::on_connect);  // asks to write
    arm(link);
}

void Connection::arm(const std::shared_ptr<Link>& link) {
    if (link->gone) return;
    if (link->wants_read && !link->reading) wait(link, false);
    if (link->wants_write && !link->writing) wait(link, true);
}

void Connection::wait(const std::shared_ptr<Link>& link, bool write) {
    using Wait = asio::posix::stream_descriptor;
    (write ? link->writing : link->reading) = true;
    link->descriptor.async_wait(write ? Wait::wait_write : Wait::wait_read, [this, alive = std::weak_ptr<bool>(alive_),
                                                                             link, write](const error_code& error) {
        (write ? link->writing : link->reading) = false;
        if (alive.expired() || link->gone || link != link_ || error == asio::error::operation_aborted) return;
        if (write && link->wants_write) redisAsyncHandleWrite(link->context);
        if (!write && link->wants_read) redisAsyncHandleRead(link->context);
        after_io(link);
    });
}

void Connection::after_io(const std::shared_ptr<Link>& link) {
    if (link->gone || !link->why.empty()) return drop(link->why.empty() ? "the connection ended" : link->why);
    if (link->connected && !std::exchange(link->greeting, link->connected)) greet();
    arm(link);
}

void Connection::greet() {
    const auto step = [this](bool last) { return [this, last](const Result<Reply>& reply) { greeted(reply, last); }; };
    if (!address_.password.empty()) {
        if (address_.username.empty()) {
            send({"AUTH", address_.password}, step(false));
        } else {
            send({"AUTH", address_.username, address_.password}, step(false));
        }
    }
    if (address_.database != 0) send({"SELECT", std::to_string(address_.database)}, step(false));
    send({"PING"}, step(true));
}

void Connection::greeted(const Result<Reply>& reply, bool last) {
    if (!link_ || up_) return;
    if (!reply) return drop(reply.error().message);
    if (!last) return;
    up_ = true;
    failures_ = 0;
    connect_timer_.cancel();
    changed_(true, {});
}

void Connection::command(const std::vector<std::string>& arguments, Done done) {
    if (!up_ || !link_)
        return answered(std::move(done), tl::unexpected(unavailable("there is no connection at the moment")));
    if (link_->pending.size() >= limits_.pending)
        return answered(std::move(done), tl::unexpected(unavailable("too many commands are waiting for an answer")));
    send(arguments, std::move(done));
}

void Connection::send(const std::vector<std::string>& arguments, Done done) {
    if (!link_ || link_->context == nullptr)
        return answered(std::move(done), tl::unexpected(unavailable("the connection ended")));
    std::vector<const char*> texts;
    std::vector<std::size_t> sizes;
    for (const std::string& argument : arguments) {
        texts.push_back(argument.data());
        sizes.push_back(argument.size());
    }
    if (redisAsyncCommandArgv(link_->context, &Hooks::on_reply, nullptr, static_cast<int>(texts.size()), texts.data(),
                              sizes.data()) != REDIS_OK)
        return answered(std::move(done), tl::unexpected(unavailable("the connection is ending")));
    link_->pending.push_back({std::move(done), clock_.now() + limits_.command});
    arm(link_);
    arm_command_timer();
}

void Connection::answered(Done done, Result<Reply> reply) {
    asio::post(loop_, [alive = std::weak_ptr<bool>(alive_), done = std::move(done), reply = std::move(reply)] {
        if (!alive.expired()) done(reply);
    });
}

// All commands have the same time, so the oldest is the first to be late.
void Connection::arm_command_timer() {
    if (command_timer_armed_ || !link_ || link_->pending.empty()) return;
    command_timer_armed_ = true;
    command_timer_.expires_after(
        std::max<Duration>(std::chrono::milliseconds(1), link_->pending.front().until - clock_.now()));
    command_timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const error_code& error) {
        if (error || alive.expired()) return;
        command_timer_armed_ = false;
        if (link_ && !link_->pending.empty() && link_->pending.front().until <= clock_.now())
            return drop("no answer in time");
        arm_command_timer();
    });
}

// Not called from inside hiredis.
void Connection::drop(const std::string& why) {
    ++attempt_;
    connect_timer_.cancel();
    if (const auto link = std::exchange(link_, nullptr)) {
        if (link->why.empty()) link->why = why;
        if (link->context != nullptr) redisAsyncFree(link->context);  // fails what is pending
        link->owner = nullptr;
    }
    reconnect_later(why);
}

void Connection::reconnect_later(const std::string& why) {
    up_ = false;
    failures_ = std::min(failures_ + 1, kMaxFailures);
    retry_timer_.expires_after(next_backoff(limits_.backoff, failures_, std::nullopt, random_));
    retry_timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const error_code& error) {
        if (!error && !alive.expired()) connect();
    });
    changed_(false, why);
}

}  // namespace wa::redis
