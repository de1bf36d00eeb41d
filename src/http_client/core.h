// The client behind its handle: which calls are under way, and the resources they share. Loop thread only.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "http_client/http_client.h"
#include "http_client/kept_files.h"
#include "http_client/multi.h"
#include "http_client/name_cache.h"
#include "http_client/transfer.h"

namespace wa::http {

class Core : public std::enable_shared_from_this<Core> {
public:
    Core(boost::asio::io_context& loop, const Clock& clock, ClientOptions options, std::unique_ptr<NameLookup> lookup);
    ~Core();
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    std::shared_ptr<Transfer> start(Request request, StreamReader reader, bool streaming, Completion done);
    // Takes a call out wherever it stands.
    void drop(Transfer& transfer);
    void shut_down();
    [[nodiscard]] ClientStats stats() const;

private:
    Result<void> check(Transfer& transfer);
    Result<void> set_out(Transfer& transfer);
    void next_name(Transfer& transfer);
    void ask_for(Transfer& transfer, Place& place);
    void name_answered(Transfer& transfer, Place& place, const Result<Addresses>& answer);
    static Result<void> check_places(Transfer& transfer);
    void begin(Transfer& transfer);
    void follow(const std::shared_ptr<Transfer>& transfer);
    void end_with(Transfer& transfer, Error error);
    void finished(CURL* easy, CURLcode code);
    [[nodiscard]] std::vector<std::string> forgotten_entries();
    CURL* take_easy();
    void give_easy(CURL* easy);
    [[nodiscard]] std::optional<Duration> remaining(const Transfer& transfer) const;

    boost::asio::io_context& loop_;
    const Clock& clock_;
    ClientOptions options_;
    TransferSettings settings_;
    NameCache names_;
    KeptFiles files_;
    Multi multi_;
    std::unordered_map<Transfer*, std::shared_ptr<Transfer>> calls_;          // looking up, or with libcurl
    std::unordered_map<std::string, std::vector<std::uint16_t>> told_ports_;  // of names whose addresses libcurl has
    std::vector<CURL*> spare_;
    std::uint64_t begun_ = 0;
    std::uint64_t connections_ = 0;
};

}  // namespace wa::http
