// One call of the HTTP client, from its name look-up to its completion. Loop thread only.
#pragma once

#include <curl/curl.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>

#include "http_client/http_client.h"
#include "http_client/tls_files.h"
#include "http_client/url.h"

namespace wa::http {

class Core;

// What a call needs from the client's options besides its request.
struct TransferSettings {
    std::string user_agent;
    TlsOptions tls;
    std::size_t max_header_bytes = 0;
    long connection_age = 0;  // seconds
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

    // Sets an easy handle up for this call. `remaining`: of its time; `addresses` may be null (nothing to look up);
    // `forgotten`: names whose addresses libcurl should drop.
    Result<void> set_up(CURL* easy, const TransferSettings& settings, TlsFiles& files,
                        std::optional<Duration> remaining, const Addresses* addresses,
                        const std::vector<std::string>& forgotten);
    // libcurl is done with it; the easy handle may be used for something else after this.
    void ended(CURLcode code);
    void fail_with(Error error);
    // Tells that the call goes out; adds the headers that it is to carry.
    void watch(CallWatch& watch);
    void cancel();
    void resume();

    [[nodiscard]] bool over() const { return over_; }
    [[nodiscard]] const Request& request() const { return request_; }

    // Kept by the core while it is looking up a name or with libcurl.
    Url url;
    CURL* easy = nullptr;
    std::uint64_t name_ticket = 0;
    MonoTime deadline{};  // epoch = none
    std::optional<boost::asio::steady_timer> name_timer;

private:
    enum class Violation : std::uint8_t { kNone, kBody, kHeaders };

    static std::size_t on_header(char* bytes, std::size_t size, std::size_t count, void* self);
    static std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* self);
    bool take_header(std::string_view line);
    std::size_t take_body(std::string_view bytes);
    void head_complete();
    Result<void> set_tls(const TlsOptions& tls, TlsFiles& files);
    Result<void> set_file(CURLoption option, const std::string& path, TlsFiles& files);
    Result<void> set_headers(const std::string& user_agent);
    void set_method();
    void set_addresses(const Addresses* addresses, const std::vector<std::string>& forgotten);
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
    List resolve_;
    std::array<char, CURL_ERROR_SIZE> error_text_{};
    Response response_;
    std::size_t header_bytes_ = 0;
    std::size_t body_bytes_ = 0;
    std::size_t max_header_bytes_ = 0;
    Violation violation_ = Violation::kNone;
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
