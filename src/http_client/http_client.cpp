#include "http_client/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <utility>

#include "core/codec/text.h"
#include "http_client/core.h"

namespace wa::http {
namespace asio = boost::asio;

namespace {

constexpr std::size_t kSpareHandles = 64;
constexpr std::chrono::milliseconds kMaxRetryAfter = std::chrono::hours(1);
constexpr std::int64_t kMaxEpochSeconds = 253'402'300'799;  // the year 9999

bool is_token(std::string_view text) {
    static constexpr std::string_view kOther = "!#$%&'*+-.^_`|~";
    return !text.empty() && std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               kOther.find(c) != std::string_view::npos;
    });
}

bool is_header_value(std::string_view text) {
    return std::ranges::none_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

Failure bad_request(std::string field, std::string why) {
    Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "http", std::move(why));
    error.field = std::move(field);
    return tl::unexpected(std::move(error));
}

Error timed_out(const Transfer& transfer, std::string_view during) {
    return make_error(
        ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kService, "http",
        clip(transfer.request().method) + " " + transfer.url.shown + ": out of time while " + std::string(during));
}

}  // namespace

std::string_view Response::header(std::string_view name) const {
    const auto found = std::ranges::find(headers, name, &Header::name);
    return found == headers.end() ? std::string_view{} : std::string_view(found->value);
}

std::optional<std::chrono::milliseconds> retry_after(const Response& response, EpochMillis now) {
    const std::string text(response.header("retry-after"));
    if (text.empty()) {
        const auto reset = parse_whole_number(response.header("x-ratelimit-reset"));
        if (!reset || response.header("x-ratelimit-remaining") != "0") return std::nullopt;
        // Seconds of the other side's clock; beyond these bounds it is no time of day.
        if (*reset < 0 || *reset > kMaxEpochSeconds) return std::nullopt;
        return std::clamp(std::chrono::milliseconds(*reset * 1000 - now), std::chrono::milliseconds(0), kMaxRetryAfter);
    }
    std::chrono::milliseconds wait{};
    if (const auto seconds = parse_whole_number(text)) {
        wait = std::chrono::seconds(std::clamp<std::int64_t>(*seconds, 0, 3600));
    } else {
        const time_t date = curl_getdate(text.c_str(), nullptr);
        if (date < 0) return std::nullopt;
        wait = std::chrono::seconds(date) - std::chrono::milliseconds(now);
    }
    return std::clamp(wait, std::chrono::milliseconds(0), kMaxRetryAfter);
}

Core::Core(asio::io_context& loop, const Clock& clock, ClientOptions options, std::unique_ptr<NameLookup> lookup)
    : loop_(loop),
      clock_(clock),
      options_(std::move(options)),
      settings_{options_.user_agent,
                options_.tls,
                options_.max_header_bytes,
                static_cast<long>(options_.connection_age.count()),
                options_.proxy,
                options_.proxy_tls},
      names_(lookup ? std::move(lookup) : system_name_lookup(loop), clock, options_.names),
      multi_(loop, clock, {options_.idle_connections, options_.connections, options_.connections_per_host},
             [this](CURL* easy, CURLcode code) { finished(easy, code); }) {}

Core::~Core() {
    for (CURL* easy : spare_)
        curl_easy_cleanup(easy);
}

std::shared_ptr<Transfer> Core::start(Request request, StreamReader reader, bool streaming, Completion done) {
    auto transfer = std::make_shared<Transfer>(loop_, weak_from_this(), std::move(request), std::move(reader),
                                               streaming, std::move(done));
    if (auto checked = check(*transfer); !checked) {
        transfer->fail_with(std::move(checked).error());
        return transfer;
    }
    ++begun_;
    if (options_.watch != nullptr) transfer->watch(*options_.watch);
    if (transfer->request().timeout > Duration::zero()) transfer->deadline = clock_.now() + transfer->request().timeout;
    calls_.emplace(transfer.get(), transfer);
    next_name(*transfer);
    return transfer;
}

Result<void> Core::check(Transfer& transfer) {
    const Request& request = transfer.request();
    if (!is_token(request.method)) return bad_request("method", "the method is not a token");
    for (const Header& header : request.headers) {
        if (!is_token(header.name)) return bad_request("headers", "a header's name is not a token");
        if (!is_header_value(header.value))
            return bad_request("headers",
                               "the value of the header '" + header.name + "' has a line break or NUL in it");
    }
    WA_TRY(transfer.url, parse_url(request.url));
    WA_CHECKED(set_out(transfer));
    if (calls_.size() >= options_.calls)
        return tl::unexpected(make_error(ErrorCode::kLimitExceeded, Retry::kAfterBackoff, Fault::kWorker, "http",
                                         std::to_string(options_.calls) + " HTTP calls are under way already"));
    return {};
}

std::optional<Duration> Core::remaining(const Transfer& transfer) const {
    if (transfer.deadline == MonoTime{}) return std::nullopt;
    return transfer.deadline - clock_.now();
}

// Where the call goes now: whom to connect to, and whose addresses must be asked for.
Result<void> Core::set_out(Transfer& transfer) {
    const Request& request = transfer.request();
    const Url& url = transfer.url;
    const bool by_socket = !request.unix_socket.empty();
    if (request.guard) {
        if (by_socket) return bad_request("guard", "a guarded call cannot go to a Unix socket");
        WA_CHECKED(request.guard->check_host(url.host));
    }
    const Proxy* const proxy = settings_.proxy.get();
    transfer.by_proxy = proxy != nullptr && !by_socket && !proxy->exceptions.has(url.host, url.port);
    transfer.places.clear();
    if (by_socket) return {};
    if (!transfer.by_proxy || request.guard)
        transfer.places.push_back({url.host, url.port, true, {}, url.needs_lookup});
    if (transfer.by_proxy)
        transfer.places.push_back({proxy->url.host, proxy->url.port, false, {}, proxy->url.needs_lookup});
    return {};
}

void Core::next_name(Transfer& transfer) {
    const auto place = std::ranges::find(transfer.places, true, &Place::wanted);
    if (place == transfer.places.end()) return begin(transfer);
    if (const auto* known = names_.find(place->host)) {
        const Result<Addresses> answer = *known;
        return name_answered(transfer, *place, answer);
    }
    ask_for(transfer, *place);
}

void Core::ask_for(Transfer& transfer, Place& place) {
    const std::weak_ptr<Transfer> weak = transfer.weak_from_this();
    transfer.asked_name = place.host;
    transfer.name_ticket = names_.ask(place.host, [this, weak, &place](const Result<Addresses>& answer) {
        const auto alive = weak.lock();
        if (!alive || alive->over()) return;
        alive->name_ticket = 0;
        alive->name_timer.reset();
        name_answered(*alive, place, answer);
    });
    const Duration patience =
        std::min(transfer.request().connect_timeout, remaining(transfer).value_or(transfer.request().connect_timeout));
    transfer.name_timer.emplace(loop_, patience);
    transfer.name_timer->async_wait([core = weak_from_this(), weak](const boost::system::error_code& error) {
        const auto alive = weak.lock();
        const auto self = core.lock();
        if (error || !alive || !self || alive->over() || alive->name_ticket == 0) return;
        self->names_.drop(alive->asked_name, std::exchange(alive->name_ticket, 0));
        self->end_with(*alive, timed_out(*alive, "looking up the name"));
    });
}

void Core::name_answered(Transfer& transfer, Place& place, const Result<Addresses>& answer) {
    if (answer) {
        place.wanted = false;
        place.addresses = *answer;
        return next_name(transfer);
    }
    Error error = answer.error();
    error.message = clip(transfer.request().method) + " " + transfer.url.shown + ": " + error.message;
    end_with(transfer, std::move(error));
}

// Leaves only addresses that the call's guard allows.
Result<void> Core::check_places(Transfer& transfer) {
    const EgressGuard* const guard = transfer.request().guard.get();
    if (guard == nullptr) return {};
    for (Place& place : transfer.places) {
        if (!place.is_target) continue;
        Addresses addresses = place.addresses;
        // What was not looked up is an address itself, or localhost, which libcurl knows by itself.
        if (addresses.empty()) addresses = parse_ip(place.host) ? Addresses{place.host} : Addresses{"127.0.0.1", "::1"};
        WA_TRY(addresses, guard->allowed(place.host, addresses));
        if (!place.addresses.empty() || transfer.by_proxy) place.addresses = std::move(addresses);
    }
    return {};
}

void Core::begin(Transfer& transfer) {
    const auto left = remaining(transfer);
    if (left && *left <= Duration::zero()) return end_with(transfer, timed_out(transfer, "finding the way"));
    if (auto checked = check_places(transfer); !checked) return end_with(transfer, std::move(checked).error());
    CURL* const easy = take_easy();
    if (easy == nullptr)
        return end_with(transfer, make_error(ErrorCode::kInternal, Retry::kAfterBackoff, Fault::kWorker, "http",
                                             "libcurl has no memory for another call"));
    const auto forgotten = forgotten_entries();
    for (const Place& place : transfer.places) {
        if (place.addresses.empty()) continue;
        auto& ports = told_ports_[place.host];
        if (std::ranges::find(ports, place.port) == ports.end()) ports.push_back(place.port);
    }
    auto set = transfer.set_up(easy, settings_, files_, left, forgotten);
    if (set && !multi_.add(easy)) set = fail(ErrorCode::kInternal, "http", "libcurl does not take the call");
    if (set) return;
    transfer.easy = nullptr;
    give_easy(easy);
    end_with(transfer, std::move(set).error());
}

// The same call at the place that its last answer named.
void Core::follow(const std::shared_ptr<Transfer>& transfer) {
    auto next = transfer->follow();
    if (next) next = set_out(*transfer);
    if (!next) return transfer->fail_with(std::move(next).error());
    calls_.emplace(transfer.get(), transfer);
    next_name(*transfer);
}

// "name:port" of all names that fell out of the cache, as libcurl keeps their addresses until it is told otherwise.
std::vector<std::string> Core::forgotten_entries() {
    std::vector<std::string> entries;
    for (const std::string& name : names_.take_forgotten()) {
        const auto found = told_ports_.find(name);
        if (found == told_ports_.end()) continue;
        for (const std::uint16_t port : found->second)
            entries.push_back(name + ":" + std::to_string(port));
        told_ports_.erase(found);
    }
    return entries;
}

void Core::end_with(Transfer& transfer, Error error) {
    const auto keep = transfer.shared_from_this();
    calls_.erase(&transfer);
    transfer.fail_with(std::move(error));
}

void Core::finished(CURL* easy, CURLcode code) {
    void* tag = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &tag);
    long made = 0;
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &made);
    connections_ += static_cast<std::uint64_t>(std::max(0L, made));
    const auto found = calls_.find(static_cast<Transfer*>(tag));
    if (found != calls_.end()) {
        const auto transfer = std::move(found->second);
        calls_.erase(found);
        if (code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT)
            for (const Place& place : transfer->places)
                names_.forget(place.host);
        if (code == CURLE_OK && transfer->redirected()) {
            transfer->easy = nullptr;
            give_easy(easy);
            return follow(transfer);
        }
        transfer->ended(code);
    }
    give_easy(easy);
}

void Core::drop(Transfer& transfer) {
    if (transfer.name_ticket != 0) names_.drop(transfer.asked_name, std::exchange(transfer.name_ticket, 0));
    transfer.name_timer.reset();
    if (CURL* const easy = std::exchange(transfer.easy, nullptr)) {
        multi_.remove(easy);
        give_easy(easy);
    }
    calls_.erase(&transfer);
}

void Core::shut_down() {
    while (!calls_.empty()) {
        const auto transfer = calls_.begin()->second;
        transfer->cancel();
    }
}

ClientStats Core::stats() const {
    return {begun_, connections_, names_.lookups(), calls_.size()};
}

CURL* Core::take_easy() {
    if (spare_.empty()) return curl_easy_init();
    CURL* const easy = spare_.back();
    spare_.pop_back();
    return easy;
}

// Nothing of the call may be pointed to after this.
void Core::give_easy(CURL* easy) {
    if (spare_.size() >= kSpareHandles) {
        curl_easy_cleanup(easy);
        return;
    }
    // curl_easy_reset() forgets to forget this list when the call was cancelled before libcurl had read it.
    curl_easy_setopt(easy, CURLOPT_RESOLVE, nullptr);
    curl_easy_setopt(easy, CURLOPT_CONNECT_TO, nullptr);
    curl_easy_reset(easy);
    spare_.push_back(easy);
}

Call& Call::operator=(Call&& other) noexcept {
    if (this != &other) {
        cancel();
        transfer_ = std::move(other.transfer_);
    }
    return *this;
}

Call::~Call() {
    cancel();
}

void Call::cancel() {
    if (const auto transfer = std::exchange(transfer_, nullptr)) transfer->cancel();
}

void Call::resume() {
    if (transfer_) transfer_->resume();
}

bool Call::active() const {
    return transfer_ && !transfer_->over();
}

bool Call::request_sent() const {
    return transfer_ && transfer_->request_sent();
}

Client::Client(asio::io_context& loop, const Clock& clock, ClientOptions options, std::unique_ptr<NameLookup> lookup) {
    curl_global_init(CURL_GLOBAL_DEFAULT);  // counted
    core_ = std::make_shared<Core>(loop, clock, std::move(options), std::move(lookup));
}

Client::~Client() {
    core_->shut_down();
    core_.reset();
    curl_global_cleanup();
}

Call Client::send(Request request, Completion done) {
    return Call(core_->start(std::move(request), {}, false, std::move(done)));
}

Call Client::stream(Request request, StreamReader reader, Completion done) {
    return Call(core_->start(std::move(request), std::move(reader), true, std::move(done)));
}

ClientStats Client::stats() const {
    return core_->stats();
}

}  // namespace wa::http
