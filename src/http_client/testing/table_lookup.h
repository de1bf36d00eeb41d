// For tests only: names and their addresses from a table.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "http_client/name_cache.h"

namespace wa::http::testing {

// Answers from a table, after a moment; counts.
class TableLookup final : public NameLookup {
public:
    explicit TableLookup(boost::asio::io_context& loop) : loop_(loop) {}
    void lookup(const std::string& host, std::function<void(Result<Addresses>)> done) override {
        ++asked;
        auto timer = std::make_shared<boost::asio::steady_timer>(loop_, delay);
        timer->async_wait([timer, host, done = std::move(done), table = table](const auto&) {
            const auto found = table.find(host);
            if (found != table.end()) return done(found->second);
            done(tl::unexpected(
                make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kService, "http", "no such name")));
        });
    }
    std::map<std::string, Addresses> table;
    std::chrono::milliseconds delay{5};
    int asked = 0;

private:
    boost::asio::io_context& loop_;
};

}  // namespace wa::http::testing
