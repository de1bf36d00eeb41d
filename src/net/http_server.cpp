#include "net/http_server.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/host_name.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <condition_variable>
#include <thread>
#include <unordered_map>

#include "base/check.h"
#include "net/connection.h"
#include "net/core.h"

namespace wa::net {
namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using local = asio::local::stream_protocol;

namespace {

// Turned-away connections that are kept a moment so that the caller reads its 503 instead of a reset.
constexpr std::size_t kMaxTurnedAway = 64;
constexpr std::size_t kMaxSocketPath = 107;
constexpr Duration kAcceptPause = std::chrono::milliseconds(100);
constexpr Duration kNoticeEvery = std::chrono::seconds(10);
// Descriptors that stay for everything else in the process: store, tasks, log.
constexpr std::size_t kSpareDescriptors = 256;

Failure bind_failure(const error_code& error, const std::string& where, const std::string& setting) {
    Error result = make_error(ErrorCode::kUnavailable, Retry::kNever, Fault::kWorker, "http",
                              "cannot listen on " + where + ": " + error.message());
    if (error == asio::error::address_in_use) {
        result.code = ErrorCode::kConflict;
        result.message = where + " is taken by another process";
        result.fix = "stop that process, or set " + setting + " to another port (0 = any free one)";
    } else if (error == asio::error::access_denied) {
        result.code = ErrorCode::kNotAllowed;
    }
    result.field = setting;
    return Failure(std::move(result));
}

std::string show(const tcp::endpoint& endpoint) {
    const std::string address = endpoint.address().to_string();
    return (endpoint.address().is_v6() ? "[" + address + "]" : address) + ":" + std::to_string(endpoint.port());
}

Result<tcp::acceptor> listen_tcp(asio::io_context& context, const std::string& host, std::uint16_t port,
                                 const std::string& setting) {
    error_code error;
    tcp::endpoint endpoint;
    const asio::ip::address address = asio::ip::make_address(host, error);
    if (!error) {
        endpoint = tcp::endpoint(address, port);
    } else {
        tcp::resolver resolver(context);
        const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
        if (error || found.empty()) {
            Error failure = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "http",
                                       "\"" + host + "\" is not an address of this machine: " + error.message());
            failure.field = "HTTP_HOST";
            return Failure(std::move(failure));
        }
        endpoint = found.begin()->endpoint();
    }
    tcp::acceptor acceptor(context);
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error && endpoint.address().is_v6() && endpoint.address().is_unspecified()) {
        acceptor.set_option(asio::ip::v6_only(false), error);
    }
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return bind_failure(error, show(endpoint), setting);
    return acceptor;
}

// A file left over by a process that was killed is removed; one that somebody answers on, or that is no socket, is not.
Result<void> clear_socket_path(const std::string& path) {
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0) return {};
    if (!S_ISSOCK(found.st_mode)) {
        return fail(ErrorCode::kConflict, "http", path + " exists and is not a socket; it is left alone");
    }
    asio::io_context context;
    local::socket probe(context);
    error_code error;
    probe.connect(local::endpoint(path), error);
    if (!error) return fail(ErrorCode::kConflict, "http", "another process answers on " + path);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return fail(ErrorCode::kNotAllowed, "http", "cannot remove the stale socket " + path);
    }
    return {};
}

Result<local::acceptor> listen_unix(asio::io_context& context, const std::string& path) {
    if (path.size() > kMaxSocketPath) {
        return invalid("STATE_DIR", "the socket's path has " + std::to_string(path.size()) +
                                        " bytes, the system takes 107: " + path + "; use a shorter state folder");
    }
    WA_CHECKED(clear_socket_path(path));
    error_code error;
    local::acceptor acceptor(context);
    acceptor.open(local(), error);
    // The file gets the mode of the descriptor, so there is no moment at which others may open it.
    if (!error && ::fchmod(acceptor.native_handle(), 0600) != 0) error.assign(errno, boost::system::system_category());
    if (!error) acceptor.bind(local::endpoint(path), error);
    if (!error && ::chmod(path.c_str(), 0600) != 0) error.assign(errno, boost::system::system_category());
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return fail(ErrorCode::kUnavailable, "http", "cannot listen on " + path + ": " + error.message());
    return acceptor;
}

std::string plain_address(const asio::ip::address& address) {
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
        return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
    }
    return address.to_string();
}

bool is_loopback(const asio::ip::address& address) {
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
        return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
    }
    return address.is_loopback();
}

PeerFacts facts_of(const tcp::socket& socket) {
    PeerFacts facts;
    error_code error;
    const tcp::endpoint remote = socket.remote_endpoint(error);
    if (!error) {
        facts.address = plain_address(remote.address());
        facts.loopback = is_loopback(remote.address());
    }
    const tcp::endpoint own = socket.local_endpoint(error);
    if (!error) {
        facts.local_address = plain_address(own.address());
        facts.local_port = std::to_string(own.port());
    }
    return facts;
}

PeerFacts facts_of(const local::socket&) {
    PeerFacts facts;
    facts.peer = Peer::kUnix;
    facts.loopback = true;
    return facts;
}

void tune(tcp::socket& socket) {
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
}
void tune(local::socket&) {}

std::size_t connection_limit(const ServerOptions& options) {
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return options.max_connections;
    const std::size_t apart = kSpareDescriptors + options.max_metrics_connections + options.max_socket_connections;
    const auto allowed = static_cast<std::size_t>(files.rlim_cur);
    return std::min(options.max_connections,
                    allowed > 2 * apart ? allowed - apart : std::max<std::size_t>(allowed / 2, 8));
}

Response too_many_connections() {
    Response response = problem(503, "too many connections; try again in a moment");
    response.headers.emplace_back("Retry-After", "1");
    return response;
}

}  // namespace

class HttpServer::Impl {
public:
    Impl(ServerOptions options, Router api, Router metrics)
        : core_(std::make_shared<Core>(std::move(options))), api_(std::move(api)), metrics_(std::move(metrics)) {}
    ~Impl() { stop(Duration::zero()); }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    Result<void> listen();
    void run();
    void stop(Duration grace);
    [[nodiscard]] const Endpoints& endpoints() const { return endpoints_; }
    [[nodiscard]] const std::shared_ptr<Core>& core() const { return core_; }

private:
    struct Door {
        const Router* router = nullptr;
        std::size_t limit = 0;
        std::size_t open = 0;
    };
    template <class Acceptor>
    void accept(Acceptor& acceptor, Door& door);
    template <class Acceptor>
    void accept_failed(Acceptor& acceptor, Door& door, const error_code& error);
    template <class Socket>
    void welcome(Socket socket, Door& door);
    void turn_away(Connection::Socket socket, Door& door, PeerFacts facts);
    // Takes one waiting connection with the spare descriptor, tells it that it is not welcome now, and frees it again.
    template <class Acceptor>
    void shed_one(Acceptor& acceptor);
    void sweep();
    void begin_drain();
    void close_all();

    std::shared_ptr<Core> core_;
    Router api_;
    Router metrics_;
    Endpoints endpoints_;
    std::optional<tcp::acceptor> api_acceptor_;
    std::optional<tcp::acceptor> metrics_acceptor_;
    std::optional<local::acceptor> socket_acceptor_;
    Door api_door_;
    Door metrics_door_;
    Door socket_door_;
    std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;
    std::size_t turned_away_ = 0;
    MonoTime last_notice_{};
    std::vector<std::unique_ptr<Loop::Timer>> accept_pauses_;
    int spare_descriptor_ = -1;
    struct stat socket_file_{};

    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable empty_;
};

Result<void> HttpServer::Impl::listen() {
    const ServerOptions& options = core_->options;
    const bool one = options.metrics_listener && options.metrics_port == options.port && options.port != 0;
    if (!options.host.empty()) {
        WA_TRY(tcp::acceptor acceptor, listen_tcp(core_->context, options.host, options.port, "HTTP_PORT"));
        endpoints_.host = options.host;
        endpoints_.port = acceptor.local_endpoint().port();
        api_acceptor_.emplace(std::move(acceptor));
        if (one) endpoints_.metrics_port = endpoints_.port;
    }
    if (options.metrics_listener && !one && !options.host.empty()) {
        WA_TRY(tcp::acceptor acceptor,
               listen_tcp(core_->context, options.host, options.metrics_port, "PROMETHEUS_PORT"));
        endpoints_.metrics_port = acceptor.local_endpoint().port();
        metrics_acceptor_.emplace(std::move(acceptor));
    }
    if (!options.socket_path.empty()) {
        WA_TRY(local::acceptor acceptor, listen_unix(core_->context, options.socket_path));
        endpoints_.socket_path = options.socket_path;
        (void)::lstat(options.socket_path.c_str(), &socket_file_);
        socket_acceptor_.emplace(std::move(acceptor));
    }
    api_door_ = {&api_, connection_limit(options), 0};
    metrics_door_ = {&metrics_, options.max_metrics_connections, 0};
    socket_door_ = {&api_, options.max_socket_connections, 0};
    if (api_door_.limit < options.max_connections) {
        core_->notice(Notice::Level::kWarning, "http_connection_limit_lowered",
                      "this process may not open enough files: at most " + std::to_string(api_door_.limit) + " of " +
                          std::to_string(options.max_connections) + " connections are taken");
    }
    spare_descriptor_ = ::dup(STDERR_FILENO);
    return {};
}

void HttpServer::Impl::run() {
    core_->on_sweep = [this] { sweep(); };
    thread_ = std::thread([this] {
        core_->arm();
        if (api_acceptor_) accept(*api_acceptor_, api_door_);
        if (metrics_acceptor_) accept(*metrics_acceptor_, metrics_door_);
        if (socket_acceptor_) accept(*socket_acceptor_, socket_door_);
        for (;;) {
            try {
                core_->context.run();
                return;
            } catch (const std::exception& error) {
                // A handler threw: its Responder has answered 500 on the way out. The others must not suffer for it.
                core_->notice(Notice::Level::kError, "http_handler_exception", error.what());
            }
        }
    });
}

template <class Acceptor>
void HttpServer::Impl::accept(Acceptor& acceptor, Door& door) {
    acceptor.async_accept(
        [this, &acceptor, &door](const error_code& error, typename Acceptor::protocol_type::socket socket) {
            if (error == asio::error::operation_aborted || !acceptor.is_open()) return;
            if (error) return accept_failed(acceptor, door, error);
            welcome(std::move(socket), door);
            accept(acceptor, door);
        });
}

template <class Acceptor>
void HttpServer::Impl::accept_failed(Acceptor& acceptor, Door& door, const error_code& error) {
    // The caller gave up before we came: no reason to pause.
    if (error == asio::error::connection_aborted || error == asio::error::connection_reset)
        return accept(acceptor, door);
    const MonoTime now = core_->now();
    if (last_notice_ == MonoTime{} || now - last_notice_ >= kNoticeEvery) {
        last_notice_ = now;
        core_->notice(Notice::Level::kError, "http_accept_failed",
                      "cannot take new connections: " + error.message() + "; trying again ten times a second");
    }
    if (error == asio::error::no_descriptors) shed_one(acceptor);
    std::erase_if(accept_pauses_, [](const auto& pause) { return pause == nullptr; });
    if (accept_pauses_.size() > 8) accept_pauses_.erase(accept_pauses_.begin());
    accept_pauses_.push_back(core_->after(kAcceptPause, [this, &acceptor, &door] {
        if (acceptor.is_open()) accept(acceptor, door);
    }));
}

template <class Acceptor>
void HttpServer::Impl::shed_one(Acceptor& acceptor) {
    if (spare_descriptor_ < 0) return;
    ::close(spare_descriptor_);
    error_code error;
    {
        typename Acceptor::protocol_type::socket socket(core_->context);
        acceptor.non_blocking(true, error);
        acceptor.accept(socket, error);
        if (!error) {
            ++core_->refused;
            static constexpr std::string_view kBusy =
                "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            socket.non_blocking(true, error);
            socket.write_some(asio::buffer(kBusy), error);
            socket.shutdown(Connection::Socket::shutdown_both, error);
        }
    }
    spare_descriptor_ = ::dup(STDERR_FILENO);
}

template <class Socket>
void HttpServer::Impl::welcome(Socket socket, Door& door) {
    ++core_->accepted;
    PeerFacts facts = facts_of(socket);
    tune(socket);
    if (door.open >= door.limit) return turn_away(Connection::Socket(std::move(socket)), door, std::move(facts));
    ++door.open;
    ++core_->connections;
    auto connection = std::make_shared<Connection>(Connection::Socket(std::move(socket)), core_, *door.router,
                                                   std::move(facts), [this, &door](Connection& gone) {
                                                       --door.open;
                                                       connections_.erase(&gone);
                                                       // Under the lock, so that stop() cannot miss the last one.
                                                       const std::scoped_lock lock(mutex_);
                                                       if (--core_->connections == 0) empty_.notify_all();
                                                   });
    connections_.emplace(connection.get(), connection);
    connection->start();
}

void HttpServer::Impl::turn_away(Connection::Socket socket, Door& door, PeerFacts facts) {
    ++core_->refused;
    if (turned_away_ >= kMaxTurnedAway) {
        error_code ignored;
        static constexpr std::string_view kBusy =
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        socket.non_blocking(true, ignored);
        socket.write_some(asio::buffer(kBusy), ignored);
        socket.shutdown(Connection::Socket::shutdown_both, ignored);
        return;
    }
    ++turned_away_;
    auto connection = std::make_shared<Connection>(std::move(socket), core_, *door.router, std::move(facts),
                                                   [this](Connection& gone) {
                                                       --turned_away_;
                                                       connections_.erase(&gone);
                                                   });
    connections_.emplace(connection.get(), connection);
    connection->turn_away(too_many_connections());
}

void HttpServer::Impl::sweep() {
    const MonoTime now = core_->now();
    std::vector<std::shared_ptr<Connection>> all;  // a connection that ends leaves the table
    all.reserve(connections_.size());
    for (const auto& [key, connection] : connections_)
        all.push_back(connection);
    for (const auto& connection : all)
        connection->sweep(now);
}

void HttpServer::Impl::begin_drain() {
    core_->draining = true;
    error_code ignored;
    if (api_acceptor_) api_acceptor_->close(ignored);
    if (metrics_acceptor_) metrics_acceptor_->close(ignored);
    if (socket_acceptor_) socket_acceptor_->close(ignored);
    accept_pauses_.clear();
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [key, connection] : connections_)
        all.push_back(connection);
    for (const auto& connection : all)
        connection->drain();
    const std::scoped_lock lock(mutex_);
    core_->draining_seen = true;
    empty_.notify_all();
}

void HttpServer::Impl::close_all() {
    std::vector<std::shared_ptr<Connection>> all;
    for (const auto& [key, connection] : connections_)
        all.push_back(connection);
    for (const auto& connection : all)
        connection->close();
}

void HttpServer::Impl::stop(Duration grace) {
    if (thread_.joinable()) {
        WA_CHECK(std::this_thread::get_id() != thread_.get_id(),
                 "the HTTP server cannot be stopped from its own thread");
        core_->post([this] { begin_drain(); });
        {
            std::unique_lock lock(mutex_);
            empty_.wait_for(lock, grace,
                            [this] { return core_->draining_seen.load() && core_->connections.load() == 0; });
        }
        core_->post([this] {
            close_all();
            core_->context.stop();
        });
        thread_.join();
        core_->shut_down();
        // What was posted meanwhile is run to its end, now that nothing new is taken.
        core_->context.restart();
        core_->context.poll();
    }
    if (!endpoints_.socket_path.empty()) {
        struct stat found{};
        const bool ours = ::lstat(endpoints_.socket_path.c_str(), &found) == 0 && found.st_ino == socket_file_.st_ino &&
                          found.st_dev == socket_file_.st_dev;
        if (ours) (void)::unlink(endpoints_.socket_path.c_str());
        endpoints_.socket_path.clear();
    }
    if (spare_descriptor_ >= 0) {
        ::close(spare_descriptor_);
        spare_descriptor_ = -1;
    }
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(ServerOptions options, Router api, Router metrics) {
    error_code ignored;
    const std::string host_name = asio::ip::host_name(ignored);
    if (!host_name.empty()) options.own_names.push_back(host_name);
    options.own_names.push_back(options.host);
    auto impl = std::make_unique<Impl>(std::move(options), std::move(api), std::move(metrics));
    WA_CHECKED(impl->listen());
    impl->run();
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

const Endpoints& HttpServer::endpoints() const {
    return impl_->endpoints();
}
std::shared_ptr<Loop> HttpServer::loop() const {
    return impl_->core();
}
void HttpServer::stop(Duration grace) {
    impl_->stop(grace);
}

ServerStats HttpServer::stats() const {
    const Core& core = *impl_->core();
    return {core.connections.load(), core.accepted.load(), core.refused.load(), core.requests.load(),
            core.body_bytes.load()};
}

}  // namespace wa::net
