// The only includer of libcurl in this folder.
#include "cli/api_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <boost/json/value.hpp>
#include <cctype>
#include <filesystem>
#include <system_error>

#include "cli/text.h"
#include "config/values.h"
#include "core/codec/json_limits.h"

namespace wa::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kShownErrors = 20;
constexpr std::size_t kShownText = 2000;

struct GlobalCurl {
    GlobalCurl() { ::curl_global_init(CURL_GLOBAL_DEFAULT); }
    ~GlobalCurl() { ::curl_global_cleanup(); }
    GlobalCurl(const GlobalCurl&) = delete;
    GlobalCurl& operator=(const GlobalCurl&) = delete;
};
struct EasyEnd {
    void operator()(CURL* handle) const { ::curl_easy_cleanup(handle); }
};
struct MultiEnd {
    void operator()(CURLM* handle) const { ::curl_multi_cleanup(handle); }
};
struct ListEnd {
    void operator()(curl_slist* list) const { ::curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, EasyEnd>;
using Multi = std::unique_ptr<CURLM, MultiEnd>;
using List = std::unique_ptr<curl_slist, ListEnd>;

// libcurl's own words name a host and a port that a socket has not.
Error no_socket(const Server& server) {
    const std::filesystem::path path(server.socket_path);
    std::error_code ignored;
    const bool there = std::filesystem::exists(path, ignored);
    Error error = make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "connect",
                             "cannot reach a worker at " + server.label + ": " +
                                 (there ? "nobody answers on this socket" : "there is no such socket"));
    error.fix = "start a worker: worker-agents dev";
    if (path.filename() == "api.sock" && path.has_parent_path())
        error.fix += " --state-dir " + path.parent_path().string();
    return error;
}

Error connect_error(const Server& server, std::string why) {
    if (!server.socket_path.empty()) return no_socket(server);
    Error error = make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "connect",
                             "cannot reach a worker at " + server.label + ": " + std::move(why));
    error.fix = server.found_by == "--server"
                    ? "check the address; a worker on this machine is started by: worker-agents dev"
                    : "start one: worker-agents dev (or name it: --server, --state-dir)";
    return error;
}

Error interrupted() {
    return make_error(ErrorCode::kCancelled, Retry::kNever, Fault::kTask, "cli", "interrupted");
}

bool is_no_connection(CURLcode code) {
    return code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY ||
           code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PEER_FAILED_VERIFICATION ||
           code == CURLE_SSL_CACERT_BADFILE;
}

// One transfer under way: handle, headers, what has arrived.
class Transfer {
public:
    Transfer(const Server& server, const ApiOptions& options) : server_(server), options_(options) {}
    ~Transfer() {
        if (multi_ && easy_) ::curl_multi_remove_handle(multi_.get(), easy_.get());
    }
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    Result<void> start(std::string_view method, std::string_view target, std::string_view body,
                       std::string_view content_type, std::string_view last_event_id, bool whole) {
        easy_.reset(::curl_easy_init());
        multi_.reset(::curl_multi_init());
        if (!easy_ || !multi_) return fail(ErrorCode::kInternal, "cli", "libcurl could not be started");
        url_ = server_.base_url + std::string(target);
        limit_ = whole ? options_.max_body : 0;
        CURL* easy = easy_.get();
        ::curl_easy_setopt(easy, CURLOPT_URL, url_.c_str());
        ::curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        ::curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        ::curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
        ::curl_easy_setopt(easy, CURLOPT_USERAGENT, options_.user_agent.c_str());
        ::curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                           count(std::min(options_.connect_time, options_.request_time)));
        if (whole) ::curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, count(options_.request_time));
        ::curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::take);
        ::curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
        ::curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, said_.data());
        if (!server_.socket_path.empty())
            ::curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, server_.socket_path.c_str());
        if (is_near()) ::curl_easy_setopt(easy, CURLOPT_PROXY, "");
        if (method == "POST") {
            ::curl_easy_setopt(easy, CURLOPT_POST, 1L);
            ::curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
            ::curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
        } else if (method != "GET") {
            method_ = method;
            ::curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method_.c_str());
        }
        add_header("Accept: application/json, application/problem+json, text/plain, text/event-stream");
        if (method == "POST") {
            add_header("Content-Type: " + std::string(content_type));
            add_header("Expect:");
        }
        if (!server_.token.empty()) add_header("Authorization: Bearer " + server_.token);
        if (!last_event_id.empty()) add_header("Last-Event-ID: " + std::string(last_event_id));
        ::curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_.get());
        if (::curl_multi_add_handle(multi_.get(), easy) != CURLM_OK) {
            return fail(ErrorCode::kInternal, "cli", "libcurl refused the request");
        }
        return {};
    }

    // Works until `until` says enough, the transfer ends, or the time is up. False = time was up.
    template <class Until>
    Result<bool> work(milliseconds wait, Until until) {
        const auto end = steady_clock::now() + wait;
        while (true) {
            int running = 0;
            if (::curl_multi_perform(multi_.get(), &running) != CURLM_OK) {
                return fail(ErrorCode::kInternal, "cli", "libcurl stopped working");
            }
            note_end();
            if (ended_ || until()) return true;
            if (options_.interrupt != nullptr && options_.interrupt->triggered()) return tl::unexpected(interrupted());
            const auto left = std::chrono::duration_cast<milliseconds>(end - steady_clock::now());
            if (left.count() <= 0) return false;
            curl_waitfd extra{};
            unsigned int extras = 0;
            if (options_.interrupt != nullptr && options_.interrupt->fd() >= 0) {
                extra.fd = options_.interrupt->fd();
                extra.events = CURL_WAIT_POLLIN;
                extras = 1;
            }
            const auto step = static_cast<int>(std::min<std::int64_t>(left.count(), 1000));
            ::curl_multi_poll(multi_.get(), extras == 0 ? nullptr : &extra, extras, step, nullptr);
        }
    }

    [[nodiscard]] bool ended() const { return ended_; }
    [[nodiscard]] CURLcode code() const { return code_; }
    [[nodiscard]] bool too_large() const { return too_large_; }
    [[nodiscard]] std::string& body() { return body_; }
    [[nodiscard]] int status() const {
        long status = 0;
        ::curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
        return static_cast<int>(status);
    }
    [[nodiscard]] std::string content_type() const {
        const char* text = nullptr;
        ::curl_easy_getinfo(easy_.get(), CURLINFO_CONTENT_TYPE, &text);
        if (text == nullptr) return {};
        std::string type(text);
        type = type.substr(0, type.find(';'));
        for (char& c : type)
            c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        return std::string(config::trim(type));
    }
    [[nodiscard]] std::string why() const {
        return said_.front() != '\0' ? std::string(said_.data()) : std::string(::curl_easy_strerror(code_));
    }

private:
    static long count(milliseconds value) { return static_cast<long>(std::max<std::int64_t>(1, value.count())); }

    [[nodiscard]] bool is_near() const {
        if (!server_.socket_path.empty()) return true;
        const std::string host = config::url_host(server_.base_url).name;
        return host == "localhost" || host == "::1" || host.starts_with("127.");
    }

    void add_header(const std::string& line) {
        curl_slist* longer = ::curl_slist_append(headers_.get(), line.c_str());
        if (longer == nullptr) return;
        static_cast<void>(headers_.release());
        headers_.reset(longer);
    }

    static std::size_t take(const char* data, std::size_t, std::size_t size, void* self) {
        auto& transfer = *static_cast<Transfer*>(self);
        if (transfer.limit_ != 0 && transfer.body_.size() + size > transfer.limit_) {
            transfer.too_large_ = true;
            return 0;
        }
        transfer.body_.append(data, size);
        return size;
    }

    void note_end() {
        int left = 0;
        while (CURLMsg* message = ::curl_multi_info_read(multi_.get(), &left)) {
            if (message->msg != CURLMSG_DONE) continue;
            ended_ = true;
            code_ = message->data.result;
        }
    }

    const Server& server_;
    const ApiOptions& options_;
    std::string url_;
    std::string method_;
    List headers_;
    std::array<char, CURL_ERROR_SIZE> said_{};
    std::string body_;
    std::size_t limit_ = 0;
    bool too_large_ = false;
    bool ended_ = false;
    CURLcode code_ = CURLE_OK;
    Easy easy_;
    Multi multi_;
};

ErrorCode code_of(int status) {
    switch (status) {
        case 400: return ErrorCode::kMalformed;
        case 401:
        case 403: return ErrorCode::kNotAllowed;
        case 404: return ErrorCode::kNotFound;
        case 405:
        case 406:
        case 415:
        case 501: return ErrorCode::kUnsupported;
        case 408:
        case 504: return ErrorCode::kTimeout;
        case 409: return ErrorCode::kConflict;
        case 413:
        case 414:
        case 431: return ErrorCode::kLimitExceeded;
        case 422: return ErrorCode::kInvalidArgument;
        case 429:
        case 502:
        case 503: return ErrorCode::kUnavailable;
        case 507: return ErrorCode::kDiskFull;
        default: return ErrorCode::kInternal;
    }
}

std::string text_member(const boost::json::object& object, std::string_view name) {
    const auto* value = object.if_contains(boost::json::string_view(name.data(), name.size()));
    if (value == nullptr || !value->is_string()) return {};
    return {value->as_string().data(), std::min(value->as_string().size(), kShownText)};
}

std::string listed_errors(const boost::json::object& problem) {
    const auto* errors = problem.if_contains("errors");
    if (errors == nullptr || !errors->is_array()) return {};
    std::string text;
    std::size_t shown = 0;
    for (const auto& one : errors->as_array()) {
        if (!one.is_object()) continue;
        if (++shown > kShownErrors) break;
        const std::string field = text_member(one.as_object(), "field");
        text += "\n  " + (field.empty() ? "" : field + ": ") + text_member(one.as_object(), "message");
    }
    const std::size_t total = errors->as_array().size();
    if (total > kShownErrors) text += "\n  … and " + std::to_string(total - kShownErrors) + " more";
    return text;
}

}  // namespace

Error error_of(const ApiAnswer& answer, const Server& server) {
    Error error = make_error(code_of(answer.status), Retry::kNever, Fault::kInput, "api", {});
    if (const auto json = parse_json(answer.body, {.max_bytes = 4 * 1024 * 1024}); json && json->is_object()) {
        const auto& problem = json->as_object();
        error.message = text_member(problem, "detail");
        if (error.message.empty()) error.message = text_member(problem, "title");
        const std::string listed = listed_errors(problem);
        error.message += listed;
        error.fix = text_member(problem, "fix");
    }
    if (error.message.empty()) error.message = "the server answered " + std::to_string(answer.status);
    if (error.fix.empty() && answer.status == 401) {
        error.fix = server.token.empty() ? "give --token-file, or --state-dir of the worker"
                                         : "the token is not the worker's: check --token-file or --state-dir";
    }
    return error;
}

std::string encoded(std::string_view text) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '.' || c == '_' || c == '~' || c == '@';
        if (plain) {
            out += c;
        } else {
            out += '%';
            out += kHex[byte >> 4U];
            out += kHex[byte & 0xfU];
        }
    }
    return out;
}

class ApiClient::Impl {
public:
    Impl(Server server, ApiOptions options) : server_(std::move(server)), options_(std::move(options)) {}

    Result<ApiAnswer> request(std::string_view method, std::string_view target, std::string_view body,
                              std::string_view content_type) {
        Transfer transfer(server_, options_);
        WA_CHECKED(transfer.start(method, target, body, content_type, {}, true));
        // libcurl keeps the time limit; the second here is for a libcurl that does not.
        WA_TRY(const bool done, transfer.work(options_.request_time + std::chrono::seconds(1), [] { return false; }));
        if (!done) return tl::unexpected(timed_out());
        if (transfer.code() != CURLE_OK) return tl::unexpected(broken(transfer));
        return ApiAnswer{transfer.status(), transfer.content_type(), std::move(transfer.body())};
    }

    Result<std::unique_ptr<ApiStream>> stream(std::string_view target, std::string_view last_event_id);

    [[nodiscard]] Error timed_out() const {
        return make_error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kService, "api",
                          server_.label + " gave no answer within " + config::duration_text(options_.request_time));
    }

    [[nodiscard]] Error broken(const Transfer& transfer) const {
        if (transfer.too_large()) {
            return make_error(ErrorCode::kLimitExceeded, Retry::kNever, Fault::kService, "api",
                              "the answer of " + server_.label + " is larger than " +
                                  config::size_text(static_cast<std::int64_t>(options_.max_body)));
        }
        if (transfer.code() == CURLE_OPERATION_TIMEDOUT) return timed_out();
        if (is_no_connection(transfer.code())) return connect_error(server_, printable(transfer.why()));
        return make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "connect",
                          "the connection to " + server_.label + " broke: " + printable(transfer.why()));
    }

    const GlobalCurl curl_;
    Server server_;
    ApiOptions options_;
};

namespace {

class CurlStream final : public ApiStream {
public:
    CurlStream(std::unique_ptr<Transfer> transfer, const Server& server)
        : transfer_(std::move(transfer)), server_(server) {}

    Result<Piece> read(milliseconds wait) override {
        if (!transfer_->ended() && transfer_->body().empty()) {
            WA_TRY([[maybe_unused]] const bool in_time,
                   transfer_->work(wait, [this] { return !transfer_->body().empty(); }));
        }
        Piece piece;
        piece.bytes.swap(transfer_->body());
        if (!transfer_->ended() || !piece.bytes.empty()) return piece;
        if (transfer_->code() != CURLE_OK) {
            return fail(ErrorCode::kUnavailable, "connect",
                        "the connection to " + server_.label + " broke: " + printable(transfer_->why()));
        }
        piece.ended = true;
        return piece;
    }

private:
    std::unique_ptr<Transfer> transfer_;
    const Server& server_;
};

}  // namespace

Result<std::unique_ptr<ApiStream>> ApiClient::Impl::stream(std::string_view target, std::string_view last_event_id) {
    auto transfer = std::make_unique<Transfer>(server_, options_);
    WA_CHECKED(transfer->start("GET", target, {}, {}, last_event_id, false));
    const auto has_head = [&transfer] { return transfer->status() >= 200 || !transfer->body().empty(); };
    WA_TRY(const bool in_time, transfer->work(options_.request_time, has_head));
    if (!in_time) return tl::unexpected(timed_out());
    if (transfer->status() == 0 && transfer->code() != CURLE_OK) return tl::unexpected(broken(*transfer));
    if (transfer->status() != 200) {
        // The rest of a refusal is short; what does not come is not waited for.
        WA_TRY([[maybe_unused]] const bool whole, transfer->work(std::chrono::seconds(2), [] { return false; }));
        return tl::unexpected(error_of({transfer->status(), transfer->content_type(), transfer->body()}, server_));
    }
    return std::make_unique<CurlStream>(std::move(transfer), server_);
}

ApiClient::ApiClient(Server server, ApiOptions options)
    : impl_(std::make_unique<Impl>(std::move(server), std::move(options))) {}
ApiClient::~ApiClient() = default;
ApiClient::ApiClient(ApiClient&&) noexcept = default;
ApiClient& ApiClient::operator=(ApiClient&&) noexcept = default;

const Server& ApiClient::server() const {
    return impl_->server_;
}

namespace {
Result<ApiAnswer> only_success(Result<ApiAnswer> answer, const Server& server) {
    if (answer && (answer->status < 200 || answer->status > 299)) return tl::unexpected(error_of(*answer, server));
    return answer;
}
}  // namespace

Result<ApiAnswer> ApiClient::get(std::string_view target) {
    return only_success(impl_->request("GET", target, {}, {}), impl_->server_);
}
Result<ApiAnswer> ApiClient::post(std::string_view target, std::string_view body, std::string_view content_type) {
    return only_success(impl_->request("POST", target, body, content_type), impl_->server_);
}
Result<ApiAnswer> ApiClient::remove(std::string_view target) {
    return only_success(impl_->request("DELETE", target, {}, {}), impl_->server_);
}
Result<ApiAnswer> ApiClient::probe(std::string_view target) {
    return impl_->request("GET", target, {}, {});
}
Result<std::unique_ptr<ApiStream>> ApiClient::stream(std::string_view target, std::string_view last_event_id) {
    return impl_->stream(target, last_event_id);
}

}  // namespace wa::cli
