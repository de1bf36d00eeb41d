#include "observability/logger.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <climits>
#include <condition_variable>
#include <ctime>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "core/codec/json_write.h"
#include "core/codec/text.h"

namespace wa::observability {
namespace {

constexpr std::string_view kMask = "***";
constexpr std::size_t kMaxValueBytes = 4096;
constexpr std::size_t kShortestSecret = 6;
constexpr std::size_t kMaxThinnedEvents = 512;
constexpr Duration kReportEvery = std::chrono::seconds(10);
constexpr Duration kCloseTime = std::chrono::seconds(2);
// Room for the closing mark of a line that was cut.
constexpr std::size_t kLineReserve = 64;

std::string upper(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
    return out;
}

// "2026-11-23T04:20:24.123Z"
std::string iso_time(EpochMillis millis) {
    const auto seconds = static_cast<std::time_t>(millis / 1000);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    std::array<char, 32> text{};
    const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S.", &parts);
    std::string out(text.data(), length);
    const std::string rest = std::to_string(millis % 1000 + 1000);
    return out + rest.substr(1) + "Z";
}

std::string number_text(double number) {
    std::array<char, 40> text{};
    const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), number);
    (void)error;  // 40 characters hold any double in its shortest form
    return {text.data(), end};
}

bool is_token_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~' || c == '+' || c == '/' || c == '=';
}

void mask_bearer(std::string& text) {
    for (const std::string_view word :
         {std::string_view("Bearer "), std::string_view("bearer "), std::string_view("Basic ")}) {
        std::size_t at = 0;
        while ((at = text.find(word, at)) != std::string::npos) {
            at += word.size();
            std::size_t end = at;
            while (end < text.size() && is_token_character(text[end]))
                ++end;
            if (end - at >= kShortestSecret) text.replace(at, end - at, kMask);
        }
    }
}

// "https://user:password@host" -> "https://***@host"
void mask_user_info(std::string& text) {
    std::size_t at = 0;
    while ((at = text.find("://", at)) != std::string::npos) {
        at += 3;
        const std::size_t end = text.find_first_of("/?# \t\"'", at);
        const std::size_t sign = text.rfind('@', end == std::string::npos ? end : end);
        if (sign == std::string::npos || sign < at) continue;
        text.replace(at, sign - at, kMask);
    }
}

std::string one_line(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    }
    return out;
}

}  // namespace

std::string_view to_string(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug: return "DEBUG";
        case LogLevel::kInfo: return "INFO";
        case LogLevel::kWarning: return "WARNING";
        case LogLevel::kError: return "ERROR";
        case LogLevel::kCritical: return "CRITICAL";
    }
    return "INFO";
}

std::optional<LogLevel> parse_log_level(std::string_view text) {
    const std::string word = upper(text);
    if (word == "DEBUG" || word == "TRACE") return LogLevel::kDebug;
    if (word == "INFO") return LogLevel::kInfo;
    if (word == "WARNING" || word == "WARN") return LogLevel::kWarning;
    if (word == "ERROR") return LogLevel::kError;
    if (word == "CRITICAL" || word == "FATAL") return LogLevel::kCritical;
    return std::nullopt;
}

std::optional<LogFormat> parse_log_format(std::string_view text) {
    const std::string word = upper(text);
    if (word == "AUTO" || word.empty()) return LogFormat::kAuto;
    if (word == "TEXT") return LogFormat::kText;
    if (word == "JSON") return LogFormat::kJson;
    return std::nullopt;
}

std::string redact(std::string_view text, const std::vector<std::string>& secrets) {
    std::string out(text);
    for (const std::string& secret : secrets) {
        if (secret.size() < kShortestSecret) continue;
        std::size_t at = 0;
        while ((at = out.find(secret, at)) != std::string::npos) {
            out.replace(at, secret.size(), kMask);
            at += kMask.size();
        }
    }
    if (out.find("earer ") != std::string::npos || out.find("Basic ") != std::string::npos) mask_bearer(out);
    if (out.find('@') != std::string::npos) mask_user_info(out);
    return out;
}

struct Log::State {
    State(LogOptions given, const Clock& source) : options(std::move(given)), clock(source), level(options.level) {
        text = options.format == LogFormat::kText ||
               (options.format == LogFormat::kAuto && !options.sink && ::isatty(options.descriptor) == 1);
        std::erase_if(options.secrets, [](const std::string& secret) { return secret.size() < kShortestSecret; });
        last_report = clock.now();
    }

    struct Bucket {
        double tokens = 0;
        MonoTime filled{};
        std::uint64_t left_out = 0;
        LogLevel level = LogLevel::kInfo;
    };
    struct Name {
        using is_transparent = void;
        std::size_t operator()(std::string_view name) const { return std::hash<std::string_view>{}(name); }
    };

    // How many lines of this event were left out before this one; nothing: this one is left out too.
    std::optional<std::uint64_t> admit(LogLevel at, std::string_view event);
    std::string json_line(LogLevel at, std::string_view event, std::span<const LogField> fields,
                          std::uint64_t left_out);
    std::string text_line(LogLevel at, std::string_view event, std::span<const LogField> fields,
                          std::uint64_t left_out);
    void append_value(std::string& out, const LogField& field, bool json);
    void enqueue(LogLevel at, std::string line, std::string json);
    void report_losses();
    void write_loop();
    bool write_out(std::string_view bytes);

    LogOptions options;
    const Clock& clock;
    std::atomic<LogLevel> level;
    bool text = false;

    std::mutex thin_mutex;
    std::unordered_map<std::string, Bucket, Name, std::equal_to<>> buckets;

    mutable std::mutex secret_mutex;

    mutable std::mutex mutex;  // the queue and the kept lines
    std::condition_variable filled;
    std::condition_variable emptied;
    std::deque<std::string> queue;
    std::size_t queue_bytes = 0;
    bool writing = false;
    bool stopping = false;
    std::uint64_t dropped = 0;
    std::uint64_t dropped_reported = 0;
    std::deque<KeptLine> kept;
    std::uint64_t last_number = 0;
    MonoTime last_report{};
    std::thread thread;
};

std::optional<std::uint64_t> Log::State::admit(LogLevel at, std::string_view event) {
    if (options.per_second <= 0 || at == LogLevel::kDebug || at == LogLevel::kCritical) return 0;
    const MonoTime now = clock.now();
    const std::scoped_lock lock(thin_mutex);
    auto found = buckets.find(event);
    if (found == buckets.end()) {
        if (buckets.size() >= kMaxThinnedEvents) return 0;
        found = buckets.emplace(std::string(event), Bucket{options.burst, now, 0, at}).first;
    }
    Bucket& bucket = found->second;
    bucket.tokens = std::min(options.burst, bucket.tokens + to_seconds(now - bucket.filled) * options.per_second);
    bucket.filled = now;
    bucket.level = at;
    if (bucket.tokens < 1) {
        ++bucket.left_out;
        return std::nullopt;
    }
    bucket.tokens -= 1;
    return std::exchange(bucket.left_out, 0);
}

void Log::State::append_value(std::string& out, const LogField& field, bool json) {
    if (const auto* words = std::get_if<std::string_view>(&field.value)) {
        std::string value;
        if (names_secret(field.key)) {
            value = kMask;
        } else {
            const std::scoped_lock lock(secret_mutex);
            value = redact(words->substr(0, 4 * kMaxValueBytes), options.secrets);
            if (value.size() > kMaxValueBytes) value = std::string(utf8_prefix(value, kMaxValueBytes)) + "…";
        }
        if (json) return append_json_string(out, value);
        value = one_line(is_utf8(value) ? value : lossy_utf8(value, kMaxValueBytes));
        if (value.find_first_of(" \"=") != std::string::npos) return append_json_string(out, value);
        out += value;
        return;
    }
    if (const auto* number = std::get_if<std::int64_t>(&field.value)) {
        out += std::to_string(*number);
    } else if (const auto* real = std::get_if<double>(&field.value)) {
        const bool finite = *real == *real && *real - *real == 0;
        out += finite ? number_text(*real) : (json ? "null" : "nan");
    } else {
        out += std::get<bool>(field.value) ? "true" : "false";
    }
}

std::string Log::State::json_line(LogLevel at, std::string_view event, std::span<const LogField> fields,
                                  std::uint64_t left_out) {
    std::string line;
    line.reserve(384);
    JsonObjectWriter json(line);
    json.text("timestamp", iso_time(clock.wall_now()));
    json.text("level", to_string(at));
    json.text("event", utf8_prefix(event, 200));
    json.text("service", "worker-agents");
    if (!options.version.empty()) json.text("version", options.version);
    if (!options.instance_id.empty()) json.text("instance_id", options.instance_id);
    json.text("component", "worker-agent");
    bool cut = false;
    for (const LogField& field : fields) {
        if (const auto* words = std::get_if<std::string_view>(&field.value); words != nullptr && words->empty())
            continue;
        const std::size_t before = line.size();
        append_value(json.key(utf8_prefix(field.key, 100)), field, true);
        if (line.size() > kMaxLogLine - kLineReserve) {
            line.resize(before);
            cut = true;
            break;
        }
    }
    if (left_out > 0) json.integer("suppressed", static_cast<std::int64_t>(left_out));
    if (cut) json.boolean("truncated", true);
    json.close();
    return line;
}

std::string Log::State::text_line(LogLevel at, std::string_view event, std::span<const LogField> fields,
                                  std::uint64_t left_out) {
    std::string line = iso_time(clock.wall_now());
    line += ' ';
    line += to_string(at);
    line.append(at == LogLevel::kInfo ? 4 : at == LogLevel::kDebug || at == LogLevel::kError ? 3 : 1, ' ');
    line += one_line(utf8_prefix(event, 200));
    for (const LogField& field : fields) {
        if (const auto* words = std::get_if<std::string_view>(&field.value); words != nullptr && words->empty())
            continue;
        const std::size_t before = line.size();
        line += ' ';
        line += one_line(utf8_prefix(field.key, 100));
        line += '=';
        append_value(line, field, false);
        if (line.size() > kMaxLogLine - kLineReserve) {
            line.resize(before);
            line += " truncated=true";
            break;
        }
    }
    if (left_out > 0) line += " suppressed=" + std::to_string(left_out);
    return line;
}

void Log::State::enqueue(LogLevel at, std::string line, std::string json) {
    line += '\n';
    const std::scoped_lock lock(mutex);
    if (options.kept_lines > 0) {
        kept.push_back({++last_number, at, std::move(json)});
        if (kept.size() > options.kept_lines) kept.pop_front();
    }
    if (stopping || queue.size() >= options.queued_lines || queue_bytes + line.size() > options.queued_bytes) {
        ++dropped;
        return;
    }
    queue_bytes += line.size();
    queue.push_back(std::move(line));
    if (queue.size() == 1) filled.notify_one();
}

// Says what was left out, for events that have gone quiet since, and lines that found no room.
void Log::State::report_losses() {
    if (clock.now() - last_report < kReportEvery) return;
    last_report = clock.now();
    std::vector<std::pair<std::string, std::uint64_t>> quiet;
    {
        const std::scoped_lock lock(thin_mutex);
        for (auto& [event, bucket] : buckets) {
            if (bucket.left_out > 0) quiet.emplace_back(event, std::exchange(bucket.left_out, 0));
        }
    }
    std::uint64_t lost = 0;
    {
        const std::scoped_lock lock(mutex);
        lost = dropped - dropped_reported;
        dropped_reported = dropped;
    }
    const auto say = [&](std::string_view event, std::initializer_list<LogField> fields) {
        const std::span<const LogField> all(fields.begin(), fields.size());
        std::string json = json_line(LogLevel::kWarning, event, all, 0);
        std::string line = text ? text_line(LogLevel::kWarning, event, all, 0) : json;
        enqueue(LogLevel::kWarning, std::move(line), std::move(json));
    };
    for (const auto& [event, count] : quiet)
        say("log_lines_suppressed", {{"suppressed_event", event}, {"count", count}});
    if (lost > 0) say("log_lines_dropped", {{"count", lost}});
}

bool Log::State::write_out(std::string_view bytes) {
    if (options.sink) {
        options.sink(bytes);
        return true;
    }
    while (!bytes.empty()) {
        pollfd room{options.descriptor, POLLOUT, 0};
        const int ready = ::poll(&room, 1, 100);
        if (ready == 0 || (ready < 0 && errno == EINTR)) {
            const std::scoped_lock lock(mutex);
            if (stopping) return false;
            continue;
        }
        // No more than a pipe that says "ready" takes without blocking: a stuck reader must not hold up the end.
        const ssize_t written =
            ::write(options.descriptor, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
        if (written > 0) bytes.remove_prefix(static_cast<std::size_t>(written));
        if (written < 0 && errno != EAGAIN && errno != EINTR) return false;  // nobody reads any more
    }
    return true;
}

void Log::State::write_loop() {
    // A reader that has gone is an error of write(), not the end of the process.
    sigset_t broken_pipe{};
    ::sigemptyset(&broken_pipe);
    ::sigaddset(&broken_pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    std::unique_lock lock(mutex);
    for (;;) {
        filled.wait_for(lock, std::chrono::seconds(1), [&] { return !queue.empty() || stopping; });
        if (queue.empty() && stopping) return;
        std::string bytes;
        std::size_t lines = 0;
        while (!queue.empty() && bytes.size() < 256 * 1024) {
            queue_bytes -= queue.front().size();
            bytes += queue.front();
            queue.pop_front();
            ++lines;
        }
        writing = true;
        lock.unlock();
        const bool good = bytes.empty() || write_out(bytes);
        report_losses();
        lock.lock();
        writing = false;
        if (!good) dropped += lines;
        if (queue.empty()) emptied.notify_all();
    }
}

Log::Log(LogOptions options, const Clock& clock) : state_(std::make_unique<State>(std::move(options), clock)) {
    state_->thread = std::thread([state = state_.get()] { state->write_loop(); });
}

Log::~Log() {
    (void)flush(kCloseTime);
    {
        const std::scoped_lock lock(state_->mutex);
        state_->stopping = true;
        state_->filled.notify_all();
    }
    state_->thread.join();
}

bool Log::enabled(LogLevel level) const {
    return level >= state_->level.load(std::memory_order_relaxed);
}
void Log::set_level(LogLevel level) {
    state_->level = level;
}
LogLevel Log::level() const {
    return state_->level;
}

void Log::add_secret(std::string value) {
    if (value.size() < kShortestSecret) return;
    const std::scoped_lock lock(state_->secret_mutex);
    state_->options.secrets.push_back(std::move(value));
}

void Log::write(LogLevel level, std::string_view event, std::span<const LogField> fields) {
    const auto left_out = state_->admit(level, event);
    if (!left_out) return;
    std::string json = state_->json_line(level, event, fields, *left_out);
    std::string line = state_->text ? state_->text_line(level, event, fields, *left_out) : json;
    state_->enqueue(level, std::move(line), std::move(json));
}

bool Log::flush(Duration limit) {
    std::unique_lock lock(state_->mutex);
    return state_->emptied.wait_for(lock, limit, [&] { return state_->queue.empty() && !state_->writing; });
}

std::uint64_t Log::dropped() const {
    const std::scoped_lock lock(state_->mutex);
    return state_->dropped;
}

std::vector<KeptLine> Log::kept(std::uint64_t after, LogLevel least, std::size_t limit) const {
    const std::scoped_lock lock(state_->mutex);
    std::vector<KeptLine> lines;
    const auto first = std::ranges::find_if(state_->kept, [&](const KeptLine& line) { return line.number > after; });
    for (auto line = first; line != state_->kept.end() && lines.size() < limit; ++line) {
        if (line->level >= least) lines.push_back(*line);
    }
    return lines;
}

std::uint64_t Log::last_kept() const {
    const std::scoped_lock lock(state_->mutex);
    return state_->last_number;
}

}  // namespace wa::observability
