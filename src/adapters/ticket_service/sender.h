// The way of the status updates: queue, requests, retries, file.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <unordered_map>

#include "adapters/ticket_service/shared.h"
#include "adapters/ticket_service/spill_file.h"
#include "adapters/ticket_service/update_queue.h"
#include "core/admission/backpressure.h"

namespace wa {

class HttpTicketService::Sender {
public:
    explicit Sender(Shared& shared);
    ~Sender();
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

    void add(StatusUpdate update);
    void flush(Duration limit, std::function<void(std::size_t)> done);
    [[nodiscard]] bool behind();
    [[nodiscard]] std::size_t queued() const { return queue_.size(); }
    [[nodiscard]] std::size_t in_flight() const { return queue_.in_flight(); }

private:
    struct Request {
        http::Call call;
        StatusUpdate update;
        MonoTime since{};
        std::int32_t failures = 0;
    };

    void read_file();
    void pump_soon();
    void pump();
    void send(Request& request);
    void answered(const std::string& ticket_id, const Result<http::Response>& answer);
    void arrived(const std::string& ticket_id);
    void give_up(const std::string& ticket_id, const Error& why);
    void try_again(const std::string& ticket_id, const ticket_service::Verdict& verdict);
    [[nodiscard]] Duration patience() const;
    void wait_until(MonoTime when);
    void arm_file_timer();
    void write_file();
    void check_flush();

    Shared& shared_;
    ticket_service::UpdateQueue queue_;
    Backpressure room_;
    std::unique_ptr<ticket_service::SpillFile> file_;
    bool file_has_something_ = false;
    bool file_timer_armed_ = false;
    bool pump_posted_ = false;
    std::unordered_map<std::string, Request> requests_;
    boost::asio::steady_timer timer_;
    boost::asio::steady_timer file_timer_;
    boost::asio::steady_timer flush_timer_;
    std::function<void(std::size_t)> flushed_;
    MonoTime flush_until_{};
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace wa
