#include "http_client/transfer.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstring>
#include <limits>
#include <utility>

#include "core/codec/text.h"
#include "http_client/core.h"

namespace wa::http {
namespace asio = boost::asio;

namespace {

constexpr std::size_t kMaxHeaders = 256;
constexpr std::size_t kHeldBytes = 65'536;
constexpr std::size_t kMaxSocketPath = 107;
// An answer may expand as it likes up to this.
constexpr std::size_t kFreeExpansion = 1ULL << 20U;
// libcurl counts what came in after it was undone: so much may be in its hands uncounted.
constexpr std::size_t kUncountedBytes = 16'384;
// What comes out of one of libcurl's buffers cannot be held back: small ones for bodies that expand.
constexpr long kExpandingBuffer = 4096;

std::string lower_case(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return out;
}

std::string_view trimmed(std::string_view text) {
    const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
    while (!text.empty() && blank(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && blank(text.back()))
        text.remove_suffix(1);
    return text;
}

Failure bad_request(std::string field, std::string why) {
    Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "http", std::move(why));
    error.field = std::move(field);
    return tl::unexpected(std::move(error));
}

bool add_line(List& list, const std::string& line) {
    curl_slist* const longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) return false;
    static_cast<void>(list.release());
    list.reset(longer);
    return true;
}

// libcurl reads 0 as "no limit": anything shorter than a millisecond becomes one.
long milliseconds(Duration duration) {
    const std::int64_t count = std::max<std::int64_t>(1, to_millis(duration));
    return static_cast<long>(std::min<std::int64_t>(count, std::numeric_limits<std::int32_t>::max()));
}

// `address` points to as many bytes as its family has.
std::optional<IpAddress> ip_of(const void* address, int family) {
    IpAddress ip;
    if (family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, address, sizeof v4);
        return ip_of_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (family != AF_INET6) return std::nullopt;
    sockaddr_in6 v6{};
    std::memcpy(&v6, address, sizeof v6);
    std::memcpy(ip.bytes.data(), &v6.sin6_addr, ip.bytes.size());
    return ip;
}

std::string bracketed(const std::string& address) {
    return address.find(':') == std::string::npos ? address : "[" + address + "]";
}

}  // namespace

Transfer::Transfer(asio::io_context& loop, std::weak_ptr<Core> core, Request request, StreamReader reader,
                   bool streaming, Completion done)
    : loop_(loop),
      core_(std::move(core)),
      request_(std::move(request)),
      reader_(std::make_shared<StreamReader>(std::move(reader))),
      streaming_(streaming),
      done_(std::move(done)) {}

Transfer::~Transfer() = default;

Result<void> Transfer::set_up(CURL* handle, const TransferSettings& settings, KeptFiles& files,
                              std::optional<Duration> remaining, const std::vector<std::string>& forgotten) {
    easy = handle;
    max_header_bytes_ = settings.max_header_bytes;
    if (request_.unix_socket.size() > kMaxSocketPath)
        return bad_request("unix_socket", "the path of the unix socket is longer than 107 bytes");
    curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_text_.data());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    const auto version = request_.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1;
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(version));
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, settings.connection_age);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, &Transfer::on_prepared);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, this);
    curl_easy_setopt(easy, CURLOPT_URL, url.text.c_str());
    if (request_.decompress) {
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, kExpandingBuffer);
    }
    if (request_.fresh_connection) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    if (!request_.unix_socket.empty()) curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, request_.unix_socket.c_str());
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(request_.connect_timeout));
    if (remaining) curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, milliseconds(*remaining));
    if (request_.silence_timeout > Duration::zero()) {
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, std::max(1L, milliseconds(request_.silence_timeout) / 1000));
    }
    set_method();
    set_guard();
    set_addresses(forgotten);
    WA_CHECKED(set_proxy(settings, files));
    WA_CHECKED(set_headers(settings.user_agent));
    if (url.tls) WA_CHECKED(set_tls(request_.tls ? *request_.tls : settings.tls, files));
    return {};
}

Result<void> Transfer::set_proxy(const TransferSettings& settings, KeptFiles& files) {
    if (!by_proxy) {
        curl_easy_setopt(easy, CURLOPT_PROXY, "");  // not what the environment says
        return {};
    }
    const Url& proxy = settings.proxy->url;
    shown_proxy_ = proxy.shown;
    curl_easy_setopt(easy, CURLOPT_PROXY, proxy.text.c_str());
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "");  // not what the environment says
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
    if (!proxy.authorization.empty()) add_line(proxy_headers_, "Proxy-Authorization: " + proxy.authorization);
    // A request that the proxy sends on has its own; here it is the tunnel's.
    if (url.tls || request_.guard) add_line(proxy_headers_, "User-Agent: " + settings.user_agent);
    if (proxy_headers_) curl_easy_setopt(easy, CURLOPT_PROXYHEADER, proxy_headers_.get());
    if (request_.guard) curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L);
    if (!proxy.tls) return {};
    const TlsOptions& tls = settings.proxy_tls;
    curl_easy_setopt(easy, CURLOPT_PROXY_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
    return set_pems(
        {CURLOPT_PROXY_CAPATH, CURLOPT_PROXY_CAINFO_BLOB, CURLOPT_PROXY_SSLCERT_BLOB, CURLOPT_PROXY_SSLKEY_BLOB}, tls,
        files);
}

// A name was checked by its addresses, but another call may have told libcurl others, or have left a connection to
// them: so each socket is looked at before it is connected, and each connection before the request goes out.
void Transfer::set_guard() {
    if (!request_.guard || by_proxy) return;
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, this);
}

curl_socket_t Transfer::on_open(void* self, curlsocktype /*purpose*/, curl_sockaddr* address) {
    auto& transfer = *static_cast<Transfer*>(self);
    const auto ip = ip_of(&address->addr, address->family);
    if (!ip || !transfer.request_.guard->allows(transfer.url.host, *ip)) {
        transfer.violation_ = Violation::kPlace;
        return CURL_SOCKET_BAD;
    }
    return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

int Transfer::on_prepared(void* self, char* address, char* /*own_address*/, int /*port*/, int /*own_port*/) {
    auto& transfer = *static_cast<Transfer*>(self);
    if (transfer.request_.guard && !transfer.by_proxy) {
        const auto ip = parse_ip(address != nullptr ? address : "");
        if (!ip || !transfer.request_.guard->allows(transfer.url.host, *ip)) {
            transfer.violation_ = Violation::kPlace;
            return CURL_PREREQFUNC_ABORT;
        }
    }
    if (transfer.violation_ == Violation::kPlace) transfer.violation_ = Violation::kNone;  // another address did
    transfer.request_sent_ = true;
    return CURL_PREREQFUNC_OK;
}

void Transfer::set_method() {
    const std::string& method = request_.method;
    if (method == "HEAD") {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (!request_.body.empty() || method == "POST" || method == "PUT" || method == "PATCH") {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request_.body.data());
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method.c_str());
}

void Transfer::set_addresses(const std::vector<std::string>& forgotten) {
    for (const std::string& entry : forgotten)
        add_line(resolve_, "-" + entry);
    for (const Place& place : places) {
        if (place.addresses.empty()) continue;
        if (place.is_target && by_proxy) {
            // The proxy is not to look the name up once more.
            add_line(connect_to_, "::" + bracketed(place.addresses.front()) + ":" + std::to_string(place.port));
            continue;
        }
        std::string line = ":" + std::to_string(place.port) + ":";
        for (std::size_t i = 0; i < place.addresses.size(); ++i)
            line += (i == 0 ? "" : ",") + bracketed(place.addresses[i]);
        add_line(resolve_, place.host + line);
        if (place.host.ends_with('.')) add_line(resolve_, place.host.substr(0, place.host.size() - 1) + line);
    }
    if (resolve_) curl_easy_setopt(easy, CURLOPT_RESOLVE, resolve_.get());
    if (connect_to_) curl_easy_setopt(easy, CURLOPT_CONNECT_TO, connect_to_.get());
}

Result<void> Transfer::set_headers(const std::string& user_agent) {
    bool type = false;
    bool agent = false;
    bool authorized = false;
    for (const Header& header : request_.headers) {
        const std::string name = lower_case(header.name);
        type |= name == "content-type";
        agent |= name == "user-agent";
        authorized |= name == "authorization";
        // "Name;" is how libcurl is told of an empty value.
        const bool empty = trimmed(header.value).empty();
        if (!add_line(headers_, header.name + (empty ? std::string(";") : ": " + header.value)))
            return fail(ErrorCode::kInternal, "http", "out of memory while making a request");
    }
    if (!agent && !user_agent.empty()) add_line(headers_, "User-Agent: " + user_agent);
    if (!authorized && !url.authorization.empty()) add_line(headers_, "Authorization: " + url.authorization);
    // What libcurl would add on its own: a form's type, and a wait for 100 Continue.
    if (!type) add_line(headers_, "Content-Type:");
    add_line(headers_, "Expect:");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_.get());
    return {};
}

Result<void> Transfer::set_pem(CURLoption option, const std::string& pem, const std::string& path, KeptFiles& files) {
    std::shared_ptr<const std::string> file;
    if (pem.empty()) {
        WA_TRY(file, files.read(path));
    }
    const std::string& bytes = file ? *file : pem;
    // libcurl copies it, and compares it when it looks for a connection to use again: one that was made with other
    // bytes does not fit.
    curl_blob blob{};
    blob.data = const_cast<char*>(bytes.data());  // only read
    blob.len = bytes.size();
    blob.flags = CURL_BLOB_COPY;
    if (curl_easy_setopt(easy, option, &blob) != CURLE_OK)
        return fail(ErrorCode::kInternal, "http", "out of memory while setting up TLS");
    return {};
}

Result<void> Transfer::set_pems(const PemOptions& options, const TlsOptions& tls, KeptFiles& files) {
    if (!tls.ca_pem.empty() || !tls.ca_file.empty()) {
        curl_easy_setopt(easy, options.path, static_cast<char*>(nullptr));  // nothing but these are trusted
        WA_CHECKED(set_pem(options.authority, tls.ca_pem, tls.ca_file, files));
    }
    if (tls.client_cert_pem.empty() && tls.client_cert.empty()) return {};
    WA_CHECKED(set_pem(options.certificate, tls.client_cert_pem, tls.client_cert, files));
    // A key may stand with its certificate.
    const bool own_key = !tls.client_key_pem.empty() || !tls.client_key.empty();
    return set_pem(options.key, own_key ? tls.client_key_pem : tls.client_cert_pem,
                   own_key ? tls.client_key : tls.client_cert, files);
}

Result<void> Transfer::set_tls(TlsOptions tls, KeptFiles& files) {
    if (!own_origin_) {
        tls.client_cert.clear();
        tls.client_cert_pem.clear();
    }
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls.verify ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls.verify ? 2L : 0L);
    return set_pems({CURLOPT_CAPATH, CURLOPT_CAINFO_BLOB, CURLOPT_SSLCERT_BLOB, CURLOPT_SSLKEY_BLOB}, tls, files);
}

std::size_t Transfer::on_header(char* bytes, std::size_t size, std::size_t count, void* self) {
    const std::size_t length = size * count;
    return static_cast<Transfer*>(self)->take_header({bytes, length}) ? length : 0;
}

std::size_t Transfer::on_body(char* bytes, std::size_t size, std::size_t count, void* self) {
    return static_cast<Transfer*>(self)->take_body({bytes, size * count});
}

// False ends the transfer.
bool Transfer::take_header(std::string_view line) {
    header_bytes_ += line.size();
    if (header_bytes_ > max_header_bytes_ || response_.headers.size() >= kMaxHeaders) {
        violation_ = Violation::kHeaders;
        return false;
    }
    if (head_complete_) return true;  // trailers
    const std::string_view text = trimmed(line);
    if (text.empty()) {
        head_complete();
        return violation_ == Violation::kNone;
    }
    if (line.starts_with("HTTP/")) {  // also after an interim answer
        response_.headers.clear();
        return true;
    }
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return true;
    response_.headers.push_back(
        {lower_case(trimmed(text.substr(0, colon))), std::string(trimmed(text.substr(colon + 1)))});
    return true;
}

void Transfer::head_complete() {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) return;  // interim
    response_.status = static_cast<int>(status);
    head_complete_ = true;
    long version = 0;
    curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
    response_.http_version = version == CURL_HTTP_VERSION_2_0 ? 20 : (version == CURL_HTTP_VERSION_1_0 ? 10 : 11);
    if (!encoding_fits()) {
        violation_ = Violation::kEncoding;
        return;
    }
    redirected_ = is_redirect(response_.status);
    curl_off_t length = -1;
    curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (request_.method != "HEAD" && length > 0 && static_cast<std::uint64_t>(length) > request_.max_response_bytes) {
        violation_ = Violation::kBody;
        return;
    }
    if (streaming_ && !redirected_) deliver_soon();
}

bool Transfer::is_redirect(int status) const {
    if (request_.max_redirects <= 0 || !request_.unix_socket.empty()) return false;
    if (response_.header("location").empty()) return false;
    const bool reads = request_.method == "GET" || request_.method == "HEAD";
    return status == 303 || (reads && (status == 301 || status == 302 || status == 307 || status == 308));
}

// libcurl undoes whatever it knows, and what is said of the transfer even unasked: only what was asked for comes in.
bool Transfer::encoding_fits() const {
    for (const Header& header : response_.headers) {
        const std::string value = lower_case(header.value);
        if (header.name == "transfer-encoding" && value != "chunked" && value != "identity") return false;
        if (header.name != "content-encoding" || !request_.decompress) continue;
        if (value != "gzip" && value != "x-gzip" && value != "deflate" && value != "identity" && !value.empty())
            return false;
    }
    // One after the other they would multiply.
    return std::ranges::count(response_.headers, "content-encoding", &Header::name) <= 1 || !request_.decompress;
}

bool Transfer::expands_too_much() const {
    if (!request_.decompress || body_bytes_ <= kFreeExpansion) return false;
    curl_off_t came = 0;
    curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &came);
    const auto counted = static_cast<std::size_t>(std::max<curl_off_t>(0, came)) + kUncountedBytes;
    return body_bytes_ / std::max<std::size_t>(1, request_.max_expansion) > counted;
}

std::size_t Transfer::take_body(std::string_view bytes) {
    if (streaming_ && !redirected_ && held_.size() >= kHeldBytes) {
        curl_paused_ = true;
        return CURL_WRITEFUNC_PAUSE;  // libcurl keeps these bytes
    }
    if (bytes.size() > request_.max_response_bytes - std::min(body_bytes_, request_.max_response_bytes)) {
        violation_ = Violation::kBody;
        return 0;
    }
    body_bytes_ += bytes.size();
    if (expands_too_much()) {
        violation_ = Violation::kExpansion;
        return 0;
    }
    if (redirected_) return bytes.size();
    (streaming_ ? held_ : response_.body) += bytes;
    if (streaming_) deliver_soon();
    return bytes.size();
}

void Transfer::watch(CallWatch& watch) {
    const bool by_socket = !request_.unix_socket.empty();
    OutgoingCall call;
    call.protocol = OutgoingCall::Protocol::kHttp;
    call.method = request_.method;
    call.subject = url.path;
    call.host = by_socket ? request_.unix_socket : url.host;
    call.port = by_socket ? std::uint16_t{0} : url.port;
    CarriedHeaders carry;
    watched_ = watch.begin(request_.purpose, call, carry);
    for (auto& [name, value] : carry)
        request_.headers.push_back({std::move(name), std::move(value)});
}

void Transfer::tell_end(const Result<Response>& outcome) {
    const auto watched = std::exchange(watched_, nullptr);
    if (!watched) return;
    CallEnd end;
    if (outcome) {
        end.status = outcome->status;
    } else {
        end.error = &outcome.error();
    }
    watched->ended(end);
}

std::string Transfer::what() const {
    return clip(request_.method) + " " + url.shown;
}

std::optional<Error> Transfer::violation_error() const {
    const auto error = [&](ErrorCode kind, Fault fault, const std::string& text) {
        return make_error(kind, Retry::kNever, fault, "http", what() + ": " + text);
    };
    switch (violation_) {
        case Violation::kNone: return std::nullopt;
        case Violation::kBody:
            return error(ErrorCode::kLimitExceeded, Fault::kService,
                         "the answer is larger than " + std::to_string(request_.max_response_bytes) + " bytes");
        case Violation::kHeaders:
            return error(ErrorCode::kLimitExceeded, Fault::kService, "the answer has too many or too long headers");
        case Violation::kExpansion:
            return error(ErrorCode::kLimitExceeded, Fault::kService,
                         "the answer grows to more than " + std::to_string(request_.max_expansion) +
                             " times its size when it is decompressed");
        case Violation::kEncoding:
            return error(ErrorCode::kMalformed, Fault::kService, "the answer has an encoding that was not asked for");
        case Violation::kPlace:
            return error(ErrorCode::kNotAllowed, Fault::kInput,
                         "the connection would lead to an address that is not allowed");
    }
    return std::nullopt;
}

// A proxy that does not let the call through says so with a status of its own.
std::optional<Error> Transfer::proxy_error() const {
    long status = 0;
    if (easy != nullptr) curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
    if (!by_proxy || status < 300) return std::nullopt;
    const bool refused = status < 500 && status != 408 && status != 429;
    Error error = make_error(refused ? ErrorCode::kNotAllowed : ErrorCode::kUnavailable,
                             refused ? Retry::kNever : Retry::kAfterBackoff, Fault::kService, "http",
                             what() + ": the proxy " + shown_proxy_ + " answered " + std::to_string(status));
    if (status == 407) error.fix = "put the right user and password into the proxy's URL";
    return error;
}

Error Transfer::error_of(CURLcode code) const {
    if (auto violation = violation_error()) return *std::move(violation);
    if (auto refused = proxy_error()) return *std::move(refused);
    const auto error = [&](ErrorCode kind, Retry retry, const std::string& text) {
        return make_error(kind, retry, Fault::kService, "http", what() + ": " + text);
    };
    // libcurl's own sentence says more (which address, what OpenSSL found); it names nothing secret.
    const std::string detail = error_text_[0] != '\0' ? clip(error_text_.data(), 300) : curl_easy_strerror(code);
    switch (code) {
        case CURLE_OPERATION_TIMEDOUT:
            return error(ErrorCode::kTimeout, Retry::kAfterBackoff, "no complete answer in time (" + detail + ")");
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_ISSUER_ERROR: return error(ErrorCode::kNotAllowed, Retry::kNever, "TLS: " + detail);
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_BAD_CONTENT_ENCODING:
            return error(ErrorCode::kMalformed, Retry::kNever, "not an HTTP answer: " + detail);
        case CURLE_URL_MALFORMAT:
        case CURLE_BAD_FUNCTION_ARGUMENT:
            return make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "http",
                              what() + ": " + curl_easy_strerror(code));
        default: return error(ErrorCode::kUnavailable, Retry::kAfterBackoff, detail);
    }
}

// What belongs to the first place alone stays behind: all but headers that are known to hold no credentials.
void Transfer::leave_origin() {
    static constexpr std::string_view kKept[] = {"accept",      "accept-language", "user-agent",
                                                 "range",       "if-match",        "if-none-match",
                                                 "traceparent", "cache-control",   "tracestate"};
    own_origin_ = false;
    std::erase_if(request_.headers, [](const Header& header) {
        return std::ranges::find(kKept, lower_case(header.name)) == std::end(kKept);
    });
}

Result<void> Transfer::follow() {
    const std::string from = what();
    if (++redirects_ > request_.max_redirects)
        return tl::unexpected(make_error(
            ErrorCode::kLimitExceeded, Retry::kNever, Fault::kService, "http",
            from + ": more than " + std::to_string(request_.max_redirects) + " redirects, one after the other"));
    auto next = resolve_url(url, std::string(response_.header("location")));
    if (!next)
        return tl::unexpected(make_error(ErrorCode::kMalformed, Retry::kNever, Fault::kService, "http",
                                         from + ": a redirect to nowhere: " + next.error().message));
    if (url.tls && !next->tls)
        return tl::unexpected(make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kService, "http",
                                         from + ": a redirect from https to http is not followed"));
    const bool same_origin =
        next->tls == url.tls && next->port == url.port && lower_case(next->host) == lower_case(url.host);
    if (same_origin) {
        next->authorization = url.authorization;
    } else {
        leave_origin();
    }
    if (response_.status == 303 && request_.method != "HEAD") {
        request_.method = "GET";
        request_.body.clear();
        std::erase_if(request_.headers,
                      [](const Header& header) { return lower_case(header.name).starts_with("content-"); });
    }
    url = *std::move(next);
    response_ = {};
    header_bytes_ = body_bytes_ = 0;
    head_complete_ = redirected_ = false;
    error_text_[0] = '\0';
    headers_.reset();
    proxy_headers_.reset();
    resolve_.reset();
    connect_to_.reset();
    return {};
}

void Transfer::ended(CURLcode code) {
    if (code == CURLE_OK && !head_complete_) code = CURLE_GOT_NOTHING;  // libcurl takes half a head for an answer
    if (code == CURLE_OK && violation_ == Violation::kNone) {
        outcome_ = Result<Response>(std::move(response_));
    } else {
        outcome_ = Result<Response>(tl::unexpected(error_of(code)));
    }
    easy = nullptr;
    deliver_soon();
}

void Transfer::fail_with(Error error) {
    outcome_ = Result<Response>(tl::unexpected(std::move(error)));
    deliver_soon();
}

void Transfer::deliver_soon() {
    if (delivery_posted_ || over_) return;
    delivery_posted_ = true;
    asio::post(loop_, [self = shared_from_this()] {
        self->delivery_posted_ = false;
        self->deliver();
    });
}

void Transfer::deliver() {
    if (over_ || !deliver_stream() || !outcome_) return;
    over_ = true;
    Completion done = std::exchange(done_, nullptr);
    Result<Response> outcome = *std::move(outcome_);
    tell_end(outcome);
    release();
    if (done) done(std::move(outcome));
}

// False while something is left that the reader has not taken, or when the call is over.
bool Transfer::deliver_stream() {
    if (!streaming_) return true;
    const std::shared_ptr<StreamReader> reader = reader_;
    if (head_complete_ && !head_told_) {
        head_told_ = true;
        Response head;
        head.status = response_.status;
        if (outcome_ && *outcome_) {
            head = **outcome_;  // it has the headers by now
        } else {
            head.headers = response_.headers;
        }
        if (reader->head) reader->head(head);
        if (over_) return false;
    }
    while (!held_.empty() && !reader_full_) {
        const std::string chunk = std::exchange(held_, {});
        const bool more = !reader->chunk || reader->chunk(chunk);
        if (over_) return false;
        if (!more) reader_full_ = true;
    }
    if (held_.empty() && !reader_full_ && curl_paused_ && easy != nullptr) {
        curl_paused_ = false;
        // Hands over what libcurl held, from inside this call; an error of that ends nothing by itself.
        const CURLcode code = curl_easy_pause(easy, CURLPAUSE_CONT);
        const auto core = core_.lock();
        if (code != CURLE_OK && core) {
            core->drop(*this);
            ended(code);
        }
    }
    return held_.empty() && !reader_full_;
}

void Transfer::resume() {
    if (over_ || !reader_full_) return;
    reader_full_ = false;
    deliver_soon();
}

void Transfer::cancel() {
    if (over_) return;
    over_ = true;
    watched_.reset();
    if (const auto core = core_.lock()) core->drop(*this);
    release();
}

// What the callbacks hold may own the call itself: it goes when nothing here is used any more.
void Transfer::release() {
    asio::post(loop_, [self = shared_from_this(), done = std::exchange(done_, nullptr),
                       reader = std::exchange(reader_, nullptr)] {});
}

}  // namespace wa::http
