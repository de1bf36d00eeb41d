#include "adapters/kafka/retirement.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace wa::kafka {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Counting final : public Listener {
public:
    void log(Severity, std::string_view, std::string) override { ++lines; }
    std::atomic<int> lines{0};
};

std::unique_ptr<Client> client(Listener& listener) {
    Options options;
    options.brokers = "127.0.0.1:1";  // nobody: each try to connect is a line of its log
    auto made = Client::make(RD_KAFKA_PRODUCER, Configuration(options, "test"), listener);
    EXPECT_TRUE(made);
    return std::move(*made);
}

TEST(Retirement, EndsClientsElsewhere) {
    Counting listener;
    Retirement retirement;
    retirement.share(client(listener)).reset();
    retirement.share(client(listener)).reset();
    EXPECT_EQ(retirement.close(seconds(20)), 0U);
    EXPECT_EQ(retirement.pending(), 0U);
}

TEST(Retirement, NotBeforeTheLastOneLetsGo) {
    Counting listener;
    Retirement retirement;
    auto one = retirement.share(client(listener));
    auto other = one;
    one.reset();
    EXPECT_EQ(retirement.pending(), 0U);
    other.reset();
    EXPECT_EQ(retirement.close(seconds(20)), 0U);
}

TEST(Retirement, ARetiredClientIsSilent) {
    Counting listener;
    Retirement retirement;
    auto held = client(listener);
    while (listener.lines == 0)
        std::this_thread::sleep_for(milliseconds(10));
    held->mute();
    const int said = listener.lines;
    std::this_thread::sleep_for(milliseconds(1500));  // the next try comes after 100 ms, lines are told now and then
    EXPECT_EQ(listener.lines, said);
}

}  // namespace
}  // namespace wa::kafka
