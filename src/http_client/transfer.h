// One call of the HTTP client, from its name look-up to its completion. Loop thread only.
#pragma once

#include <curl/curl.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>

#include "http_client/http_client.h"
#include "http_client/kept_files.h"
#include "http_client/url.h"

namespace wa::http {

class Core;

// What a call needs from the client's options besides its request.
struct TransferSettings {
    std::string user_agent;
    TlsOptions tls;
    std::size_t max_header_bytes = 0;
    long connection_age = 0;  // seconds
    std::shared_ptr<const Proxy> proxy;
    TlsOptions proxy_tls;
};

// An end of a connection: the host of the URL, or the proxy.
struct Place {
    std::string host;
    std::uint16_t port = 0;
    bool is_target = true;
    Addresses addresses;  // none: nothing had to be looked up
    bool wanted = false;  // its addresses are still to be looked up
};

struct FreeList {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, FreeList>;

class Transfer : public std::enable_shared_from_this<Transfer> {
public:
    // `streaming`: the body goes to `reader`.
    Transfer(boost::asio::io_context& loop, std::weak_ptr<Core> core, Request request, StreamReader reader,
             bool streaming, Completion done);
    ~Transfer();
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    // Sets an easy handle up for this call. `remaining`: of its time; `forgotten`: names whose addresses libcurl should
    // drop.
    Result<void> set_up(CURL* easy, const TransferSettings& settings, KeptFiles& files,
                        std::optional<Duration> remaining, const std::vector<std::string>& forgotten);
    // libcurl is done with it; the easy handle may be used for something else after this.
    void ended(CURLcode code);
    void fail_with(Error error);
    // Tells that the call goes out; adds the headers that it is to carry.
    void watch(CallWatch& watch);
    void cancel();
    void resume();

    // The answer is a redirect that is to be followed: then ended() is not called, but follow(), which makes this the
    // call of the next place.
    [[nodiscard]] bool redirected() const { return redirected_; }
    Result<void> follow();

    [[nodiscard]] bool over() const { return over_; }
    [[nodiscard]] const Request& request() const { return request_; }
    [[nodiscard]] bool request_sent() const { return request_sent_; }

    // Kept by the core while it is looking up a name or with libcurl.
    Url url;
    bool by_proxy = false;
    std::vector<Place> places;  // at most two
    CURL* easy = nullptr;
    std::uint64_t name_ticket = 0;
    std::string asked_name;
    MonoTime deadline{};  // epoch = none
    std::optional<boost::asio::steady_timer> name_timer;

private:
    enum class Violation : std::uint8_t { kNone, kBody, kHeaders, kExpansion, kEncoding, kPlace };

    static std::size_t on_header(char* bytes, std::size_t size, std::size_t count, void* self);
    static std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* self);
    static curl_socket_t on_open(void* self, curlsocktype purpose, curl_sockaddr* address);
    static int on_prepared(void* self, char* address, char* own_address, int port, int own_port);
    bool take_header(std::string_view line);
    std::size_t take_body(std::string_view bytes);
    void head_complete();
    Result<void> set_tls(TlsOptions tls, KeptFiles& files);
    // `pem`, or the file when that is empty.
    Result<void> set_pem(CURLoption option, const std::string& pem, const std::string& path, KeptFiles& files);
    // The options of a server's TLS and of a proxy's differ in their names only.
    struct PemOptions {
        CURLoption path;
        CURLoption authority;
        CURLoption certificate;
        CURLoption key;
    };
    Result<void> set_pems(const PemOptions& options, const TlsOptions& tls, KeptFiles& files);
    Result<void> set_headers(const std::string& user_agent);
    Result<void> set_proxy(const TransferSettings& settings, KeptFiles& files);
    void set_method();
    void set_guard();
    void set_addresses(const std::vector<std::string>& forgotten);
    [[nodiscard]] bool is_redirect(int status) const;
    [[nodiscard]] bool encoding_fits() const;
    [[nodiscard]] bool expands_too_much() const;
    void leave_origin();
    [[nodiscard]] std::optional<Error> violation_error() const;
    [[nodiscard]] std::optional<Error> proxy_error() const;
    [[nodiscard]] Error error_of(CURLcode code) const;
    [[nodiscard]] std::string what() const;
    void deliver_soon();
    void deliver();
    bool deliver_stream();
    void tell_end(const Result<Response>& outcome);
    void release();

    boost::asio::io_context& loop_;
    std::weak_ptr<Core> core_;
    Request request_;
    std::shared_ptr<StreamReader> reader_;  // shared: it may give its own call up while it runs
    bool streaming_;
    Completion done_;

    List headers_;
    List proxy_headers_;
    List resolve_;
    List connect_to_;
    std::string shown_proxy_;
    std::array<char, CURL_ERROR_SIZE> error_text_{};
    Response response_;
    std::size_t header_bytes_ = 0;
    std::size_t body_bytes_ = 0;
    std::size_t max_header_bytes_ = 0;
    Violation violation_ = Violation::kNone;
    int redirects_ = 0;
    bool redirected_ = false;
    bool own_origin_ = true;  // no redirect has led elsewhere
    bool request_sent_ = false;
    bool head_complete_ = false;
    bool head_told_ = false;
    bool over_ = false;  // ended and told, or cancelled
    bool delivery_posted_ = false;
    bool reader_full_ = false;  // chunk() said false
    bool curl_paused_ = false;
    std::string held_;  // of a stream, not yet taken
    std::optional<Result<Response>> outcome_;
    std::unique_ptr<WatchedCall> watched_;  // null: nobody watches, or it is over
};

}  // namespace wa::http
