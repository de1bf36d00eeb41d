#include "adapters/kafka/sink.h"

#include <gtest/gtest.h>
#include <librdkafka/rdkafka_mock.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"

namespace wa::kafka {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int16_t kFindCoordinator = 10;  // the protocol's number

class Log final : public Listener {
public:
    void log(Severity, std::string_view event, std::string detail) override {
        const std::lock_guard lock(mutex_);
        lines_.push_back(std::string(event) + ": " + detail);
    }
    [[nodiscard]] bool has(std::string_view event) {
        const std::lock_guard lock(mutex_);
        return std::any_of(lines_.begin(), lines_.end(), [event](const auto& line) { return line.starts_with(event); });
    }

private:
    std::mutex mutex_;
    std::vector<std::string> lines_;
};

// Brokers that are played by the client library itself, within a client that does nothing else.
class PlayedBrokers {
public:
    PlayedBrokers() {
        std::array<char, 256> why{};
        rd_kafka_conf_t* conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "log_level", "0", why.data(), why.size());
        host_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why.data(), why.size());
        cluster_ = rd_kafka_mock_cluster_new(host_, 1);
        rd_kafka_mock_topic_create(cluster_, "tickets", 1, 1);
        rd_kafka_mock_topic_create(cluster_, "results", 1, 1);
    }
    ~PlayedBrokers() {
        rd_kafka_mock_cluster_destroy(cluster_);
        rd_kafka_destroy(host_);
    }
    PlayedBrokers(const PlayedBrokers&) = delete;
    PlayedBrokers& operator=(const PlayedBrokers&) = delete;

    [[nodiscard]] std::string addresses() const { return rd_kafka_mock_cluster_bootstraps(cluster_); }
    void fail_next(std::int16_t request, std::size_t times, rd_kafka_resp_err_t with) {
        const std::vector<rd_kafka_resp_err_t> errors(times, with);
        rd_kafka_mock_push_request_errors_array(cluster_, request, errors.size(), errors.data());
    }

private:
    rd_kafka_t* host_ = nullptr;
    rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

class SinkOnPlayedBrokers : public testing::Test {
protected:
    SinkOnPlayedBrokers() {
        options_.brokers = brokers_.addresses();
        options_.transactional_id = "worker-1";
        options_.tickets_topic = "tickets";
        options_.results_topic = "results";
    }

    std::unique_ptr<Sink> sink(Duration call_limit) {
        Sink::Parts parts{loop_,
                          clock_,
                          random_,
                          options_,
                          log_,
                          [this](SinkInput input) { answers_.push_back(std::move(input)); },
                          [](const ExecutionResult&) { return EncodedResult{"{}", ValueKind::kJson}; },
                          [](const Ticket&) { return std::string("{}"); },
                          [](std::string_view) { return std::optional<Ticket>(); },
                          [] { return GroupMetadata(rd_kafka_consumer_group_metadata_new("workers")); },
                          [](const auto&, const auto&) { return RD_KAFKA_RESP_ERR_NO_ERROR; },
                          [](const auto& answer) { answer(SinkRecovered{}); }};
        parts.call_limit = call_limit;
        return std::make_unique<Sink>(std::move(parts));
    }
    static CommitBatch one_offset(std::uint64_t number) {
        CommitBatch batch;
        batch.number = number;
        batch.offsets.push_back({0, 1, static_cast<Offset>(number), {}});
        return batch;
    }
    // Runs the loop until `reached` says yes; false when the time is over.
    template <class Condition>
    bool run_until(Condition reached, Duration limit = seconds(60)) {
        const MonoTime end = clock_.now() + limit;
        while (!reached() && clock_.now() < end) {
            loop_.restart();
            loop_.run_for(milliseconds(20));
        }
        return reached();
    }

    PlayedBrokers brokers_;
    boost::asio::io_context loop_;
    SystemClock clock_;
    SystemRandom random_;
    Options options_;
    Log log_;
    std::vector<SinkInput> answers_;
};

// The client asks three times for the group's coordinator and then waits for a change of its connections, whatever
// limit the call was given.
TEST_F(SinkOnPlayedBrokers, ACallThatDoesNotComeBackIsHelped) {
    const auto sink = this->sink(seconds(1));
    ASSERT_TRUE(run_until([&] { return sink->ready(); }));
    brokers_.fail_next(kFindCoordinator, 3, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE);
    sink->commit(one_offset(1));
    ASSERT_TRUE(run_until([&] { return !answers_.empty(); }));
    EXPECT_TRUE(log_.has("kafka_call_overdue"));
    EXPECT_EQ(std::get<CommitResult>(answers_.front()).status, CommitStatus::kCommitted);
    // And what comes after it is no worse for that.
    sink->commit(one_offset(2));
    ASSERT_TRUE(run_until([&] { return answers_.size() == 2; }));
    EXPECT_EQ(std::get<CommitResult>(answers_.back()).status, CommitStatus::kCommitted);
}

TEST_F(SinkOnPlayedBrokers, AProducerThatCannotBeHelpedIsGivenUp) {
    const auto sink = this->sink(seconds(1));
    ASSERT_TRUE(run_until([&] { return sink->ready(); }));
    brokers_.fail_next(kFindCoordinator, 40, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE);
    sink->commit(one_offset(7));
    ASSERT_TRUE(run_until([&] { return !answers_.empty(); }));
    EXPECT_TRUE(log_.has("producer_given_up"));
    const auto& unknown = std::get<CommitResult>(answers_.front());
    EXPECT_EQ(unknown.status, CommitStatus::kFatal);
    EXPECT_EQ(unknown.number, 7U);
    EXPECT_TRUE(unknown.error);

    sink->recover();
    ASSERT_TRUE(run_until([&] { return answers_.size() == 2; }));
    EXPECT_TRUE(std::holds_alternative<SinkRecovered>(answers_.back()));
    sink->commit(one_offset(8));
    ASSERT_TRUE(run_until([&] { return answers_.size() == 3; }));
    EXPECT_EQ(std::get<CommitResult>(answers_.back()).status, CommitStatus::kCommitted);
    EXPECT_GE(sink->close(), 1U);
}

TEST_F(SinkOnPlayedBrokers, NothingIsGivenUpOtherwise) {
    const auto sink = this->sink(seconds(10));
    ASSERT_TRUE(run_until([&] { return sink->ready(); }));
    sink->commit(one_offset(1));
    ASSERT_TRUE(run_until([&] { return !answers_.empty(); }));
    EXPECT_EQ(sink->close(), 0U);
}

TEST_F(SinkOnPlayedBrokers, EndsAlsoWhenACallDoesNotComeBack) {
    auto sink = this->sink(seconds(1));
    ASSERT_TRUE(run_until([&] { return sink->ready(); }));
    brokers_.fail_next(kFindCoordinator, 3, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE);
    sink->commit(one_offset(1));
    run_until([] { return false; }, milliseconds(300));
    const MonoTime before = clock_.now();
    sink.reset();
    EXPECT_LT(clock_.now() - before, seconds(30));
    EXPECT_TRUE(answers_.empty());
}

}  // namespace
}  // namespace wa::kafka
