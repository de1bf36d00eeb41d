// Structured log lines: JSON or human text, to stderr, never in the way.
//
// log() formats on the caller's thread and hands the line to a writer thread through a bounded queue; when the reader
// of stderr is stuck, lines are dropped and counted, and nobody waits. Lines are valid UTF-8, one line each, at most 16
// KiB; values of fields that are named like secrets, and known secret values anywhere, are masked. An event that
// repeats too fast is thinned out: the next line of it says how many were left out.
//
// Fields of a line: contract/metrics.md 8.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace wa::observability {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarning, kError, kCritical };
std::string_view to_string(LogLevel level);  // "DEBUG", "INFO", …
// DEBUG, INFO, WARNING (WARN), ERROR, CRITICAL (FATAL), in any case.
[[nodiscard]] std::optional<LogLevel> parse_log_level(std::string_view text);

// One field of a line; valid during the call only. Text that is empty is left out.
struct LogField {
    using Value = std::variant<std::string_view, std::int64_t, double, bool>;
    std::string_view key;
    Value value;

    LogField(std::string_view name, std::string_view text) : key(name), value(text) {}
    LogField(std::string_view name, const char* text) : key(name), value(std::string_view(text)) {}
    LogField(std::string_view name, const std::string& text) : key(name), value(std::string_view(text)) {}
    LogField(std::string_view name, bool flag) : key(name), value(flag) {}
    template <std::integral Number>
        requires(!std::same_as<Number, bool>)
    LogField(std::string_view name, Number number) : key(name), value(static_cast<std::int64_t>(number)) {}
    LogField(std::string_view name, double number) : key(name), value(number) {}
};

class Logger {
public:
    virtual ~Logger() = default;
    [[nodiscard]] virtual bool enabled(LogLevel level) const = 0;
    // `event`: a stable word, "ticket_consumed". Any thread. Never throws, never waits for the reader.
    virtual void write(LogLevel level, std::string_view event, std::span<const LogField> fields) = 0;

    void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {}) {
        if (enabled(level)) write(level, event, std::span(fields.begin(), fields.size()));
    }
    void debug(std::string_view event, std::initializer_list<LogField> fields = {}) {
        log(LogLevel::kDebug, event, fields);
    }
    void info(std::string_view event, std::initializer_list<LogField> fields = {}) {
        log(LogLevel::kInfo, event, fields);
    }
    void warning(std::string_view event, std::initializer_list<LogField> fields = {}) {
        log(LogLevel::kWarning, event, fields);
    }
    void error(std::string_view event, std::initializer_list<LogField> fields = {}) {
        log(LogLevel::kError, event, fields);
    }
    void critical(std::string_view event, std::initializer_list<LogField> fields = {}) {
        log(LogLevel::kCritical, event, fields);
    }
};

enum class LogFormat : std::uint8_t { kAuto, kText, kJson };  // auto: text on a terminal, else JSON
[[nodiscard]] std::optional<LogFormat> parse_log_format(std::string_view text);

inline constexpr std::size_t kMaxLogLine = 16 * 1024;

struct LogOptions {
    LogLevel level = LogLevel::kInfo;
    LogFormat format = LogFormat::kAuto;
    int descriptor = 2;                               // not owned
    std::function<void(std::string_view)> sink = {};  // instead of the descriptor; on the writer's thread
    std::string version = {};
    std::string instance_id = {};           // AGENT_ID
    std::vector<std::string> secrets = {};  // values that never appear; shorter than 6 bytes are ignored
    std::size_t queued_lines = 8192;
    std::size_t queued_bytes = 8 * 1024 * 1024;
    std::size_t kept_lines = 2000;  // for GET /api/v1/logs
    double burst = 200;             // lines of one event at INFO and above before thinning …
    double per_second = 50;         // … and then this many a second; 0 = no thinning
};

// A line as it is kept for readers inside the process.
struct KeptLine {
    std::uint64_t number = 0;  // rises by one
    LogLevel level = LogLevel::kInfo;
    std::string json;
};

class Log final : public Logger {
public:
    // The clock must outlive the log.
    Log(LogOptions options, const Clock& clock);
    ~Log() override;  // writes what is queued, for at most two seconds
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    [[nodiscard]] bool enabled(LogLevel level) const override;
    void write(LogLevel level, std::string_view event, std::span<const LogField> fields) override;

    void set_level(LogLevel level);
    [[nodiscard]] LogLevel level() const;
    void add_secret(std::string value);
    // Waits until everything logged before has been written, or the time is over. False: it was over.
    bool flush(Duration limit);
    [[nodiscard]] std::uint64_t dropped() const;

    // Kept lines with a number above `after` and at least this level, oldest first, at most `limit`.
    [[nodiscard]] std::vector<KeptLine> kept(std::uint64_t after, LogLevel least, std::size_t limit) const;
    [[nodiscard]] std::uint64_t last_kept() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

// For whatever may run without a log.
class NoLog final : public Logger {
public:
    [[nodiscard]] bool enabled(LogLevel) const override { return false; }
    void write(LogLevel, std::string_view, std::span<const LogField>) override {}
};

// Masks known secrets, "Bearer …" and passwords in addresses. Total on any bytes; the result is valid UTF-8 without
// line ends when `text` is.
[[nodiscard]] std::string redact(std::string_view text, const std::vector<std::string>& secrets);

}  // namespace wa::observability
