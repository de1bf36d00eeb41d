// One attempt at a generation: what is known of it, the one POST, asking until it has ended. See code_forge.h.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "runtimes/code_forge.h"
#include "runtimes/code_forge_answers.h"

namespace wa {

class CodeForgeRuntime::Attempt final : public RunningAttempt {
public:
    Attempt(CodeForgeRuntime& runtime, const AttemptContext& context, RuntimeListener& listener);
    ~Attempt() override;
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    void begin();
    void stop(StopReason reason, Duration grace) override;

private:
    enum class Stage : std::uint8_t { kLook, kPost, kAsk, kEnded };
    using Outcome = http::PollOutcome<code_forge::Generation>;

    void set_limit();
    [[nodiscard]] bool adopt();
    [[nodiscard]] Result<void> note() const;
    void post();
    void posted(http::ServiceAnswer answer);
    void refused(const http::Response& response);
    void ask();
    [[nodiscard]] http::PollReading<code_forge::Generation> read(const http::Response& response) const;
    void ended(Outcome outcome);
    void generated(code_forge::Generation generation);
    void time_is_over();
    void goes_on(Error why);
    void describe();
    void refuse(Error why);
    void end_unknown(Error why);
    void finish();

    [[nodiscard]] Error error(ErrorCode code, Retry retry, Fault fault, std::string message) const;
    [[nodiscard]] std::string shown() const;
    void arm(MonoTime when);
    void say(const std::string& line);

    CodeForgeRuntime& runtime_;
    AttemptContext context_;
    RuntimeListener& listener_;
    MonoTime began_;
    Stage stage_ = Stage::kLook;
    code_forge::Task task_;
    std::string work_;  // what this ticket asks for, as a hash: the generation of other work is not taken for it
    std::string request_id_;
    bool adopted_ = false;
    Duration limit_{};
    MonoTime until_;
    std::optional<StopReason> stopped_;
    std::string status_;
    std::unique_ptr<TaskLog> log_;
    RuntimeReport report_;
    boost::asio::steady_timer limit_timer_;
    http::ServiceHandle call_;
    http::PollHandle poll_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa
