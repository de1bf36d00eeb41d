#include "cli/watch.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <map>
#include <set>

#include "cli/exit_codes.h"
#include "cli/sse.h"
#include "cli/states.h"
#include "cli/text.h"

namespace wa::cli {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

constexpr auto kTick = 200ms;             // between two looks at the clock
constexpr auto kCalmRefresh = 2s;         // with a working event stream
constexpr auto kBusyRefresh = 500ms;      // without one
constexpr auto kLeastRefresh = 100ms;     // however many events there are
constexpr auto kReopen = 1s;              // before the event stream is opened again
constexpr auto kSilence = 45s;            // the server says something every 15 s
constexpr auto kGiveUp = 30s;             // without any answer
constexpr std::size_t kMostNodes = 2000;  // of one plan, shown one by one
constexpr std::size_t kMaxFollowed = 32;
constexpr std::int32_t kMaxMissedTries = 4;  // between two looks
constexpr std::size_t kTail = 20;
constexpr std::size_t kLongestLastLine = 120;

// The event stream, used for one thing only: to know that it is time to look.
class Wakeups {
public:
    Wakeups(ApiClient& api, InterruptWatch& interrupts, const Clock& clock, std::string target)
        : api_(api), interrupts_(interrupts), clock_(clock), target_(std::move(target)) {}

    // Waits at most `wait`. True = something happened. kCancelled = interrupted; every other trouble is kept inside.
    Result<bool> wait(milliseconds wait) {
        if (!stream_ && clock_.now() >= reopen_at_) {
            WA_CHECKED(open());
            if (stream_) return true;  // something may have happened before it was open
        }
        if (!stream_) {
            if (interrupts_.wait(wait)) {
                return tl::unexpected(
                    make_error(ErrorCode::kCancelled, Retry::kNever, Fault::kTask, "cli", "interrupted"));
            }
            return false;
        }
        auto piece = stream_->read(wait);
        if (!piece && piece.error().code == ErrorCode::kCancelled) return tl::unexpected(std::move(piece).error());
        if (!piece || piece->ended) {
            close();
            return true;
        }
        if (!piece->bytes.empty()) heard_at_ = clock_.now();
        if (clock_.now() - heard_at_ > kSilence) close();
        return !parser_.feed(piece->bytes).empty();
    }
    [[nodiscard]] bool works() const { return stream_ != nullptr; }

private:
    Result<void> open() {
        auto stream = api_.stream(target_, parser_.last_id());
        if (!stream && stream.error().code == ErrorCode::kCancelled) return tl::unexpected(std::move(stream).error());
        if (!stream) {
            reopen_at_ = clock_.now() + kReopen;
            return {};
        }
        stream_ = std::move(*stream);
        heard_at_ = clock_.now();
        return {};
    }
    void close() {
        stream_.reset();
        parser_ = SseParser();
        reopen_at_ = clock_.now() + kReopen;
    }

    ApiClient& api_;
    InterruptWatch& interrupts_;
    const Clock& clock_;
    std::string target_;
    std::unique_ptr<ApiStream> stream_;
    SseParser parser_;
    MonoTime reopen_at_{};
    MonoTime heard_at_{};
};

class Watch {
public:
    Watch(Session& session, const WatchTargets& targets, const WatchOptions& options)
        : session_(session),
          targets_(targets),
          options_(options),
          progress_({.terminal = on_terminal(), .colours = colours(), .width = size().width, .height = size().height}) {
    }

    int run() {
        InterruptWatch& interrupts = session_.watch_interrupts();
        auto api = session_.api();
        if (!api) return session_.failed("cannot watch", api.error());
        api_ = *api;
        interrupts_ = &interrupts;
        started_ = session_.clock().now();
        reached_at_ = started_;
        const auto ended = loop();
        if (!ended) return stopped(ended.error());
        if (!on_terminal() || options_.view_on_out) progress_.release();
        return report();
    }

private:
    [[nodiscard]] bool on_terminal() const {
        return can_redraw(
            options_.view_on_out ? session_.console().out_is_terminal() : session_.console().err_is_terminal(),
            session_.environment());
    }
    [[nodiscard]] bool colours() const {
        return options_.view_on_out ? session_.colours_out() : session_.colours_err();
    }
    [[nodiscard]] ScreenSize size() const { return session_.console().size(); }

    void show(const std::string& text) {
        if (text.empty()) return;
        if (options_.view_on_out) {
            if (!session_.machine_output()) session_.console().out(text);
        } else {
            session_.hint(text);
        }
    }

    // Everything has ended, or an error that ends the wait.
    Result<void> loop() {
        Wakeups wakeups(*api_, *interrupts_, session_.clock(), event_target());
        MonoTime refreshed{};
        Duration looked_for{};
        bool dirty = true;
        while (true) {
            const auto since = session_.clock().now() - refreshed;
            const auto rest = wakeups.works() ? Duration(kCalmRefresh) : Duration(kBusyRefresh);
            // Looking takes time on both sides; most of it is left to the work.
            const auto least = std::max(Duration(kLeastRefresh), looked_for * 5);
            if ((dirty && since >= least) || since >= std::max(rest, least)) {
                const MonoTime before = session_.clock().now();
                WA_CHECKED(refresh());
                refreshed = session_.clock().now();
                looked_for = refreshed - before;
                dirty = false;
                if (options_.follow) WA_CHECKED(follow_logs());
                draw();
                if (over()) return options_.follow ? finish_logs() : Result<void>{};
            } else {
                if (options_.follow) WA_CHECKED(pump_logs());
                if (on_terminal()) draw();
            }
            if (session_.global().timeout && session_.clock().now() - started_ >= *session_.global().timeout) {
                return tl::unexpected(timed_out());
            }
            WA_TRY(const bool woken, wakeups.wait(dirty ? milliseconds(kLeastRefresh) : milliseconds(kTick)));
            dirty = dirty || woken;
        }
    }

    [[nodiscard]] std::string event_target() const {
        std::string topics;
        for (const std::string& plan : targets_.plans)
            topics += (topics.empty() ? "plan:" : ",plan:") + encoded(plan);
        constexpr std::size_t kMaxTopics = 32;
        if (!targets_.tickets.empty() || targets_.plans.size() > kMaxTopics) topics = "ticket";
        return "/api/v1/events?topics=" + topics;
    }

    Error timed_out() const {
        Error error = make_error(ErrorCode::kTimeout, Retry::kNever, Fault::kTask, "cli",
                                 "not done after " + run_text(to_millis(session_.clock().now() - started_)));
        error.fix = "it goes on; look again with: " + look_again();
        return error;
    }

    [[nodiscard]] std::string look_again() const {
        if (!targets_.plans.empty()) return "worker-agents plans watch " + targets_.plans.front();
        return "worker-agents tickets watch " + std::string(short_id(targets_.tickets.front()));
    }

    // A worker that restarts is waited for; a refusal is not.
    Result<void> refresh() {
        auto state = fetch();
        if (state) {
            state_ = std::move(*state);
            reached_at_ = session_.clock().now();
            note_.clear();
            return {};
        }
        const Error& error = state.error();
        const bool away = error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kTimeout;
        const bool known = state_.total > 0;
        if (!away || !known || session_.clock().now() - reached_at_ > kGiveUp)
            return tl::unexpected(std::move(state).error());
        note_ = "the server does not answer; trying again";
        return {};
    }

    Result<ProgressState> fetch() {
        const std::int64_t now = session_.clock().wall_now();
        ProgressState all;
        std::size_t ended = 0;
        for (const std::string& plan : targets_.plans) {
            const std::string nodes = large_.contains(plan) ? "0" : std::to_string(kMostNodes);
            WA_TRY(const ApiAnswer answer, api_->get("/api/v1/plans/" + encoded(plan) + "?nodes=" + nodes));
            WA_TRY(const json::object object, body_object(answer));
            ProgressState one = plan_progress(object, now);
            if (one.nodes.size() < one.total) {
                large_.insert(plan);
                one.critical_path.clear();
                WA_CHECKED(add_what_matters(plan, one, now));
            }
            if (targets_.plans.size() == 1) all.critical_path = one.critical_path;
            all.title += (all.title.empty() ? "" : ", ") + one.title;
            all.elapsed_ms = std::max(all.elapsed_ms, one.elapsed_ms);
            all.total += one.total;
            ended += one.ended.value_or(count_over(one));
            std::ranges::move(one.nodes, std::back_inserter(all.nodes));
            last_bodies_[plan] = answer;
        }
        for (const std::string& ticket : targets_.tickets) {
            WA_TRY(const ApiAnswer answer, api_->get("/api/v1/tickets/" + encoded(ticket)));
            WA_TRY(const json::object object, body_object(answer));
            const TicketFacts facts = ticket_facts(object, now);
            const bool over = is_over(kind_of(facts.phase));
            all.nodes.push_back(node_of(facts));
            all.total += 1;
            if (over) ++ended;
            const std::int64_t end = over && facts.ended_at ? *facts.ended_at : now;
            if (facts.created_at) all.elapsed_ms = std::max(all.elapsed_ms, end - *facts.created_at);
            if (all.title.empty()) all.title = facts.task;
            last_bodies_[ticket] = answer;
        }
        all.ended = ended;
        return all;
    }

    static std::size_t count_over(const ProgressState& state) {
        return static_cast<std::size_t>(
            std::ranges::count_if(state.nodes, [](const ProgressNode& node) { return is_over(kind_of(node.phase)); }));
    }

    static ProgressNode node_of(const TicketFacts& facts) {
        return {facts.id, facts.task, facts.phase, facts.run_ms.value_or(-1), facts.attempts, facts.why};
    }

    // Of a plan too large to look at as a whole: what runs and what failed.
    Result<void> add_what_matters(const std::string& plan, ProgressState& state, std::int64_t now) {
        state.nodes.clear();
        for (const std::string_view status : {"RUNNING", "FAILED"}) {
            WA_TRY(const ApiAnswer answer, api_->get("/api/v1/tickets?plan_id=" + encoded(plan) +
                                                     "&status=" + std::string(status) + "&view=summary&limit=100"));
            WA_TRY(const json::object object, body_object(answer));
            for (const json::value& value : array_of(object, "tickets")) {
                if (value.is_object()) state.nodes.push_back(node_of(ticket_facts(value.get_object(), now)));
            }
        }
        return {};
    }

    void draw() {
        ProgressState shown = state_;
        shown.note = note_;
        if (!over()) {
            // Between two looks at the server only the clock moves.
            const std::int64_t passed = to_millis(session_.clock().now() - reached_at_);
            shown.elapsed_ms += passed;
            for (ProgressNode& node : shown.nodes) {
                if (node.run_ms >= 0 && kind_of(node.phase) == Kind::kRunning) node.run_ms += passed;
            }
        }
        progress_.resize(size().width, size().height);
        show(progress_.update(shown));
    }

    [[nodiscard]] bool over() const { return state_.total > 0 && state_.ended.value_or(0) >= state_.total; }

    // ---- logs

    struct Followed {
        std::unique_ptr<ApiStream> stream;
        std::string name;
        std::string rest;  // the beginning of a line
    };

    Result<void> follow_logs() {
        WA_CHECKED(pump_logs());
        bool refused = false;  // one is enough: the others are asked for with the next look
        for (const ProgressNode& node : state_.nodes) {
            const Kind kind = kind_of(node.phase);
            const bool running = kind == Kind::kRunning;
            if (running && (refused || followed_.size() >= kMaxFollowed)) continue;
            const std::int32_t first = std::max(1, node.tries - kMaxMissedTries);
            for (std::int32_t attempt = first; attempt <= node.tries; ++attempt) {
                if (seen_logs_.contains({node.id, attempt})) continue;
                WA_TRY(const bool begun, begin_log(node, attempt, running && attempt == node.tries));
                if (begun) seen_logs_.emplace(node.id, attempt);
                refused = refused || !begun;
            }
        }
        WA_CHECKED(pump_logs());
        return {};
    }

    // False: there is nothing to read yet, but there may be.
    Result<bool> begin_log(const ProgressNode& node, std::int32_t attempt, bool running) {
        const std::string target = "/api/v1/tickets/" + encoded(node.id) + "/logs?attempt=" + std::to_string(attempt);
        if (running) {
            auto stream = api_->stream(target + "&follow=true");
            if (stream) {
                followed_.push_back({std::move(*stream), node.name, {}});
                return true;
            }
            if (stream.error().code == ErrorCode::kCancelled) return tl::unexpected(std::move(stream).error());
            return false;
        }
        auto answer = api_->get(target);
        if (!answer && answer.error().code == ErrorCode::kCancelled) return tl::unexpected(std::move(answer).error());
        if (answer) {
            Followed whole{nullptr, node.name, std::move(answer->body)};
            print_lines(whole, true);
        }
        return true;
    }

    // Everything has ended; what was printed last may still be on its way. A server that goes on sending nothing is
    // left.
    Result<void> finish_logs() {
        constexpr Duration kPatience = std::chrono::seconds(5);
        MonoTime heard = session_.clock().now();
        while (!followed_.empty() && session_.clock().now() - heard < kPatience) {
            WA_TRY(const bool more, pump_logs(milliseconds(kTick)));
            if (more) heard = session_.clock().now();
        }
        draw();
        return {};
    }

    // True: something came. `wait`: for each of them.
    Result<bool> pump_logs(milliseconds wait = 0ms) {
        bool came = false;
        for (Followed& one : followed_) {
            auto piece = one.stream->read(wait);
            if (!piece && piece.error().code == ErrorCode::kCancelled) return tl::unexpected(std::move(piece).error());
            const bool ended = !piece || piece->ended;
            came = came || ended || !piece->bytes.empty();
            if (piece) one.rest += piece->bytes;
            print_lines(one, ended);
            if (ended) one.stream.reset();
        }
        std::erase_if(followed_, [](const Followed& one) { return one.stream == nullptr; });
        return came;
    }

    void print_lines(Followed& log, bool all) {
        constexpr std::size_t kLongestLine = 64 * 1024;
        std::string out;
        std::size_t begin = 0;
        while (begin < log.rest.size()) {
            std::size_t end = log.rest.find('\n', begin);
            if (end == std::string::npos && !all && log.rest.size() - begin < kLongestLine) break;
            if (end == std::string::npos) end = log.rest.size();
            const std::string_view line = std::string_view(log.rest).substr(begin, end - begin);
            out += prefix(log.name) +
                   (session_.console().out_is_terminal() ? printable_block(line) : std::string(line)) + "\n";
            begin = end + 1;
        }
        log.rest.erase(0, std::min(begin, log.rest.size()));
        if (out.empty()) return;
        show(progress_.erase());
        session_.console().out(out);
    }

    std::string prefix(const std::string& name) {
        constexpr std::array<std::string_view, 6> kColours{"\x1b[36m", "\x1b[33m", "\x1b[35m",
                                                           "\x1b[32m", "\x1b[34m", "\x1b[96m"};
        const std::string text = printable(name) + " | ";
        if (!session_.colours_out()) return text;
        const auto [place, added] = name_colours_.try_emplace(name, name_colours_.size() % kColours.size());
        return std::string(kColours[place->second]) + text + std::string(kPlain);
    }

    // ---- the end

    int stopped(const Error& error) {
        show(progress_.erase());
        if (error.code == ErrorCode::kCancelled) {
            session_.hint("stopped watching; it goes on. Look again with: " + look_again() + "\n");
            return kExitInterrupted;
        }
        return session_.failed("stopped watching", error);
    }

    // The failure to tell about: one of its own before one that only lost its dependency.
    [[nodiscard]] const ProgressNode* worst() const {
        const ProgressNode* found = nullptr;
        int best = 9;
        for (const ProgressNode& node : state_.nodes) {
            const Kind kind = kind_of(node.phase);
            int rank = 9;
            if (kind == Kind::kFailed) rank = node.phase == "dependency-failed" ? 2 : 0;
            if (kind == Kind::kCancelled) rank = 1;
            if (kind == Kind::kSimulated && !options_.allow_simulated) rank = 3;
            if (rank < best) {
                best = rank;
                found = &node;
            }
        }
        return found;
    }

    int report() {
        if (session_.machine_output() && !last_bodies_.empty()) {
            for (const auto& [id, body] : last_bodies_) {
                if (auto printed = session_.print_machine(body); !printed)
                    return session_.failed("cannot show the end", printed.error());
            }
        }
        const ProgressNode* node = worst();
        if (node == nullptr) {
            session_.hint("all " + std::to_string(state_.total) + " completed in " + run_text(state_.elapsed_ms) +
                          "\n");
            return kExitOk;
        }
        if (kind_of(node->phase) == Kind::kSimulated) {
            session_.console().err(
                printable(node->name) +
                " was only simulated: nothing real was done; --allow-simulated takes that as a success\n");
            return kExitWorkFailed;
        }
        tell_failure(*node);
        return kExitWorkFailed;
    }

    void tell_failure(const ProgressNode& node) {
        std::string exit_code;
        std::string cause = node.why;
        if (auto answer = api_->get("/api/v1/tickets/" + encoded(node.id) + "/attempts")) {
            if (auto body = body_json(*answer)) read_last_attempt(*body, exit_code, cause);
        }
        const std::string tail = last_lines(node.id);
        std::string text;
        std::string last;
        std::string_view rest = tail;
        while (!rest.empty()) {
            const std::size_t end = rest.find('\n');
            const std::string line = printable(rest.substr(0, end));
            if (!line.empty()) last = line;
            text += "  " + line + "\n";
            rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
        }
        std::size_t others = 0;
        for (const ProgressNode& other : state_.nodes) {
            const Kind kind = kind_of(other.phase);
            if (&other != &node && (kind == Kind::kFailed || kind == Kind::kCancelled)) ++others;
        }
        if (others > 0) text += std::to_string(others) + " more did not complete\n";
        text += printable(node.name) + " " + printable(node.phase);
        // A command that ended well has not failed by itself: what its output says last is not why.
        const bool ended_well = exit_code == "0";
        if (!exit_code.empty() && !ended_well) text += " (exit code " + printable(exit_code) + ")";
        if (!last.empty() && !ended_well) {
            text += ": " + fit(last, kLongestLastLine);
        } else if (!cause.empty()) {
            text += ": " + fit(printable(cause), kLongestLastLine);
        }
        text += "; run it again: " + retry_command(node) + "\n";
        session_.console().err(text);
    }

    [[nodiscard]] std::string retry_command(const ProgressNode& node) const {
        if (targets_.plans.size() == 1)
            return "worker-agents plans retry " + printable(targets_.plans.front()) + " --failed";
        return "worker-agents tickets retry " + printable(short_id(node.id));
    }

    static void read_last_attempt(const json::value& body, std::string& exit_code, std::string& cause) {
        const json::array& attempts = attempts_of(body);
        const json::object* last = nullptr;
        std::int64_t highest = -1;
        for (const json::value& value : attempts) {
            if (!value.is_object()) continue;
            const std::int64_t number = number_of(value.get_object(), {"number", "attempt"}).value_or(0);
            if (number >= highest) {
                highest = number;
                last = &value.get_object();
            }
        }
        if (last == nullptr) return;
        exit_code = text_of(*last, "exit_code");
        if (const std::string error = text_of(*last, {"error", "cause"}); !error.empty()) cause = error;
    }

    std::string last_lines(const std::string& id) {
        const std::string target = "/api/v1/tickets/" + encoded(id) + "/logs?tail=" + std::to_string(kTail);
        for (const std::string_view stream : {"&stream=err", ""}) {
            auto answer = api_->get(target + std::string(stream));
            if (answer && !answer->body.empty()) return answer->body;
        }
        return {};
    }

    Session& session_;
    const WatchTargets& targets_;
    const WatchOptions& options_;
    Progress progress_;
    ApiClient* api_ = nullptr;
    InterruptWatch* interrupts_ = nullptr;
    MonoTime started_{};
    MonoTime reached_at_{};
    ProgressState state_;
    std::string note_;
    std::set<std::string> large_;
    std::map<std::string, ApiAnswer> last_bodies_;
    std::vector<Followed> followed_;
    std::set<std::pair<std::string, std::int32_t>> seen_logs_;
    std::map<std::string, std::size_t> name_colours_;
};

}  // namespace

int watch(Session& session, const WatchTargets& targets, const WatchOptions& options) {
    return Watch(session, targets, options).run();
}

}  // namespace wa::cli
