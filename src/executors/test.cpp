#include "executors/test.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "executors/fallback.h"
#include "executors/test_outcome.h"

namespace wa {
namespace {

constexpr std::string_view kOrigin = "test";
constexpr std::string_view kExecutorName = "TestExecutor";
constexpr std::size_t kTailBytes = 4096;
constexpr Duration kFirstWait = std::chrono::seconds(2);
constexpr Duration kLongestWait = std::chrono::seconds(60);

// 2, 4, 8 … 60 s after the first, second, third … try.
Duration wait_after(int tries) {
    Duration wait = kFirstWait;
    for (int n = 1; n < tries && wait < kLongestWait; ++n)
        wait *= 2;
    return std::min(wait, kLongestWait);
}

// Something on our side was missing just now, and nothing of the work has happened.
bool may_begin_again(const RuntimeReport& report) {
    return !report.attempt.success && !report.work_began && !report.unavailable && report.attempt.error &&
           report.attempt.error->retry == Retry::kAfterBackoff;
}

std::string output_of(const AttemptReport& report, std::string_view key) {
    const auto found = report.output.find(key);
    return found == report.output.end() ? std::string() : found->second;
}

}  // namespace

class TestExecutor::Attempt final : public RunningAttempt, public RuntimeListener {
public:
    Attempt(const TestExecutor& executor, AttemptContext context, AttemptListener& listener)
        : executor_(executor), context_(std::move(context)), listener_(listener) {}
    ~Attempt() override {
        if (take_back_) take_back_();
    }
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;

    void begin() {
        auto wish = read_test_wish(*context_.ticket);
        if (!wish) return refuse(std::move(wish).error());
        wish_ = std::move(*wish);
        if (wish_.provider == kSimulationRuntime) return simulate();
        if (wish_.names_ci()) pass_over(wish_.provider, Unavailable::kDisabled, "not built into this worker");
        if (wants_local(wish_, *context_.ticket)) return run_here();
        if (wish_.argv.empty() && wish_.provider.empty()) {
            pass_over("", Unavailable::kDisabled, "the ticket names neither a test provider nor a command");
        } else if (!wish_.argv.empty()) {
            pass_over(kLocalRuntime, Unavailable::kDisabled,
                      "the ticket asks for a CI provider and may not run on this machine instead");
        }
        fall_back();
    }

    void stop(StopReason reason, Duration grace) override {
        stopped_ = reason;
        if (std::exchange(waiting_, false)) {
            take_back_();
            // Not from inside this call: whoever stops us is not done with us yet.
            take_back_ = executor_.parts_.call_later(Duration::zero(), [this] { end_stopped({}); });
            return;
        }
        // The reports of a run that was stopped decide nothing any more.
        if (collected_) return std::exchange(collected_, nullptr)();
        if (inner_) inner_->stop(reason, grace);
    }

    void runtime_ended(AttemptKey, RuntimeReport report) override {
        // The one that ended is still on the stack above us; it goes with this attempt, or when the next one has ended.
        ended_ = std::move(inner_);
        if (simulating_) return end(std::move(report.attempt));
        if (!stopped_) {
            if (report.unavailable && !report.work_began && !report.attempt.success) {
                pass_over(kLocalRuntime, *report.unavailable,
                          report.attempt.error ? report.attempt.error->message : std::string("it cannot be used"));
                return fall_back();
            }
            if (may_begin_again(report) && begin_again_later(*report.attempt.error)) return;
        }
        end_local(std::move(report.attempt));
    }

private:
    struct PassedOver {
        std::string provider;
        Unavailable reason = Unavailable::kDisabled;
        std::string detail;
    };

    void pass_over(std::string_view provider, Unavailable reason, std::string detail) {
        passed_over_.push_back(PassedOver{std::string(provider), reason, std::move(detail)});
    }

    // ---- on this machine

    void run_here() {
        auto job = executor_.make_job(wish_);
        if (!job) return refuse(std::move(job).error());
        const Availability now = executor_.parts_.local.availability();
        if (!now.available) {
            pass_over(kLocalRuntime, now.reason, now.detail);
            return fall_back();
        }
        provider_ = kLocalRuntime;
        ++tries_;
        // What earlier tries used up is gone.
        if (tries_ > 1 && context_.deadline != MonoTime{}) {
            context_.timeout_ms =
                std::max<std::int64_t>(1, to_millis(context_.deadline - executor_.parts_.clock.now()));
        }
        job->collect = [this](EndedJob ended, std::function<void()> done) {
            collect(std::move(ended), std::move(done));
        };
        inner_ = executor_.parts_.local.start_job(context_, std::move(*job), *this);
    }

    bool begin_again_later(const Error& error) {
        const Duration wait = wait_after(tries_);
        const Clock& clock = executor_.parts_.clock;
        if (tries_ >= executor_.options_.tries) return false;
        if (context_.deadline != MonoTime{} && clock.now() + wait >= context_.deadline) return false;
        logs_.push_back("test: try " + std::to_string(tries_) + " could not begin (" + error.message + "); again in " +
                        std::to_string(to_millis(wait) / 1000) + " s");
        waiting_ = true;
        take_back_ = executor_.parts_.call_later(wait, [this] {
            waiting_ = false;
            run_here();
        });
        return true;
    }

    // The command has ended; its folder is there until `done` is called.
    void collect(EndedJob job, std::function<void()> done) {
        ReportWish reports;
        if (executor_.options_.read_junit) reports.junit = wish_.junit;
        if (executor_.options_.read_coverage) reports.coverage = wish_.coverage;
        reports.summary = wish_.summary;
        reports.not_before = job.began;
        reports.secrets = std::move(job.secrets);
        collected_ = std::move(done);
        executor_.parts_.reports.read(job.directory, std::move(reports),
                                      [this, alive = std::weak_ptr<int>(alive_)](ReportFindings found) {
                                          if (alive.expired() || !collected_) return;
                                          findings_ = std::move(found);
                                          std::exchange(collected_, nullptr)();
                                      });
    }

    void end_local(AttemptReport report) {
        // It ended well, but what its reports say is not known.
        if (stopped_ && report.success && !findings_) return end_stopped(std::move(report));
        describe_run(report);
        if (!findings_ && report.exit_code && !stopped_) {
            findings_.emplace().problems.push_back({"", "", "the working directory could not be looked at"});
        }
        if (findings_) {
            if (wish_.summary_named && findings_->summary.empty()) note_missing_summary();
            const TestCounts counts = count_tests(*findings_, wish_.summary, output_of(report, "stdout"));
            judge_tests(counts, *findings_, report);
            report.tests = test_figures(counts, *findings_, wish_.suite);
        }
        end(std::move(report));
    }

    void note_missing_summary() {
        auto& stale = findings_->stale;
        const bool known = std::ranges::find(stale, wish_.summary) != stale.end() ||
                           std::ranges::any_of(findings_->problems, [&](const ReportProblem& problem) {
                               return problem.path == wish_.summary;
                           });
        if (!known) findings_->unmatched.push_back(wish_.summary);
    }

    void describe_run(AttemptReport& report) {
        if (const std::string code = output_of(report, "exit_code"); !code.empty()) {
            report.output["return_code"] = code;
            report.output["stdout_tail"] = tail_of(output_of(report, "stdout"), kTailBytes);
            report.output["stderr_tail"] = tail_of(output_of(report, "stderr"), kTailBytes);
        }
        if (tries_ > 1) report.metadata["tries"] = std::to_string(tries_);
        const auto off = [&](bool on, const std::vector<std::string>& patterns, const char* setting) {
            if (!on && !patterns.empty()) logs_.push_back(std::string("test: reports are not read: ") + setting);
        };
        off(executor_.options_.read_junit, wish_.junit, "JUNIT_XML_ENABLED=false");
        off(executor_.options_.read_coverage, wish_.coverage, "COVERAGE_REPORT_ENABLED=false");
    }

    // ---- elsewhere

    void fall_back() {
        if (executor_.parts_.simulation.availability().available) return simulate();
        AttemptReport report;
        const bool may_come_back = std::ranges::any_of(
            passed_over_, [](const PassedOver& one) { return one.reason == Unavailable::kUnreachable; });
        report.error =
            make_error(ErrorCode::kUnavailable, may_come_back ? Retry::kAfterBackoff : Retry::kNever, Fault::kWorker,
                       std::string(kOrigin), "backend_unavailable: nothing can run these tests (" + reasons() + ")");
        report.error->fix = "give a command that ALLOWED_TEST_COMMANDS allows, and switch the local runtime on";
        end(std::move(report));
    }

    void simulate() {
        simulating_ = true;
        provider_ = kSimulationRuntime;
        inner_ = executor_.parts_.simulation.start(context_, *this);
    }

    [[nodiscard]] std::string reasons() const {
        std::string text;
        for (const PassedOver& one : passed_over_) {
            text += (text.empty() ? "" : "; ") + one.provider + (one.provider.empty() ? "" : ": ") + one.detail;
        }
        return text;
    }

    // ---- the end

    void refuse(Error error) {
        AttemptReport report;
        report.error = std::move(error);
        end(std::move(report));
    }

    void end_stopped(AttemptReport report) {
        report.success = false;
        report.error = make_error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kWorker, std::string(kOrigin),
                                  "stopped (" + std::string(to_string(stopped_.value_or(StopReason::kCancelled))) +
                                      ") before it was known what the tests came to");
        end(std::move(report));
    }

    void end(AttemptReport report) {
        report.metadata["executor"] = kExecutorName;
        if (!provider_.empty()) report.metadata["provider"] = provider_;
        if (report.runtime.empty()) report.runtime = provider_.empty() ? std::string("none") : provider_;
        report.output["test_suite"] = wish_.suite;
        if (!report.tests) report.tests = TestFigures{wish_.suite, {}, {}, {}, {}};
        if (!passed_over_.empty()) {
            report.metadata["fallback_reason"] = reasons();
            report.metadata["fallback_code"] = to_string(passed_over_.front().reason);
            if (!passed_over_.front().provider.empty())
                report.metadata["fallback_from"] = passed_over_.front().provider;
            if (!wish_.provider.empty()) report.metadata["requested_provider"] = wish_.provider;
            logs_.push_back(
                "test: " + (provider_.empty() ? std::string("nothing ran") : "provider '" + provider_ + "'") + " (" +
                reasons() + ")");
        } else if (report.simulated) {
            report.metadata["fallback_reason"] = "the ticket asked for the provider 'simulation'";
        }
        report.logs.insert(report.logs.begin(), std::make_move_iterator(logs_.begin()),
                           std::make_move_iterator(logs_.end()));
        listener_.attempt_ended(context_.key, std::move(report));
    }

    const TestExecutor& executor_;
    AttemptContext context_;
    AttemptListener& listener_;
    TestWish wish_;
    std::string provider_;  // what runs; empty = nothing yet
    bool simulating_ = false;
    int tries_ = 0;
    bool waiting_ = false;             // between two tries
    std::function<void()> take_back_;  // the pending call
    std::function<void()> collected_;  // to be called once the reports are read
    std::optional<ReportFindings> findings_;
    std::optional<StopReason> stopped_;
    std::vector<PassedOver> passed_over_;
    std::vector<std::string> logs_;
    std::unique_ptr<RunningAttempt> ended_;
    std::unique_ptr<RunningAttempt> inner_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

TestExecutor::TestExecutor(Parts parts, TestOptions options)
    : parts_(std::move(parts)), options_(std::move(options)), allowed_(options_.allowed_commands) {}

bool TestExecutor::wants_local(const TestWish& wish, const Ticket& ticket) {
    return !wish.argv.empty() && may_fall_to_local(wish.provider, ticket.security_level, wish.allow_local);
}

Result<LocalJob> TestExecutor::make_job(const TestWish& wish) const {
    WA_CHECKED(allowed_.check(wish.argv));
    WA_CHECKED(check_workspace(wish.working_dir, options_.workspace_root));
    LocalJob job;
    job.argv = wish.argv;
    job.variables = wish.variables;
    job.working_dir = wish.working_dir;
    job.inside = options_.workspace_root;
    job.timeout = options_.timeout;
    if (wish.timeout) job.timeout = std::min<Duration>(job.timeout, *wish.timeout);
    return job;
}

std::string TestExecutor::backend(const Ticket& ticket) const {
    const auto wish = read_test_wish(ticket);
    const bool local = wish && wish->provider != kSimulationRuntime && wants_local(*wish, ticket);
    return std::string(!wish || local ? kLocalRuntime : kSimulationRuntime);
}

bool TestExecutor::has_effects(const Ticket& ticket) const {
    const auto wish = read_test_wish(ticket);
    if (!wish) return false;  // it will be refused
    const bool local = wish->provider != kSimulationRuntime && wants_local(*wish, ticket);
    return local || parts_.simulation.has_effects(ticket);
}

Result<void> TestExecutor::validate(const Ticket& ticket) const {
    WA_TRY(const TestWish wish, read_test_wish(ticket));
    if (wish.provider == kSimulationRuntime) return parts_.simulation.validate(ticket);
    if (!wants_local(wish, ticket)) return {};  // only the attempt can tell what is there
    WA_TRY(const LocalJob job, make_job(wish));
    if (!parts_.local.availability().available) return {};
    return parts_.local.check_job(ticket, job);
}

std::unique_ptr<RunningAttempt> TestExecutor::start(const AttemptContext& context, AttemptListener& listener) {
    auto attempt = std::make_unique<Attempt>(*this, context, listener);
    attempt->begin();
    return attempt;
}

}  // namespace wa
