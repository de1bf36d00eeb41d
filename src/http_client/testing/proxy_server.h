// For tests only: a proxy that tunnels (CONNECT), or refuses in the way it is told to.
#pragma once

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace wa::http::testing {

class ProxyServer {
public:
    using tcp = boost::asio::ip::tcp;
    // What is sent instead of "200"; the tunnel leads to 127.0.0.1, at the port that was asked for, whatever the host.
    explicit ProxyServer(boost::asio::io_context& loop) : state_(std::make_shared<State>(loop)) { accept(state_); }
    ~ProxyServer() {
        boost::system::error_code ignored;
        state_->acceptor.close(ignored);
        state_->stopped = true;
    }
    ProxyServer(const ProxyServer&) = delete;
    ProxyServer& operator=(const ProxyServer&) = delete;

    void refuse_with(std::string answer) { state_->refusal = std::move(answer); }
    [[nodiscard]] std::string url() const {
        return "http://proxy.test:" + std::to_string(state_->acceptor.local_endpoint().port());
    }
    [[nodiscard]] const std::vector<std::string>& heads() const { return state_->heads; }

private:
    struct State {
        explicit State(boost::asio::io_context& io)
            : loop(io), acceptor(io, {boost::asio::ip::address_v4::loopback(), 0}) {}
        boost::asio::io_context& loop;
        tcp::acceptor acceptor;
        std::string refusal;
        std::vector<std::string> heads;
        bool stopped = false;
    };
    struct Tunnel : std::enable_shared_from_this<Tunnel> {
        Tunnel(tcp::socket socket, std::shared_ptr<State> of)
            : client(std::move(socket)), server(of->loop), state(std::move(of)) {}
        void begin() {
            boost::asio::async_read_until(client, boost::asio::dynamic_buffer(head), "\r\n\r\n",
                                          [self = shared_from_this()](const auto& error, std::size_t) {
                                              if (!error) self->connect();
                                          });
        }
        void connect() {
            state->heads.push_back(head);
            if (!state->refusal.empty()) {
                answer = state->refusal;
                boost::asio::async_write(client, boost::asio::buffer(answer),
                                         [self = shared_from_this()](const auto&, std::size_t) {});
                return;
            }
            const std::string place = head.substr(0, head.find(" HTTP/"));
            const auto port = static_cast<std::uint16_t>(std::stoi(place.substr(place.rfind(':') + 1)));
            server.async_connect({boost::asio::ip::address_v4::loopback(), port},
                                 [self = shared_from_this()](const auto& error) {
                                     if (!error) self->open();
                                 });
        }
        void open() {
            answer = "HTTP/1.1 200 Connection established\r\nX-Proxy: 1\r\n\r\n";
            boost::asio::async_write(client, boost::asio::buffer(answer),
                                     [self = shared_from_this()](const auto& error, std::size_t) {
                                         if (error) return;
                                         self->relay(self->client, self->server, self->up);
                                         self->relay(self->server, self->client, self->down);
                                     });
        }
        void relay(tcp::socket& from, tcp::socket& to, std::string& buffer) {
            buffer.resize(16'384);
            from.async_read_some(boost::asio::buffer(buffer), [self = shared_from_this(), &from, &to, &buffer](
                                                                  const auto& error, std::size_t size) {
                if (error) return self->close();
                boost::asio::async_write(to, boost::asio::buffer(buffer.data(), size),
                                         [self, &from, &to, &buffer](const auto& failure, std::size_t) {
                                             if (failure) return self->close();
                                             self->relay(from, to, buffer);
                                         });
            });
        }
        void close() {
            boost::system::error_code ignored;
            client.close(ignored);
            server.close(ignored);
        }
        tcp::socket client;
        tcp::socket server;
        std::shared_ptr<State> state;
        std::string head;
        std::string answer;
        std::string up;
        std::string down;
    };

    static void accept(const std::shared_ptr<State>& state) {
        state->acceptor.async_accept([state](const auto& error, tcp::socket socket) {
            if (error || state->stopped) return;
            std::make_shared<Tunnel>(std::move(socket), state)->begin();
            accept(state);
        });
    }

    std::shared_ptr<State> state_;
};

}  // namespace wa::http::testing
