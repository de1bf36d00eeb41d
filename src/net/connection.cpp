#include "net/connection.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/beast/http/error.hpp>

#include "net/stream_state.h"

namespace wa::net {
namespace http = boost::beast::http;
namespace {

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::size_t kReadBodyBytes = 64 * 1024;
// What a caller may send while it should only listen to a stream.
constexpr std::size_t kMaxIgnoredBytes = 64 * 1024;
// A reader gets at least this rate; slower ones count as stuck.
constexpr std::size_t kSlowestBytesPerSecond = 16 * 1024;

std::string_view view(boost::beast::string_view text) {
    return {text.data(), text.size()};
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

bool takes_body(std::string_view method) {
    return method == "POST" || method == "PUT" || method == "PATCH";
}

// "application/json; charset=utf-8" -> "application/json"
std::string media_type(std::string_view content_type) {
    std::string type = lower(content_type.substr(0, content_type.find(';')));
    while (!type.empty() && (type.back() == ' ' || type.back() == '\t'))
        type.pop_back();
    return type;
}

// A header value of ours that carries text from elsewhere must not be able to start a new line.
std::string one_line(std::string_view text) {
    std::string out(text);
    std::erase_if(out, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
    return out;
}

std::string join(const std::vector<std::string>& parts) {
    std::string out;
    for (const std::string& part : parts)
        out += (out.empty() ? "" : ", ") + part;
    return out;
}

}  // namespace

// ---- parser

void RequestParser::on_request_impl(http::verb, text method_text, text target_text, int number, error_code& error) {
    method = std::string(view(method_text));
    version = number;
    if (target_text.size() > max_target_) {
        target_too_long = true;
        error = http::error::bad_target;
        return;
    }
    target = std::string(view(target_text));
}

void RequestParser::on_response_impl(int, text, int, error_code& error) {
    error = http::error::bad_version;
}

void RequestParser::on_field_impl(http::field, text name, text value, error_code&) {
    if (!in_trailer) headers.emplace_back(lower(view(name)), std::string(view(value)));
}

void RequestParser::on_header_impl(error_code&) {}
void RequestParser::on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) {
    in_trailer = true;
}

std::size_t RequestParser::on_body_impl(text bytes, error_code&) {
    body.append(bytes.data(), bytes.size());
    return bytes.size();
}

void RequestParser::on_chunk_header_impl(std::uint64_t, text, error_code&) {}

std::size_t RequestParser::on_chunk_body_impl(std::uint64_t, text bytes, error_code&) {
    body.append(bytes.data(), bytes.size());
    return bytes.size();
}

void RequestParser::on_finish_impl(error_code&) {}

// ---- exchange

class ConnectionExchange final : public Exchange {
public:
    ConnectionExchange(std::shared_ptr<Core> core, std::weak_ptr<Connection> connection, std::uint64_t sequence)
        : core_(std::move(core)), connection_(std::move(connection)), sequence_(sequence) {}

    void send(Response response) override {
        if (core_->on_loop()) {
            if (const auto connection = connection_.lock()) connection->respond_to(sequence_, std::move(response));
            return;
        }
        core_->post([connection = connection_, sequence = sequence_, answer = std::move(response)]() mutable {
            if (const auto open = connection.lock()) open->respond_to(sequence, std::move(answer));
        });
    }

    std::shared_ptr<Stream> stream(Response head) override {
        auto state = std::make_shared<StreamState>(core_, connection_, false);
        if (core_->on_loop()) {
            if (const auto connection = connection_.lock()) {
                if (auto opened = connection->open_stream(sequence_, std::move(head), core_)) return opened;
            }
        } else {
            // Streams are opened by handlers, which run on the loop; anybody else gets one that is over.
            send(problem(500, "a stream was opened outside the server's thread"));
        }
        state->end();
        return state;
    }

    std::shared_ptr<Loop> loop() override { return core_; }

private:
    std::shared_ptr<Core> core_;
    std::weak_ptr<Connection> connection_;
    std::uint64_t sequence_;
};

// ---- connection: reading

Connection::Connection(Socket socket, std::shared_ptr<Core> core, const Router& router, PeerFacts facts,
                       std::function<void(Connection&)> closed)
    : socket_(std::move(socket)),
      core_(std::move(core)),
      router_(router),
      facts_(std::move(facts)),
      closed_(std::move(closed)),
      in_(core_->options.max_header_bytes + kReadBodyBytes) {
    set_deadline(core_->options.request_time);
}

Connection::~Connection() {
    release_body();
}

void Connection::start() {
    read();
}

void Connection::read() {
    if (reading_ || phase_ == Phase::kClosed) return;
    reading_ = true;
    const std::size_t wanted = header_seen_ ? kReadBodyBytes : kReadBytes;
    const std::size_t room = std::min(wanted, in_.max_size() - in_.size());
    socket_.async_read_some(in_.prepare(room),
                            [self = shared_from_this()](const boost::system::error_code& error, std::size_t bytes) {
                                self->on_read(error, bytes);
                            });
}

void Connection::on_read(const boost::system::error_code& error, std::size_t bytes) {
    reading_ = false;
    if (phase_ == Phase::kClosed) return;
    // Who ends its half in the middle of a request may still read.
    if (error == boost::asio::error::eof && phase_ == Phase::kReading) return on_cut_short();
    if (error) return close();  // nobody is left to answer
    in_.commit(bytes);
    process();
}

void Connection::begin_request() {
    parser_.emplace(core_->options.max_target_bytes);
    parser_->header_limit(static_cast<std::uint32_t>(core_->options.max_header_bytes));
    parser_->body_limit(boost::none);
    header_bytes_ = 0;
    header_seen_ = body_read_ = false;
    route_ = nullptr;
    request_ = Request{};
    phase_ = Phase::kReading;
    request_began_ = core_->now();
    set_deadline(core_->options.request_time);
}

// Some callers end a body with an extra line end; it belongs to no request.
void Connection::skip_empty_lines() {
    const auto* bytes = static_cast<const char*>(in_.data().data());
    std::size_t skip = 0;
    while (skip < in_.size() && (bytes[skip] == '\r' || bytes[skip] == '\n'))
        ++skip;
    in_.consume(skip);
}

void Connection::process() {
    while (phase_ == Phase::kIdle || phase_ == Phase::kReading) {
        if (phase_ == Phase::kIdle) skip_empty_lines();
        if (in_.size() == 0) return read();
        if (phase_ == Phase::kIdle) begin_request();
        boost::beast::error_code error;
        const std::size_t used = parser_->put(in_.data(), error);
        in_.consume(used);
        if (!header_seen_) {
            header_bytes_ += used;
            const bool over =
                header_bytes_ + (parser_->is_header_done() ? 0 : in_.size()) > core_->options.max_header_bytes;
            if (over && (!error || error == http::error::need_more)) error = http::error::header_limit;
        }
        if (error == http::error::need_more) {
            // Endless chunk extensions or trailers, or a request line that is all address.
            const bool long_line =
                parser_->target.empty() && !header_seen_ && in_.size() > core_->options.max_target_bytes + 256;
            if (long_line) parser_->target_too_long = true;
            if (long_line || in_.size() >= core_->options.max_header_bytes)
                return on_parse_error(http::error::header_limit);
            return read();
        }
        if (error) return on_parse_error(error);
        if (!header_seen_ && parser_->is_header_done()) {
            header_seen_ = true;
            body_read_ = parser_->is_done();
            if (!on_header()) return;
        }
        if (!account_body()) return;
        if (parser_->is_done()) {
            body_read_ = true;
            return dispatch();
        }
    }
}

void Connection::on_parse_error(const boost::system::error_code& error) {
    keep_alive_ = false;
    head_request_ = false;
    if (parser_->target_too_long) {
        return refuse(
            problem(414, "the address is longer than " + std::to_string(core_->options.max_target_bytes) + " bytes"));
    }
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
        return refuse(
            problem(431, "the header is larger than " + std::to_string(core_->options.max_header_bytes) + " bytes"));
    }
    if (error == http::error::body_limit) {
        const std::size_t limit = route_ != nullptr ? route_->body_limit : 0;
        return refuse(problem(413, "the body is larger than " + std::to_string(limit) + " bytes"));
    }
    if (error == http::error::bad_version) {
        return refuse(problem(505, "only HTTP/1.1 and HTTP/1.0 are spoken here"));
    }
    refuse(problem(400, "not an HTTP request: " + error.message()));
}

void Connection::on_cut_short() {
    keep_alive_ = false;
    if (!header_seen_) {
        head_request_ = false;
        return refuse(problem(400, "the request ended within its header"));
    }
    refuse(problem(400, "the request ended before its body was complete: " + std::to_string(parser_->body.size()) +
                            " bytes of it arrived"));
}

std::string_view Connection::header(std::string_view name) const {
    for (const auto& [key, value] : parser_->headers) {
        if (key == name) return value;
    }
    return {};
}

bool Connection::on_header() {
    keep_alive_ = parser_->keep_alive();
    head_request_ = parser_->method == "HEAD";
    std::optional<Response> refusal = check_framing();
    if (!refusal) {
        Result<Target> target = parse_target(parser_->target);
        if (!target) {
            refusal = problem(400, target.error().message);
        } else {
            target_ = std::move(*target);
            refusal = check_names(target_);
        }
    }
    if (!refusal) refusal = check_route(target_);
    if (!refusal) refusal = check_body();
    if (refusal) {
        refuse(std::move(*refusal));
        return false;
    }
    if (!body_read_ && parser_->version == 11 && lower(header("expect")) == "100-continue") {
        // Small and rare: written in place. A caller whose window cannot take 25 bytes gets its answer later.
        boost::system::error_code ignored;
        socket_.non_blocking(true, ignored);
        static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
        socket_.write_some(boost::asio::buffer(kContinue), ignored);
    }
    return true;
}

// What makes the length of the body doubtful ends the connection: two readers must never disagree on where a request
// ends.
std::optional<Response> Connection::check_framing() {
    std::size_t hosts = 0;
    std::size_t lengths = 0;
    std::size_t encodings = 0;
    for (const auto& [name, value] : parser_->headers) {
        if (name == "host") ++hosts;
        if (name == "content-length") {
            ++lengths;
            if (value.find(',') != std::string::npos) ++lengths;
        }
        if (name == "transfer-encoding") ++encodings;
    }
    std::optional<Response> refusal;
    if (hosts > 1) refusal = problem(400, "more than one Host header");
    if (hosts == 0 && parser_->version == 11) refusal = problem(400, "HTTP/1.1 asks for a Host header");
    if (lengths > 1) refusal = problem(400, "more than one Content-Length");
    if (encodings > 0) {
        if (parser_->version == 10 || lengths > 0 || encodings > 1) {
            refusal =
                problem(400, "Transfer-Encoding does not go with HTTP/1.0, Content-Length or another of its kind");
        } else if (lower(header("transfer-encoding")) != "chunked") {
            refusal = problem(501, "the only transfer encoding taken is chunked");
        }
    }
    if (refusal) {
        body_read_ = false;
        keep_alive_ = false;
    }
    return refusal;
}

std::optional<Response> Connection::check_names(const Target& target) {
    const std::string_view given = target.authority.empty() ? header("host") : std::string_view(target.authority);
    host_ = parse_authority(given);
    // No browser can reach the socket, so names mean nothing there.
    if (facts_.peer == Peer::kUnix) return std::nullopt;
    if (!given.empty() && !host_.valid) return problem(400, "the Host header is not a host name or address");
    if (!given.empty() && !core_->names.is_own(host_, facts_.local_address)) {
        return problem(403, "this server is not known as \"" + host_.host +
                                "\"; call it by its own name or address, or add the name to its settings");
    }
    const std::string_view origin = header("origin");
    if (!origin.empty() && !origin_is_own(origin, host_, facts_.local_address, facts_.local_port, core_->names)) {
        return problem(403, "requests from web pages of another origin are refused");
    }
    return std::nullopt;
}

std::optional<Response> Connection::check_route(const Target& target) {
    Router::Match match;
    if (!target.asterisk) match = router_.match(parser_->method, target.segments);
    if (match.route == nullptr) {
        if (parser_->method == "OPTIONS" && (target.asterisk || !match.allow.empty())) {
            Response response;
            response.status = 204;
            if (!match.allow.empty()) response.headers.emplace_back("Allow", match.allow + ", OPTIONS");
            return response;
        }
        if (match.allow.empty()) return problem(404, "there is nothing at this address");
        Response response = problem(405, "this address takes only " + match.allow);
        response.headers.emplace_back("Allow", match.allow + ", OPTIONS");
        return response;
    }
    route_ = match.route;
    request_.params = std::move(match.params);
    request_.pattern = route_->pattern;
    request_.peer = facts_.peer;
    request_.loopback = facts_.loopback;
    const bool asks = route_->access == Access::kWrite ||
                      (route_->access == Access::kRead && !facts_.loopback && core_->options.remote_reads_need_token);
    if (!asks || facts_.peer == Peer::kUnix) return std::nullopt;
    const std::string_view token = bearer_token(header("authorization"));
    if (equal_constant_time(token, core_->options.token)) return std::nullopt;
    if (!token.empty() && core_->options.accept_bearer && core_->options.accept_bearer(request_, token))
        return std::nullopt;
    Response response =
        problem(401, token.empty() ? "a token is needed: Authorization: Bearer <token>; the token is in the "
                                     "file \"token\" of the state folder"
                                   : "the token is not the one of this server");
    response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"worker-agents\"");
    return response;
}

std::optional<Response> Connection::check_body() {
    const std::string expect = lower(header("expect"));
    if (!expect.empty() && expect != "100-continue") return problem(417, "only Expect: 100-continue is understood");
    const auto length = parser_->content_length();
    if (length && *length > route_->body_limit) {
        return problem(413, "the body is larger than " + std::to_string(route_->body_limit) + " bytes");
    }
    parser_->body_limit(route_->body_limit);
    const bool has_body = !body_read_;
    if (has_body && takes_body(parser_->method) && !route_->content_types.empty()) {
        const std::string type = media_type(header("content-type"));
        const bool known =
            type.empty() || std::ranges::find(route_->content_types, type) != route_->content_types.end();
        if (!known) {
            return problem(415, "Content-Type \"" + type + "\" is not taken here; send " + join(route_->content_types));
        }
    }
    if (!header("content-encoding").empty() && lower(header("content-encoding")) != "identity" && has_body) {
        return problem(415, "compressed bodies are not taken");
    }
    return std::nullopt;
}

bool Connection::account_body() {
    const std::size_t size = parser_->body.size();
    if (size <= body_accounted_) return true;
    core_->body_bytes += size - body_accounted_;
    body_accounted_ = size;
    if (core_->body_bytes.load() <= core_->options.max_body_memory) return true;
    Response response = problem(503, "too many large requests at once; try again in a moment");
    response.headers.emplace_back("Retry-After", "1");
    refuse(std::move(response));
    return false;
}

void Connection::release_body() {
    core_->body_bytes -= body_accounted_;
    body_accounted_ = 0;
}

void Connection::dispatch() {
    phase_ = Phase::kHandling;
    set_deadline(core_->options.answer_time);
    ++sequence_;
    ++core_->requests;
    request_.method = parser_->method;
    request_.path = std::move(target_.path);
    request_.segments = std::move(target_.segments);
    request_.query = std::move(target_.query);
    request_.headers = std::move(parser_->headers);
    request_.body = std::move(parser_->body);
    request_.peer_address = facts_.address;
    const auto self = shared_from_this();  // the handler may answer at once, and the answer may be the last
    Responder responder(std::make_shared<ConnectionExchange>(core_, weak_from_this(), sequence_));
    route_->handle(std::move(request_), std::move(responder));
}

// ---- connection: answering

void Connection::refuse(Response response) {
    phase_ = Phase::kHandling;
    ++sequence_;
    ++core_->requests;
    if (!body_read_) {
        response.close = true;
        linger_after_ = true;
    }
    respond(std::move(response));
}

void Connection::turn_away(Response response) {
    request_began_ = core_->now();
    linger_after_ = true;
    response.close = true;
    phase_ = Phase::kHandling;
    respond(std::move(response));
}

void Connection::respond_to(std::uint64_t sequence, Response response) {
    if (sequence == sequence_ && phase_ == Phase::kHandling) respond(std::move(response));
}

void Connection::report(int status) {
    if (!core_->options.on_served) return;
    Served served;
    if (parser_) served.method = parser_->method;
    served.pattern = route_ != nullptr ? std::string_view(route_->pattern) : std::string_view{};
    served.status = status;
    served.took = core_->now() - request_began_;
    core_->options.on_served(served);
}

std::string Connection::head_of(const Response& response, std::string_view framing, bool keep) const {
    std::string head;
    head.reserve(512);
    head += "HTTP/1.1 ";
    head += std::to_string(response.status);
    head += ' ';
    head += status_text(response.status);
    head += "\r\nDate: ";
    head += core_->date();
    if (response.status != 204 && response.status != 304) {
        head += "\r\nContent-Type: ";
        head += one_line(response.content_type);
    }
    bool cache = false;
    bool policy = false;
    for (const auto& [name, value] : response.headers) {
        const std::string lowered = lower(name);
        cache = cache || lowered == "cache-control";
        policy = policy || lowered == "content-security-policy";
        head += "\r\n" + one_line(name) + ": " + one_line(value);
    }
    if (!cache) head += "\r\nCache-Control: no-store";
    if (!policy) head += "\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'";
    head += "\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer";
    head += framing;
    head += keep ? "\r\nConnection: keep-alive" : "\r\nConnection: close";
    head += "\r\n\r\n";
    return head;
}

void Connection::respond(Response response) {
    release_body();
    close_after_ = response.close || !keep_alive_ || core_->draining;
    std::string framing;
    if (response.status != 204 && response.status != 304) {
        framing = "\r\nContent-Length: " + std::to_string(response.body.size());
    }
    out_head_ = head_of(response, framing, !close_after_);
    out_body_ = head_request_ ? std::string{} : std::move(response.body);
    report(response.status);
    write_out();
}

void Connection::write_out() {
    phase_ = Phase::kWriting;
    out_sent_ = 0;
    const std::size_t size = out_head_.size() + out_body_.size();
    write_until_ = core_->now() + core_->options.write_time + std::chrono::seconds(size / kSlowestBytesPerSecond);
    write_some(&Connection::on_written);
}

void Connection::write_some(void (Connection::*done)(const boost::system::error_code&)) {
    // Some bytes must go out in each span, and all of them at a decent rate.
    deadline_ = std::min(core_->now() + core_->options.write_time, write_until_);
    const std::size_t from_head = std::min(out_sent_, out_head_.size());
    const std::size_t from_body = out_sent_ - from_head;
    const std::array<boost::asio::const_buffer, 2> buffers{boost::asio::buffer(out_head_) + from_head,
                                                           boost::asio::buffer(out_body_) + from_body};
    socket_.async_write_some(
        buffers, [self = shared_from_this(), done](const boost::system::error_code& error, std::size_t bytes) {
            self->out_sent_ += bytes;
            if (error || self->out_sent_ >= self->out_head_.size() + self->out_body_.size())
                return ((*self).*done)(error);
            if (self->phase_ != Phase::kClosed) self->write_some(done);
        });
}

void Connection::on_written(const boost::system::error_code& error) {
    if (phase_ == Phase::kClosed) return;
    out_body_ = std::string{};
    if (error) return close();
    if (stream_) {
        phase_ = Phase::kStreaming;
        deadline_ = MonoTime::max();
        if (head_request_) return close();
        watch_stream();
        flush_stream();
        return;
    }
    if (close_after_) {
        if (linger_after_) return linger();
        boost::system::error_code ignored;
        socket_.shutdown(Socket::shutdown_both, ignored);
        return close();
    }
    parser_.reset();
    phase_ = Phase::kIdle;
    header_seen_ = false;
    set_deadline(core_->options.idle_time);
    process();
}

// Closing with unread bytes makes the kernel send a reset, which can destroy the answer on its way. So the rest is read
// and thrown away for a moment first.
void Connection::linger() {
    boost::system::error_code ignored;
    if (phase_ != Phase::kLingering) {
        phase_ = Phase::kLingering;
        socket_.shutdown(Socket::shutdown_send, ignored);
        set_deadline(core_->options.linger_time);
        in_.consume(in_.size());
    }
    socket_.async_read_some(boost::asio::buffer(scratch_),
                            [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
                                if (self->phase_ == Phase::kClosed) return;
                                if (error) return self->close();
                                self->linger();
                            });
}

std::shared_ptr<Stream> Connection::open_stream(std::uint64_t sequence, Response head,
                                                const std::shared_ptr<Core>& core) {
    if (sequence != sequence_ || phase_ != Phase::kHandling) return nullptr;
    release_body();
    const bool chunked = parser_->version == 11;
    close_after_ = true;
    stream_ = std::make_shared<StreamState>(core, weak_from_this(), chunked);
    out_head_ = head_of(head, chunked ? "\r\nTransfer-Encoding: chunked" : "", false);
    report(head.status);
    write_out();
    return stream_;
}

void Connection::flush_stream() {
    if (phase_ != Phase::kStreaming || stream_writing_) return;
    StreamState::Next next = stream_->take();
    if (next.bytes.empty() && !next.last) return;
    streamed_enough_ = next.last;
    out_head_.clear();
    out_body_ = std::move(next.bytes);
    out_sent_ = 0;
    stream_writing_ = true;
    write_until_ =
        core_->now() + core_->options.write_time + std::chrono::seconds(out_body_.size() / kSlowestBytesPerSecond);
    write_some(&Connection::on_stream_written);
}

void Connection::on_stream_written(const boost::system::error_code& error) {
    stream_writing_ = false;
    if (phase_ == Phase::kClosed) return;
    if (error || streamed_enough_) {
        boost::system::error_code ignored;
        if (!error) socket_.shutdown(Socket::shutdown_both, ignored);
        return close();
    }
    deadline_ = MonoTime::max();
    stream_->sent();
    flush_stream();
}

// The only way to notice that a silent listener has left.
void Connection::watch_stream() {
    socket_.async_read_some(boost::asio::buffer(scratch_),
                            [self = shared_from_this()](const boost::system::error_code& error, std::size_t bytes) {
                                if (self->phase_ == Phase::kClosed) return;
                                self->stream_ignored_ += bytes;
                                if (error || self->stream_ignored_ > kMaxIgnoredBytes) return self->close();
                                self->watch_stream();
                            });
}

// ---- connection: ending

void Connection::sweep(MonoTime now) {
    if (now < deadline_) return;
    switch (phase_) {
        case Phase::kIdle:
        case Phase::kWriting:
        case Phase::kStreaming:
        case Phase::kLingering: return close();
        case Phase::kReading: {
            keep_alive_ = false;
            body_read_ = false;
            // Its own read is still pending; the answer goes out beside it, and then both end.
            Response response = problem(408, "the request did not arrive within " +
                                                 std::to_string(to_millis(core_->options.request_time)) + " ms");
            response.close = true;
            phase_ = Phase::kHandling;
            ++sequence_;
            ++core_->requests;
            linger_after_ = false;
            return respond(std::move(response));
        }
        case Phase::kHandling: {
            Response response = problem(504, "no answer was ready in time; the request may still take effect");
            response.close = true;
            return respond(std::move(response));
        }
        case Phase::kClosed: return;
    }
}

void Connection::drain() {
    if (phase_ == Phase::kIdle || phase_ == Phase::kLingering) return close();
    if (phase_ == Phase::kStreaming && stream_) stream_->finish();
}

void Connection::close() {
    if (phase_ == Phase::kClosed) return;
    const auto self = shared_from_this();
    phase_ = Phase::kClosed;
    release_body();
    boost::system::error_code ignored;
    socket_.close(ignored);
    if (const auto stream = std::exchange(stream_, nullptr)) stream->end();
    if (closed_) closed_(*this);
}

}  // namespace wa::net
