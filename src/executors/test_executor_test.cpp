#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <deque>
#include <functional>
#include <map>

#include "executors/test.h"

namespace wa {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;  // NOLINT: tests

class StillClock final : public Clock {
public:
    [[nodiscard]] MonoTime now() const override { return at; }
    [[nodiscard]] EpochMillis wall_now() const override { return 0; }
    MonoTime at = MonoTime{} + std::chrono::hours(1);
};

using Queue = std::deque<std::function<void()>>;

// Something under way that ends from the test's own queue.
class Running final : public RunningAttempt {
public:
    Running(Queue& queue, AttemptKey key, RuntimeListener& listener, int& stops)
        : queue_(queue), key_(key), listener_(listener), stops_(stops) {}
    void stop(StopReason, Duration) override {
        ++stops_;
        RuntimeReport stopped;
        stopped.attempt.error =
            make_error(ErrorCode::kInterrupted, Retry::kAfterBackoff, Fault::kWorker, "fake", "stopped");
        end(stopped);
    }
    void end(RuntimeReport report) {
        queue_.push_back([this, alive = std::weak_ptr<int>(alive_), report = std::move(report)] {
            if (!alive.expired()) listener_.runtime_ended(key_, report);
        });
    }

private:
    Queue& queue_;
    AttemptKey key_;
    RuntimeListener& listener_;
    int& stops_;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

class FakeLocal final : public LocalJobs {
public:
    explicit FakeLocal(Queue& queue) : queue_(queue) {}
    [[nodiscard]] Availability availability() const override { return now; }
    [[nodiscard]] Result<void> check_job(const Ticket&, const LocalJob&) const override { return {}; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start_job(const AttemptContext& context, LocalJob job,
                                                            RuntimeListener& listener) override {
        ++starts;
        timeout_ms = context.timeout_ms;
        last = std::move(job);
        auto running = std::make_unique<Running>(queue_, context.key, listener, stops);
        if (reports.empty()) return running;
        RuntimeReport report = reports.front();
        if (reports.size() > 1) reports.pop_front();
        if (report.work_began && last.collect && lends) {
            // As the local runtime does: the end waits until the files are collected.
            queue_.push_back([this, report, running = running.get()] {
                last.collect(EndedJob{7, 1000, {"abcdefgh"}}, [report, running] { running->end(report); });
            });
        } else {
            running->end(report);
        }
        return running;
    }

    Availability now;
    std::deque<RuntimeReport> reports;  // one for each start, the last one again and again; none = runs on
    LocalJob last;
    int starts = 0;
    int stops = 0;
    bool lends = true;  // the folder, for reading reports
    std::int64_t timeout_ms = 0;

private:
    Queue& queue_;
};

class FakeReports final : public TestReports {
public:
    explicit FakeReports(Queue& queue) : queue_(queue) {}
    void read(int directory, ReportWish asked, std::function<void(ReportFindings)> done) override {
        EXPECT_EQ(directory, 7);
        ++reads;
        wish = std::move(asked);
        if (!answers) {
            pending = std::move(done);
            return;
        }
        queue_.push_back([this, done = std::move(done)] { done(findings); });
    }

    ReportFindings findings;
    ReportWish wish;
    bool answers = true;
    std::function<void(ReportFindings)> pending;
    int reads = 0;

private:
    Queue& queue_;
};

class FakeSimulation final : public Runtime {
public:
    explicit FakeSimulation(Queue& queue) : queue_(queue) {}
    [[nodiscard]] std::string_view name() const override { return "simulation"; }
    [[nodiscard]] Availability availability() const override { return now; }
    [[nodiscard]] Result<void> validate(const Ticket&) const override { return {}; }
    [[nodiscard]] bool has_effects(const Ticket& /*ticket*/) const override { return false; }
    [[nodiscard]] std::unique_ptr<RunningAttempt> start(const AttemptContext& context,
                                                        RuntimeListener& listener) override {
        ++starts;
        auto running = std::make_unique<Running>(queue_, context.key, listener, stops);
        RuntimeReport report;
        report.attempt.success = report.attempt.simulated = true;
        report.attempt.runtime = "simulation";
        report.attempt.output["tests_passed"] = "44";
        running->end(report);
        return running;
    }

    Availability now;
    int starts = 0;
    int stops = 0;

private:
    Queue& queue_;
};

class TestExecutorTest : public ::testing::Test, public AttemptListener {
protected:
    TestExecutorTest() {
        ticket.ticket_id = "t";
        ticket.task_type = TaskType::kTest;
        ticket.parameters["test_provider"] = "local";
        ticket.parameters["command"] = "npm test";
        options.allowed_commands = {"pytest", "npm test", "/opt/run tests"};
        local.reports = {exited(0)};
    }

    void attempt_ended(AttemptKey, AttemptReport report) override {
        ++ends;
        result = std::move(report);
    }

    static std::string joined(const std::vector<std::string>& lines) {
        std::string text;
        for (const std::string& line : lines)
            text += line + "\n";
        return text;
    }
    static RuntimeReport exited(int code, std::string out = {}) {
        RuntimeReport report;
        report.attempt.success = code == 0;
        report.attempt.exit_code = code;
        report.attempt.runtime = "local";
        report.attempt.output = {{"exit_code", std::to_string(code)}, {"stdout", std::move(out)}, {"stderr", "some"}};
        if (code != 0) {
            report.attempt.error = make_error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kTask, "local",
                                              "exit code " + std::to_string(code));
        }
        return report;
    }
    static RuntimeReport not_begun(Retry retry = Retry::kAfterBackoff) {
        RuntimeReport report;
        report.work_began = false;
        report.attempt.error = make_error(ErrorCode::kUnavailable, retry, Fault::kWorker, "local", "no process");
        return report;
    }
    static TestReport junit(std::uint64_t passed, std::uint64_t failed) {
        TestReport report;
        report.passed = passed;
        report.failed = failed;
        for (std::uint64_t n = 0; n < std::min<std::uint64_t>(failed, kMaxReportFailures); ++n)
            report.failures.push_back(FailedTest{"Suite", "case" + std::to_string(n), "expected 1", false});
        return report;
    }

    CallLater call_later() {
        return [this](Duration wait, std::function<void()> action) {
            waits.push_back(wait);
            const int number = ++timer_count;
            timers[number] = std::move(action);
            return [this, number] { timers.erase(number); };
        };
    }
    void fire() {
        ASSERT_FALSE(timers.empty());
        auto action = std::move(timers.begin()->second);
        timers.erase(timers.begin());
        clock.at += waits.back();
        action();
    }
    void turn() {
        while (!queue.empty()) {
            auto next = std::move(queue.front());
            queue.pop_front();
            next();
        }
    }

    void begin() {
        executor = std::make_unique<TestExecutor>(TestExecutor::Parts{clock, local, reports, simulation, call_later()},
                                                  options);
        AttemptContext context;
        context.ticket = std::make_shared<const Ticket>(ticket);
        context.name = "t.1";
        context.timeout_ms = to_millis(limit);
        context.deadline = clock.at + limit;
        ends = 0;
        attempt = executor->start(context, *this);
    }
    AttemptReport run() {
        begin();
        turn();
        EXPECT_EQ(ends, 1);
        return result;
    }

    StillClock clock;
    Queue queue;
    FakeLocal local{queue};
    FakeReports reports{queue};
    FakeSimulation simulation{queue};
    TestOptions options;
    Duration limit = std::chrono::seconds(600);
    Ticket ticket;
    std::unique_ptr<TestExecutor> executor;
    std::unique_ptr<RunningAttempt> attempt;
    std::map<int, std::function<void()>> timers;
    std::vector<Duration> waits;
    int timer_count = 0;
    AttemptReport result;
    int ends = 0;
};

// ---- which command may run

TEST_F(TestExecutorTest, EntriesAllowWhatBeginsWithExactlyTheirWords) {
    const AllowedTestCommands allowed({"npm test", "pytest", "/opt/run tests", "'open quote"});
    using Words = std::vector<std::string>;
    for (const Words& argv : {Words{"npm", "test"}, Words{"npm", "test", "--", "x"}, Words{"pytest"},
                              Words{"pytest", "-k", "a b"}, Words{"/opt/run", "tests", "all"}}) {
        EXPECT_TRUE(allowed.check(argv)) << argv.back();
    }
    for (const Words& argv :
         {Words{"npm"}, Words{"npm", "testx"}, Words{"npm", "test-evil"}, Words{"npm testx"}, Words{"npm test"},
          Words{"npm", "run", "test"}, Words{"pytest-evil"}, Words{"pytes"}, Words{"/usr/bin/pytest"},
          Words{"./pytest"}, Words{"/opt/run"}, Words{"run", "tests"}, Words{"'open", "quote"}, Words{}}) {
        const auto checked = allowed.check(argv);
        ASSERT_FALSE(checked);
        EXPECT_EQ(checked.error().code, ErrorCode::kNotAllowed);
        EXPECT_EQ(checked.error().retry, Retry::kNever);
        EXPECT_NE(checked.error().message.find("ALLOWED_TEST_COMMANDS"), std::string::npos);
    }
    EXPECT_FALSE(AllowedTestCommands({}).check({"pytest"}));
    EXPECT_FALSE(AllowedTestCommands({"", " "}).check({"pytest"}));
}

TEST_F(TestExecutorTest, WhatIsNotAllowedFailsForGoodAndIsNeverSimulated) {
    ticket.parameters["command"] = "npm testx";
    for (const char* provider : {"local", "github_actions", ""}) {
        ticket.parameters["test_provider"] = provider;
        const AttemptReport report = run();
        EXPECT_FALSE(report.success) << provider;
        EXPECT_FALSE(report.simulated) << provider;
        ASSERT_TRUE(report.error) << provider;
        EXPECT_EQ(report.error->code, ErrorCode::kNotAllowed) << provider;
        EXPECT_FALSE(report.error->retryable()) << provider;
    }
    EXPECT_EQ(local.starts, 0);
    EXPECT_EQ(simulation.starts, 0);
    EXPECT_FALSE(executor->validate(ticket));
}

TEST_F(TestExecutorTest, AnErrorShowsNoArgument) {
    ticket.parameters["command"] = json::array{"npm", "--token=abcdefgh", "x"};
    EXPECT_EQ(run().error->message.find("abcdefgh"), std::string::npos);
}

TEST_F(TestExecutorTest, CommandsComeInSeveralForms) {
    const auto argv = [&](json::object parameters) {
        ticket.parameters = std::move(parameters);
        EXPECT_TRUE(run().success);
        return local.last.argv;
    };
    using Words = std::vector<std::string>;
    EXPECT_EQ(argv({{"command", "npm"}, {"args", {"test", "--", "a b"}}}), (Words{"npm", "test", "--", "a b"}));
    EXPECT_EQ(argv({{"command", json::array{"npm", "test"}}}), (Words{"npm", "test"}));
    EXPECT_EQ(argv({{"test_command", "npm test -- 'a b'"}}), (Words{"npm", "test", "--", "a b"}));
    EXPECT_EQ(argv({{"command", "pytest"}, {"args", "[\"-k\", \"x\"]"}}), (Words{"pytest", "-k", "x"}));
    EXPECT_EQ(argv({{"provider", "LOCAL"}, {"command", "pytest"}}), (Words{"pytest"}));
}

TEST_F(TestExecutorTest, TheJobIsAsTheTicketSays) {
    ticket.parameters["env"] = "A=1,B=2";
    ticket.parameters["working_dir"] = "sub";
    ticket.parameters["timeout_seconds"] = 5;
    EXPECT_TRUE(run().success);
    EXPECT_EQ(local.last.variables.at("B"), "2");
    EXPECT_EQ(local.last.working_dir, "sub");
    EXPECT_EQ(local.last.timeout, 5s);
    ticket.parameters["timeout_seconds"] = "2h";
    EXPECT_TRUE(run().success);
    EXPECT_EQ(local.last.timeout, options.timeout);
}

TEST_F(TestExecutorTest, WorkInsideTheWorkspaceRootOnly) {
    options.workspace_root = "/srv/tests/";
    for (const char* good : {"/srv/tests", "/srv/tests/a", "/srv//tests/./a", "a/b"}) {
        ticket.parameters["working_dir"] = good;
        EXPECT_TRUE(run().success) << good;
        EXPECT_EQ(local.last.inside, "/srv/tests/");
    }
    for (const char* bad : {"/srv/tests-evil", "/srv", "/", "/srv/tests/../x", "..", "a/../../b"}) {
        ticket.parameters["working_dir"] = bad;
        const AttemptReport report = run();
        ASSERT_TRUE(report.error) << bad;
        EXPECT_EQ(report.error->code, ErrorCode::kNotAllowed) << bad;
        EXPECT_NE(report.error->message.find("TEST_WORKSPACE_ROOT"), std::string::npos);
    }
}

TEST_F(TestExecutorTest, ParametersThatCanNeverWorkAreRefused) {
    const auto refused = [&](const char* key, json::value value) {
        Ticket bad = ticket;
        bad.parameters[key] = std::move(value);
        begin();
        const auto valid = executor->validate(bad);
        EXPECT_FALSE(valid) << key;
        return valid ? std::string() : valid.error().field;
    };
    EXPECT_EQ(refused("test_provider", "circleci"), "parameters.test_provider");
    EXPECT_EQ(refused("junit_xml_path", "/etc/passwd"), "parameters.junit_xml_path");
    EXPECT_EQ(refused("junit_xml_path", "a/../../b.xml"), "parameters.junit_xml_path");
    EXPECT_EQ(refused("junit_xml_path", json::array{"ok.xml", "../x"}), "parameters.junit_xml_path");
    EXPECT_EQ(refused("coverage_report_path", "x,/y"), "parameters.coverage_report_path");
    EXPECT_EQ(refused("report_path", "../report.json"), "parameters.report_path");
    EXPECT_EQ(refused("junit_xml_path", json::string(2000, 'x')), "parameters.junit_xml_path");
    EXPECT_EQ(refused("timeout_seconds", "soon"), "parameters.timeout_seconds");
    ticket.parameters.erase("command");
    begin();
    EXPECT_EQ(executor->validate(ticket).error().field, "parameters.command");
}

// ---- what it came to

TEST_F(TestExecutorTest, ReportsAreCounted) {
    ticket.parameters["junit_xml_path"] = "out/*.xml, b.xml";
    ticket.parameters["coverage_report_path"] = "lcov.info";
    ticket.parameters["test_suite"] = "unit";
    reports.findings.tests = junit(8, 0);
    reports.findings.tests->skipped = 2;
    reports.findings.coverage = CoverageReport{};
    reports.findings.coverage->line_percent = 87.654;
    reports.findings.coverage->branch_percent = 50;
    reports.findings.parsed = {"junit", "lcov"};
    reports.findings.files = {"out/a.xml", "lcov.info"};
    const AttemptReport report = run();
    EXPECT_TRUE(report.success);
    EXPECT_EQ(reports.wish.junit, (std::vector<std::string>{"out/*.xml", "b.xml"}));
    EXPECT_EQ(reports.wish.summary, "report.json");
    EXPECT_EQ(reports.wish.not_before, 1000);
    EXPECT_EQ(reports.wish.secrets, (std::vector<std::string>{"abcdefgh"}));
    const StringMap expected{{"tests_passed", "8"},  {"tests_failed", "0"}, {"tests_errors", "0"},
                             {"tests_skipped", "2"}, {"coverage", "87.65"}, {"branch_coverage", "50.00"},
                             {"exit_code", "0"},     {"return_code", "0"},  {"stdout", ""},
                             {"stdout_tail", ""},    {"stderr", "some"},    {"stderr_tail", "some"},
                             {"test_suite", "unit"}};
    EXPECT_EQ(report.output, expected);
    EXPECT_EQ(report.metadata.at("executor"), "TestExecutor");
    EXPECT_EQ(report.metadata.at("provider"), "local");
    EXPECT_EQ(report.metadata.at("counts_from"), "junit");
    EXPECT_EQ(report.metadata.at("report_files"), R"(["out/a.xml","lcov.info"])");
    EXPECT_FALSE(report.metadata.contains("fallback_reason"));
    ASSERT_TRUE(report.tests);
    EXPECT_EQ(report.tests->suite, "unit");
    EXPECT_EQ(report.tests->passed, 8U);
    EXPECT_EQ(report.tests->not_passed, 0U);
    EXPECT_EQ(report.tests->reports.size(), 2U);
}

TEST_F(TestExecutorTest, ExitCodeZeroIsNoSuccessWhenAReportSaysOtherwise) {
    reports.findings.tests = junit(8, 2);
    const AttemptReport report = run();
    EXPECT_FALSE(report.success);
    ASSERT_TRUE(report.error);
    EXPECT_EQ(report.error->code, ErrorCode::kExecutionFailed);
    EXPECT_EQ(report.error->fault, Fault::kTask);
    EXPECT_FALSE(report.error->retryable());
    EXPECT_NE(report.error->message.find("2 of 10 tests failed: Suite.case0: expected 1; Suite.case1"),
              std::string::npos);
    EXPECT_EQ(report.exit_code, 0);
    EXPECT_EQ(report.output.at("tests_failed"), "2");
    EXPECT_NE(report.output.at("failed_tests").find(R"({"name":"Suite.case1","message":"expected 1"})"),
              std::string::npos);
    EXPECT_EQ(local.starts, 1);  // failed tests are not run again here
    EXPECT_EQ(simulation.starts, 0);
}

TEST_F(TestExecutorTest, AnotherExitCodeFailsWhateverTheReportSays) {
    local.reports = {exited(1)};
    reports.findings.tests = junit(10, 0);
    EXPECT_FALSE(run().success);
    EXPECT_EQ(result.output.at("tests_passed"), "10");
    reports.findings.tests = junit(0, 300);
    const AttemptReport report = run();
    EXPECT_EQ(report.error->message.rfind("exit code 1; 300 of 300 tests failed: Suite.case0: expected 1", 0), 0U);
    EXPECT_NE(report.error->message.find("and 297 more"), std::string::npos);
    std::size_t named = 0;
    for (std::size_t at = 0; (at = report.output.at("failed_tests").find("\"name\"", at)) != std::string::npos; ++at)
        ++named;
    EXPECT_EQ(named, 20U);
}

TEST_F(TestExecutorTest, TheSummaryAndThenTheOutputAreAskedNext) {
    reports.findings.summary = R"({"passed": 3, "tests_failed": "1", "coverage": 12.5})";
    local.reports = {exited(0, "text\n{\"passed\": 99}\n")};
    AttemptReport report = run();
    EXPECT_FALSE(report.success);
    EXPECT_EQ(report.output.at("tests_passed"), "3");
    EXPECT_EQ(report.output.at("coverage"), "12.50");
    EXPECT_EQ(report.metadata.at("counts_from"), "summary");
    EXPECT_FALSE(report.output.contains("tests_skipped"));  // nothing said so

    reports.findings.summary.clear();
    local.reports = {exited(0, "text\n{\"passed\": 5}\n{\"passed\": 7, \"coverage\": 70}\nbye\n")};
    report = run();
    EXPECT_TRUE(report.success);
    EXPECT_EQ(report.output.at("tests_passed"), "7");
    EXPECT_EQ(report.output.at("coverage"), "70.00");
    EXPECT_EQ(report.metadata.at("counts_from"), "stdout");
}

TEST_F(TestExecutorTest, WhatCannotBeReadIsAbsentAndSaid) {
    ticket.parameters["junit_xml_path"] = "a.xml";
    reports.findings.problems = {{"a.xml", "junit", "the root ends early, in line 3"}};
    reports.findings.summary = "[1]";
    const AttemptReport report = run();
    EXPECT_TRUE(report.success);  // the exit code decides
    for (const char* key : {"tests_passed", "tests_failed", "tests_errors", "tests_skipped", "coverage"})
        EXPECT_FALSE(report.output.contains(key)) << key;
    EXPECT_NE(report.metadata.at("report_problems").find("in line 3"), std::string::npos);
    EXPECT_NE(report.metadata.at("report_problems").find("it is no JSON object"), std::string::npos);
    ASSERT_EQ(report.tests->reports.size(), 1U);
    EXPECT_FALSE(report.tests->reports.front().good);
    EXPECT_FALSE(report.tests->passed);
}

TEST_F(TestExecutorTest, AFolderThatCannotBeLookedAtIsSaid) {
    local.lends = false;
    local.reports = {exited(0, "{\"failed\": 1}")};
    const AttemptReport report = run();
    EXPECT_EQ(reports.reads, 0);
    EXPECT_NE(report.metadata.at("report_problems").find("could not be looked at"), std::string::npos);
    EXPECT_FALSE(report.success);  // what it printed still counts
}

TEST_F(TestExecutorTest, APartOfTheReportsIsCountedAsAPart) {
    reports.findings.tests = junit(4, 0);
    reports.findings.problems = {{"b.xml", "junit", "cut off"}};
    EXPECT_EQ(run().metadata.at("counts_incomplete"), "true");
}

TEST_F(TestExecutorTest, WhatWasNamedAndIsNotThereIsSaid) {
    ticket.parameters["junit_xml_path"] = "a.xml";
    ticket.parameters["report_path"] = "sum.json";
    reports.findings.unmatched = {"a.xml"};
    reports.findings.stale = {"old.xml"};
    const AttemptReport report = run();
    EXPECT_TRUE(report.success);
    EXPECT_EQ(report.metadata.at("report_unmatched"), R"(["a.xml","sum.json"])");
    EXPECT_EQ(report.metadata.at("report_stale"), R"(["old.xml"])");
    EXPECT_NE(joined(report.logs).find("test: warning: no file fits"), std::string::npos);
}

TEST_F(TestExecutorTest, ParsingCanBeSwitchedOff) {
    ticket.parameters["junit_xml_path"] = "a.xml";
    ticket.parameters["coverage_report_path"] = "c.xml";
    options.read_junit = options.read_coverage = false;
    EXPECT_TRUE(run().success);
    EXPECT_TRUE(reports.wish.junit.empty());
    EXPECT_TRUE(reports.wish.coverage.empty());
    EXPECT_NE(joined(result.logs).find("JUNIT_XML_ENABLED=false"), std::string::npos);
}

TEST_F(TestExecutorTest, TailsAreTails) {
    local.reports = {exited(0, std::string(10'000, 'x') + "é" + std::string(4094, 'y') + "z")};
    const AttemptReport report = run();
    EXPECT_EQ(report.output.at("stdout_tail"), std::string(4094, 'y') + "z");
}

// ---- elsewhere

TEST_F(TestExecutorTest, AProviderThatIsNotBuiltLeadsHereOnlyWithACommandThatMay) {
    ticket.parameters["test_provider"] = "github";
    AttemptReport report = run();
    EXPECT_TRUE(report.success);
    EXPECT_FALSE(report.simulated);
    EXPECT_EQ(report.metadata.at("provider"), "local");
    EXPECT_EQ(report.metadata.at("requested_provider"), "github_actions");
    EXPECT_EQ(report.metadata.at("fallback_from"), "github_actions");
    EXPECT_EQ(report.metadata.at("fallback_code"), "disabled");
    EXPECT_NE(report.metadata.at("fallback_reason").find("not built"), std::string::npos);

    // Confidential work that asked for another place does not run here instead.
    ticket.security_level = SecurityLevel::kRestricted;
    report = run();
    EXPECT_TRUE(report.simulated);
    EXPECT_EQ(local.starts, 1);
    ticket.parameters["allow_local_fallback"] = true;
    EXPECT_FALSE(run().simulated);
}

TEST_F(TestExecutorTest, NothingToRunIsSimulatedOrRefused) {
    for (const char* provider : {"github_actions", "gitlab_ci", "jenkins", ""}) {
        ticket.parameters = {{"ci_provider", provider}, {"test_suite", "s"}};
        simulation.now = {};
        AttemptReport report = run();
        EXPECT_TRUE(report.success && report.simulated) << provider;
        EXPECT_EQ(report.metadata.at("provider"), "simulation");
        EXPECT_EQ(report.metadata.at("fallback_code"), "disabled");
        EXPECT_EQ(report.output.at("test_suite"), "s");
        EXPECT_EQ(report.tests->suite, "s");
        EXPECT_FALSE(report.tests->passed);
        EXPECT_FALSE(executor->has_effects(ticket));
        EXPECT_EQ(executor->backend(ticket), "simulation");

        simulation.now = {false, Unavailable::kDisabled, "SIMULATION_POLICY=deny"};
        report = run();
        EXPECT_FALSE(report.success || report.simulated);
        EXPECT_EQ(report.error->code, ErrorCode::kUnavailable);
        EXPECT_EQ(report.error->message.rfind("backend_unavailable", 0), 0U);
        EXPECT_FALSE(report.error->retryable());
    }
}

TEST_F(TestExecutorTest, ASimulationCanBeAskedFor) {
    ticket.parameters["test_provider"] = "simulation";
    const AttemptReport report = run();
    EXPECT_TRUE(report.simulated);
    EXPECT_FALSE(report.metadata.contains("fallback_code"));
    EXPECT_TRUE(report.metadata.contains("fallback_reason"));
    EXPECT_EQ(local.starts, 0);
}

TEST_F(TestExecutorTest, AMachineThatCannotBeUsedIsPassedOver) {
    local.now = {false, Unavailable::kUnreachable, "the helper has ended"};
    AttemptReport report = run();
    EXPECT_TRUE(report.simulated);
    EXPECT_EQ(report.metadata.at("fallback_code"), "unavailable");
    simulation.now = {false, Unavailable::kDisabled, "no"};
    EXPECT_TRUE(run().error->retryable());  // it may come back

    // The same when it goes away between the look and the start.
    local.now = {};
    simulation.now = {};
    RuntimeReport gone = not_begun();
    gone.unavailable = Unavailable::kUnreachable;
    local.reports = {gone};
    EXPECT_TRUE(run().simulated);
    EXPECT_TRUE(timers.empty());
}

// ---- tries

TEST_F(TestExecutorTest, WhatCouldNotBeginIsTriedAgain) {
    local.reports = {not_begun(), not_begun(), exited(0)};
    begin();
    turn();
    EXPECT_EQ(ends, 0);
    fire();
    turn();
    fire();
    turn();
    ASSERT_EQ(ends, 1);
    EXPECT_TRUE(result.success);
    EXPECT_EQ(local.starts, 3);
    EXPECT_EQ(waits, (std::vector<Duration>{2s, 4s}));
    EXPECT_EQ(result.metadata.at("tries"), "3");
    EXPECT_EQ(local.timeout_ms, 594'000);  // what the waits used up is gone
}

TEST_F(TestExecutorTest, TriesAreCountedAndCutByTheDeadline) {
    options.tries = 9;
    local.reports = {not_begun()};
    limit = std::chrono::seconds(20);
    begin();
    turn();
    while (ends == 0) {
        fire();
        turn();
    }
    EXPECT_EQ(waits, (std::vector<Duration>{2s, 4s, 8s}));  // 16 more would be too late
    EXPECT_TRUE(result.error->retryable());

    waits.clear();
    limit = std::chrono::hours(1);
    begin();
    turn();
    while (ends == 0) {
        fire();
        turn();
    }
    EXPECT_EQ(waits, (std::vector<Duration>{2s, 4s, 8s, 16s, 32s, 60s, 60s, 60s}));
}

TEST_F(TestExecutorTest, WhatRanOrCanNeverRunIsNotTriedAgain) {
    RuntimeReport timeout;
    timeout.attempt.error = make_error(ErrorCode::kTimeout, Retry::kAfterBackoff, Fault::kLimit, "local", "timed out");
    for (const RuntimeReport& report : {exited(3), timeout, not_begun(Retry::kNever)}) {
        local.reports = {report};
        EXPECT_FALSE(run().success);
        EXPECT_TRUE(timers.empty());
    }
}

TEST_F(TestExecutorTest, AWaitCanBeStopped) {
    local.reports = {not_begun()};
    begin();
    turn();
    ASSERT_EQ(timers.size(), 1U);
    attempt->stop(StopReason::kCancelled, 1s);
    EXPECT_EQ(ends, 0);  // not from inside stop()
    attempt->stop(StopReason::kCancelled, 0s);
    ASSERT_EQ(timers.size(), 1U);
    EXPECT_EQ(waits.back(), Duration::zero());
    fire();
    EXPECT_EQ(ends, 1);
    EXPECT_FALSE(result.success);
    EXPECT_EQ(local.starts, 1);
}

TEST_F(TestExecutorTest, AStopReachesTheCommand) {
    local.reports.clear();
    begin();
    turn();
    attempt->stop(StopReason::kCancelled, 1s);
    turn();
    EXPECT_EQ(local.stops, 1);
    EXPECT_EQ(ends, 1);
    EXPECT_FALSE(result.success);
}

TEST_F(TestExecutorTest, AStopDoesNotWaitForReportsAndIsNoSuccess) {
    reports.answers = false;
    begin();
    turn();
    ASSERT_TRUE(reports.pending);
    attempt->stop(StopReason::kShutdown, 1s);
    turn();
    ASSERT_EQ(ends, 1);
    EXPECT_FALSE(result.success);  // nobody knows what the reports say
    EXPECT_TRUE(result.error->retryable());
    reports.pending(ReportFindings{});  // too late: nothing happens
    EXPECT_EQ(ends, 1);
}

TEST_F(TestExecutorTest, AnAttemptCanBeDroppedAtAnyPoint) {
    reports.answers = false;
    begin();
    turn();
    attempt.reset();
    reports.pending(ReportFindings{});
    turn();
    local.reports = {not_begun()};
    begin();
    turn();
    ASSERT_EQ(timers.size(), 1U);
    attempt.reset();
    EXPECT_TRUE(timers.empty());
    EXPECT_EQ(ends, 0);
}

}  // namespace
}  // namespace wa
