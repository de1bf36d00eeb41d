// HTTP client on the event loop: libcurl's multi interface, its sockets and its timer served by Asio.
//
// Threading: everything on the io_context's one thread. Nothing is called from inside send(), stream() or a destructor;
// every callback comes from the loop on its own, so it may destroy its call or the whole client.
// What it does only when a request asks for it: follow redirects (itself, so that each place is checked like the
// first), undo gzip, speak HTTP/2, keep to the places that a guard allows. What it does only when the client was made
// so: use a proxy. What it never does: look at the environment or a .netrc file, speak anything but http and https,
// start a thread for a name (names are looked up once, by Asio's resolver, and kept for a short while). Certificates
// are read again when their files change; connections made with older ones are not used any more.
// Errors: kUnavailable (cannot be reached, broken off; retryable), kTimeout (retryable), kNotAllowed (TLS refused,
// place refused by the guard, call refused by the proxy, redirect to a weaker scheme; not retryable), kLimitExceeded
// (answer too large, too many redirects; too many calls, which is retryable), kMalformed (not HTTP), kInvalidArgument
// (the request). An answer of any status is a Response, not an error. Messages name method, host and path, never
// credentials, queries, headers or bodies. Whoever watches calls (ClientOptions::watch) is told of each one that passes
// these checks, and may add headers. Rules: style/stack.md section 4.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "core/trace/call_watch.h"
#include "http_client/egress_guard.h"
#include "http_client/name_cache.h"
#include "http_client/proxy.h"

namespace wa::http {

struct Header {
    std::string name{};
    std::string value{};

    friend bool operator==(const Header&, const Header&) = default;
};

struct TlsOptions {
    bool verify = true;         // certificate and host name
    std::string ca_file{};      // PEM; empty = what the machine trusts
    std::string client_cert{};  // PEM, with the chain; needs client_key
    std::string client_key{};   // PEM
    // The same as texts that are at hand. One that is not empty wins over its file. A connection that was made with
    // another authority or certificate is not used.
    std::string ca_pem{};
    std::string client_cert_pem{};
    std::string client_key_pem{};

    friend bool operator==(const TlsOptions&, const TlsOptions&) = default;
};

struct Request {
    std::string method = "GET";
    // http or https. "user:password@" becomes an Authorization header, unless `headers` has one.
    std::string url{};
    std::vector<Header> headers{};
    std::string body{};
    Duration connect_timeout = std::chrono::seconds(5);  // name, TCP and TLS
    Duration timeout = std::chrono::seconds(10);         // the whole call, from send(); zero = none (streams)
    Duration silence_timeout{};                          // no byte for so long, to a few seconds; zero = none
    std::size_t max_response_bytes = 1ULL << 20U;        // of the body
    std::string unix_socket{};                           // path; then the URL's host is only the Host header
    std::optional<TlsOptions> tls{};                     // in place of the client's
    // A connection kept from an earlier call may turn out to be dead; the call is then sent once more on a new one.
    // True = only a new connection, so that the other side gets the request at most once.
    bool fresh_connection = false;
    CallPurpose purpose{};  // for those who watch
    // On https: HTTP/2 when the server offers it (ALPN), else HTTP/1.1. One call at a time on a connection all the
    // same.
    bool http2 = false;
    // So many redirects are followed: of GET and HEAD, and 303 after anything, as GET. Any other redirect is an answer
    // like others. Never from https to http. On the way to another scheme, host or port, credentials, the client's
    // certificate and all headers that are not known to be harmless stay behind. Not over a Unix socket.
    int max_redirects = 0;
    // Says that gzip and deflate are welcome, and undoes them; the limit of the body then counts what comes out. An
    // answer whose body becomes larger than 1 MiB and more than max_expansion times what came in is refused.
    bool decompress = false;
    std::size_t max_expansion = 200;
    // For places that came out of a ticket. With a proxy, the proxy is then given the checked address, not the name.
    std::shared_ptr<const EgressGuard> guard{};
};

struct Response {
    int status = 0;
    std::vector<Header> headers{};  // names in lower case
    std::string body{};
    int http_version = 11;  // 10, 11, 20

    // The first value of a header, empty when there is none. `name` in lower case.
    [[nodiscard]] std::string_view header(std::string_view name) const;
};

// What a Retry-After header asks for (seconds or a date), or GitHub's X-RateLimit-Reset when nothing remains; at most
// one hour.
[[nodiscard]] std::optional<std::chrono::milliseconds> retry_after(const Response& response, EpochMillis now);

using Completion = std::function<void(Result<Response>)>;

// A body that is handed on as it comes.
struct StreamReader {
    std::function<void(const Response&)> head{};  // once, before the first bytes; may be empty
    // False: nothing more until Call::resume(). The other side is slowed down; at most some 64 KiB are held meanwhile.
    std::function<bool(std::string_view)> chunk{};
};

class Transfer;

// A call under way. Destroying it cancels: nothing is called any more. Empty after a move.
class [[nodiscard]] Call {
public:
    Call() = default;
    explicit Call(std::shared_ptr<Transfer> transfer) : transfer_(std::move(transfer)) {}
    Call(Call&& other) noexcept : transfer_(std::move(other.transfer_)) {}
    Call& operator=(Call&& other) noexcept;
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call();

    void cancel();
    // After chunk() said false.
    void resume();
    // Neither ended nor cancelled.
    [[nodiscard]] bool active() const;
    // A connection was ready and the request began to go out on it: from here on the other side may have acted upon it,
    // whatever the outcome says. To be asked before cancel(); false after a move.
    [[nodiscard]] bool request_sent() const;

private:
    std::shared_ptr<Transfer> transfer_;
};

struct ClientOptions {
    std::string user_agent = "worker-agents";
    TlsOptions tls{};
    long idle_connections = 64;                // kept for later calls
    long connections = 1024;                   // at a time; further calls wait for one
    long connections_per_host = 0;             // 0 = as many as above
    std::size_t calls = 8192;                  // in hand; more are refused
    std::size_t max_header_bytes = 65'536;     // of an answer, all header lines together
    std::chrono::seconds connection_age{300};  // older ones are closed when their call ends: addresses change
    NameCacheOptions names{};
    CallWatch* watch = nullptr;            // must outlive the client; null = nobody
    std::shared_ptr<const Proxy> proxy{};  // null = none
    TlsOptions proxy_tls{};                // for a proxy with https://
};

struct ClientStats {
    std::uint64_t calls = 0;        // begun
    std::uint64_t connections = 0;  // made
    std::uint64_t lookups = 0;      // of names, really asked
    std::size_t in_flight = 0;
};

class Client {
public:
    // `loop` and `clock` must outlive the client; calls and callbacks need not be gone when it is destroyed.
    // `lookup` answers for names; empty = the system's resolver.
    Client(boost::asio::io_context& loop, const Clock& clock, ClientOptions options,
           std::unique_ptr<NameLookup> lookup = nullptr);
    // Cancels everything; no callback comes after it.
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // `done` is called once, unless the call is cancelled before.
    Call send(Request request, Completion done);
    // The same with the body given to `reader` as it comes; the final Response has an empty body. `done` comes after
    // the last chunk was taken.
    Call stream(Request request, StreamReader reader, Completion done);
    [[nodiscard]] ClientStats stats() const;

private:
    std::shared_ptr<class Core> core_;
};

}  // namespace wa::http
