// Inside net/: one accepted connection, from its first byte to its end. Loop's thread only. Not for other folders.
#pragma once

#include <array>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "net/core.h"
#include "net/http_types.h"
#include "net/router.h"
#include "net/target.h"

namespace wa::net {

// Beast's tokenizer feeding plain values. Framing (Content-Length against chunked, chunk sizes) is checked by Beast;
// what it lets pass and we do not want is refused by Connection::check_framing.
class RequestParser final : public boost::beast::http::basic_parser<true> {
public:
    explicit RequestParser(std::size_t max_target) : max_target_(max_target) { eager(false); }

    std::string method;
    std::string target;
    int version = 11;
    NameValues headers;
    std::string body;
    bool target_too_long = false;
    bool in_trailer = false;

private:
    using error_code = boost::beast::error_code;
    using text = boost::beast::string_view;
    void on_request_impl(boost::beast::http::verb verb, text method_text, text target_text, int number,
                         error_code& error) override;
    void on_response_impl(int code, text reason, int number, error_code& error) override;
    void on_field_impl(boost::beast::http::field field, text name, text value, error_code& error) override;
    void on_header_impl(error_code& error) override;
    void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code& error) override;
    std::size_t on_body_impl(text bytes, error_code& error) override;
    void on_chunk_header_impl(std::uint64_t size, text extensions, error_code& error) override;
    std::size_t on_chunk_body_impl(std::uint64_t remain, text bytes, error_code& error) override;
    void on_finish_impl(error_code& error) override;

    std::size_t max_target_;
};

struct PeerFacts {
    Peer peer = Peer::kTcp;
    bool loopback = false;
    std::string address;
    std::string local_address;
    std::string local_port;
};

class StreamState;

class Connection final : public std::enable_shared_from_this<Connection> {
public:
    using Socket = boost::asio::generic::stream_protocol::socket;
    // `closed` is called once, when the connection is over.
    Connection(Socket socket, std::shared_ptr<Core> core, const Router& router, PeerFacts facts,
               std::function<void(Connection&)> closed);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void start();
    // Answers `response` without reading anything, then ends.
    void turn_away(Response response);
    // Enforces the time limits.
    void sweep(MonoTime now);
    // Ends what is idle or streaming, lets a request under way have its answer.
    void drain();
    void close();

private:
    friend class ConnectionExchange;
    friend class StreamState;
    enum class Phase : std::uint8_t { kIdle, kReading, kHandling, kWriting, kStreaming, kLingering, kClosed };

    void read();
    void on_read(const boost::system::error_code& error, std::size_t bytes);
    void process();
    void skip_empty_lines();
    void begin_request();
    bool on_header();
    std::optional<Response> check_framing();
    std::optional<Response> check_names(const Target& target);
    std::optional<Response> check_route(const Target& target);
    std::optional<Response> check_body();
    bool account_body();
    void release_body();
    void on_parse_error(const boost::system::error_code& error);
    void on_cut_short();
    void dispatch();
    // Answers before the request was read to its end.
    void refuse(Response response);
    void respond(Response response);
    void respond_to(std::uint64_t sequence, Response response);
    std::shared_ptr<Stream> open_stream(std::uint64_t sequence, Response head, const std::shared_ptr<Core>& core);
    [[nodiscard]] std::string head_of(const Response& response, std::string_view framing, bool keep) const;
    void write_out();
    // Sends out_head_ and out_body_ from out_sent_ on, then calls `done`.
    void write_some(void (Connection::*done)(const boost::system::error_code&));
    void on_written(const boost::system::error_code& error);
    void flush_stream();
    void on_stream_written(const boost::system::error_code& error);
    void watch_stream();
    void linger();
    void set_deadline(Duration span) { deadline_ = core_->now() + span; }
    [[nodiscard]] std::string_view header(std::string_view name) const;
    void report(int status);

    Socket socket_;
    std::shared_ptr<Core> core_;
    const Router& router_;
    PeerFacts facts_;
    std::function<void(Connection&)> closed_;

    Phase phase_ = Phase::kIdle;
    MonoTime deadline_;
    MonoTime request_began_;
    std::uint64_t sequence_ = 0;  // of the request; an answer with another number is void
    boost::beast::flat_buffer in_;
    std::optional<RequestParser> parser_;
    std::size_t header_bytes_ = 0;
    std::size_t body_accounted_ = 0;
    bool header_seen_ = false;
    bool body_read_ = false;   // the request was read to its end
    bool keep_alive_ = false;  // what the caller asked for
    bool head_request_ = false;
    bool close_after_ = false;
    bool linger_after_ = false;
    bool reading_ = false;
    bool streamed_enough_ = false;
    Request request_;
    Target target_;
    Authority host_;
    const Route* route_ = nullptr;
    std::string out_head_;
    std::string out_body_;
    std::size_t out_sent_ = 0;
    MonoTime write_until_;
    std::shared_ptr<StreamState> stream_;
    bool stream_writing_ = false;
    std::size_t stream_ignored_ = 0;
    std::array<char, 4096> scratch_{};
};

}  // namespace wa::net
