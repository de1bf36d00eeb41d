// One attempt at a function: keys, the one call, its answer. See lambda.h.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "process/kept_output.h"
#include "runtimes/lambda.h"
#include "runtimes/lambda_answer.h"
#include "runtimes/secret_mask.h"

namespace wa {

class LambdaRuntime::Attempt final : public RunningAttempt {
public:
    Attempt(LambdaRuntime& runtime, const AttemptContext& context, RuntimeListener& listener);
    ~Attempt() override;
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    void begin();
    void stop(StopReason reason, Duration grace) override;

private:
    enum class Stage : std::uint8_t { kKeys, kCall, kEnded };

    void set_limits();
    void ask_for_keys();
    void got_keys(Result<aws::Credentials> keys);
    void invoke();
    void answered(http::ServiceAnswer answer);
    void function_answered(const http::Response& response);
    void refused(const http::Response& response);
    void take_tail(const lambda::LogTail& tail);
    [[nodiscard]] std::optional<Error> judge(const lambda::FunctionAnswer& answer, bool function_failed);
    [[nodiscard]] Error function_error(const lambda::FunctionAnswer& answer) const;
    void time_is_over();
    void describe();
    void refuse(Error why);
    void end_unknown(ErrorCode code, Fault fault, const std::string& why);
    void finish();

    [[nodiscard]] Error error(ErrorCode code, Retry retry, Fault fault, std::string message) const;
    [[nodiscard]] std::string masked(std::string_view text) const;  // clipped too
    void keep(TaskLogStream stream, KeptOutput& kept, const std::string& text);
    void say(std::string line);

    LambdaRuntime& runtime_;
    AttemptContext context_;
    RuntimeListener& listener_;
    MonoTime began_;
    Stage stage_ = Stage::kKeys;
    lambda::Task task_;
    aws::Credentials keys_;
    bool renewed_ = false;  // keys that had expired were replaced
    SecretMask mask_;
    KeptOutput out_;
    KeptOutput err_;
    std::unique_ptr<TaskLog> log_;
    Duration told_{};  // what the function is given
    MonoTime until_;   // when its answer is not waited for any more
    bool sent_ = false;
    bool answered_ = false;  // by the function
    std::optional<StopReason> stopped_;
    std::optional<std::uint64_t> billed_ms_;
    RuntimeReport report_;
    boost::asio::steady_timer limit_timer_;
    http::ServiceHandle call_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
