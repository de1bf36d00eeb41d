#include "runtimes/test_report_reader.h"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "core/report/cobertura.h"
#include "core/report/detect.h"
#include "core/report/junit.h"
#include "core/report/lcov.h"
#include "core/report/text_line.h"
#include "runtimes/secret_mask.h"

namespace wa {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kMaxListed = 100;
constexpr std::size_t kMaxPathBytes = 512;
constexpr std::size_t kMaxWhyBytes = 400;
// Some file systems keep whole seconds only.
constexpr EpochMillis kTimeGrain = 1000;

// One run's reports.
class Reading {
public:
    Reading(int folder, const ReportWish& wish, const ReportReaderLimits& limits, const Clock& clock,
            const std::atomic<bool>& cancelled)
        : folder_(folder),
          wish_(wish),
          limits_(limits),
          clock_(clock),
          cancelled_(cancelled),
          end_(clock.now() + limits.time),
          mask_(wish.secrets),
          search_(folder, limits.search, [this] { return stop(); }) {}

    ReportFindings run() {
        read_junit();
        read_coverage();
        read_summary();
        if (!search_.stopped().empty()) problem("", "", "not all reports were looked for: " + search_.stopped());
        return std::move(findings_);
    }

private:
    const char* stop() const {
        if (cancelled_.load(std::memory_order_relaxed)) return "the worker is leaving";
        return clock_.now() >= end_ ? "it took too long" : nullptr;
    }

    [[nodiscard]] std::string shown(std::string_view text, std::size_t most) const {
        return clean_line(mask_.apply(text), most);
    }

    void problem(std::string_view path, std::string_view format, std::string_view why) {
        if (findings_.problems.size() >= kMaxListed) return;
        findings_.problems.push_back({shown(path, kMaxPathBytes), std::string(format), shown(why, kMaxWhyBytes)});
    }

    // The paths that fit any of the patterns, each once.
    std::vector<std::string> find(const std::vector<std::string>& patterns, std::string_view format) {
        std::vector<std::string> paths;
        for (const std::string& pattern : patterns) {
            const std::size_t odd_before = search_.oddities().size();
            const std::vector<std::string> found = search_.find(pattern);
            for (const std::string& path : found) {
                if (std::ranges::find(paths, path) == paths.end()) paths.push_back(path);
            }
            const auto& oddities = search_.oddities();
            for (std::size_t index = odd_before; index < oddities.size(); ++index)
                problem(oddities[index].path, format, "it is " + oddities[index].what + ", not a regular file");
            const bool nothing = found.empty() && oddities.size() == odd_before;
            if (nothing && search_.stopped().empty()) findings_.unmatched.push_back(shown(pattern, kMaxPathBytes));
        }
        return paths;
    }

    // The bytes of a report, or nothing and why.
    std::optional<std::string> take(const std::string& path, std::string_view format) {
        const auto refuse = [&](std::string_view why) {
            problem(path, format, why);
            return std::nullopt;
        };
        if (const char* why = stop(); why != nullptr) return refuse(std::string("it was not read: ") + why);
        auto opened = open_below(folder_, path);
        if (!opened) return refuse(opened.error().message);
        if (opened->modified + kTimeGrain < wish_.not_before) {
            if (findings_.stale.size() < kMaxListed) findings_.stale.push_back(shown(path, kMaxPathBytes));
            return std::nullopt;
        }
        if (opened->size > limits_.file_bytes) {
            return refuse("it has " + std::to_string(opened->size) + " bytes; at most " +
                          std::to_string(limits_.file_bytes) + " are read");
        }
        if (opened->size > limits_.total_bytes - std::min(limits_.total_bytes, read_bytes_)) {
            return refuse("the reports of one run have more than " + std::to_string(limits_.total_bytes) + " bytes");
        }
        auto bytes = read_whole(opened->file, opened->size, limits_.file_bytes, cancelled_);
        if (!bytes) return refuse(bytes.error().message);
        read_bytes_ += bytes->size();
        return std::move(*bytes);
    }

    void parsed(const std::string& path, ReportFormat format) {
        findings_.parsed.emplace_back(to_string(format));
        if (findings_.files.size() < kMaxListed) findings_.files.push_back(shown(path, kMaxPathBytes));
    }

    void read_junit() {
        const std::string_view name = to_string(ReportFormat::kJunit);
        for (const std::string& path : find(wish_.junit, name)) {
            auto bytes = take(path, name);
            if (!bytes) continue;
            const auto format = detect_report(*bytes);
            if (!format) {
                problem(path, name, format.error().message);
                continue;
            }
            if (*format != ReportFormat::kJunit) {
                problem(path, name, "it is a report of the format " + std::string(to_string(*format)));
                continue;
            }
            auto report = parse_junit(std::move(*bytes));
            if (!report) {
                problem(path, name, report.error().message);
                continue;
            }
            parsed(path, ReportFormat::kJunit);
            add(std::move(*report));
        }
    }

    void add(TestReport report) {
        if (!mask_.empty()) {
            for (FailedTest& test : report.failures) {
                for (std::string* text : {&test.suite, &test.name, &test.message_first_line})
                    *text = mask_.apply(*text);
            }
        }
        if (findings_.tests) {
            merge(*findings_.tests, std::move(report));
        } else {
            findings_.tests = std::move(report);
        }
    }

    void read_coverage() {
        LcovCollector lcov;
        bool any_lcov = false;
        for (const std::string& path : find(wish_.coverage, "unknown")) {
            auto bytes = take(path, "unknown");
            if (!bytes) continue;
            const auto format = detect_report(*bytes);
            if (!format || *format == ReportFormat::kJunit) {
                problem(path, "unknown", format ? std::string("it is a JUnit report") : format.error().message);
                continue;
            }
            Result<void> added;
            if (*format == ReportFormat::kLcov) {
                added = lcov.add(*bytes);
                any_lcov = any_lcov || added;
            } else {
                added = add_cobertura(std::move(*bytes));
            }
            if (added) {
                parsed(path, *format);
            } else {
                problem(path, to_string(*format), added.error().message);
            }
        }
        if (any_lcov) add(lcov.report());
    }

    Result<void> add_cobertura(std::string bytes) {
        WA_TRY(const CoverageReport report, parse_cobertura(std::move(bytes)));
        add(report);
        return {};
    }

    void add(const CoverageReport& report) {
        if (findings_.coverage) {
            merge(*findings_.coverage, report);
        } else {
            findings_.coverage = report;
        }
    }

    // A file that is not there is no problem: most runs write none.
    void read_summary() {
        if (wish_.summary.empty()) return;
        auto opened = open_below(folder_, wish_.summary);
        if (!opened) {
            if (opened.error().code != ErrorCode::kNotFound) problem(wish_.summary, "summary", opened.error().message);
            return;
        }
        if (opened->modified + kTimeGrain < wish_.not_before) {
            findings_.stale.push_back(shown(wish_.summary, kMaxPathBytes));
            return;
        }
        if (opened->size > limits_.summary_bytes) {
            return problem(wish_.summary, "summary",
                           "it has more than " + std::to_string(limits_.summary_bytes) + " bytes");
        }
        auto bytes = read_whole(opened->file, opened->size, limits_.summary_bytes, cancelled_);
        if (!bytes) return problem(wish_.summary, "summary", bytes.error().message);
        findings_.summary = std::move(*bytes);
        if (findings_.summary.empty()) problem(wish_.summary, "summary", "it is empty");
    }

    int folder_;
    const ReportWish& wish_;
    const ReportReaderLimits& limits_;
    const Clock& clock_;
    const std::atomic<bool>& cancelled_;
    MonoTime end_;
    SecretMask mask_;
    FileSearch search_;
    std::uint64_t read_bytes_ = 0;
    ReportFindings findings_;
};

ReportFindings failed(std::string why) {
    ReportFindings findings;
    findings.problems.push_back({"", "", std::move(why)});
    return findings;
}

}  // namespace

class TestReportReader::Thread {
public:
    Thread(asio::io_context& loop, const Clock& clock, ReportReaderLimits limits)
        : loop_(loop), clock_(clock), limits_(limits), thread_([this] { run(); }) {}
    ~Thread() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        cancelled_ = true;
        work_.notify_all();
        thread_.join();
    }
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;

    void add(int directory, ReportWish wish, std::function<void(ReportFindings)> done) {
        // An own handle: the lender's may be closed, and its number used again, before its turn comes.
        Fd folder(::fcntl(directory, F_DUPFD_CLOEXEC, 3));
        if (!folder) return answer(std::move(done), failed("the working directory cannot be opened"));
        {
            const std::lock_guard lock(mutex_);
            if (jobs_.size() < limits_.waiting) {
                jobs_.push_back(Job{std::move(folder), std::move(wish), std::move(done)});
                work_.notify_one();
                return;
            }
        }
        answer(std::move(done), failed("too many runs wait for their reports to be read"));
    }

private:
    struct Job {
        Fd folder;
        ReportWish wish;
        std::function<void(ReportFindings)> done;
    };

    void answer(std::function<void(ReportFindings)> done, ReportFindings findings) {
        asio::post(loop_,
                   [done = std::move(done), findings = std::move(findings)]() mutable { done(std::move(findings)); });
    }

    void run() {
        std::unique_lock lock(mutex_);
        for (;;) {
            work_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (stopping_) return;
            Job job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            ReportFindings findings = Reading(job.folder.get(), job.wish, limits_, clock_, cancelled_).run();
            if (!cancelled_) answer(std::move(job.done), std::move(findings));
            lock.lock();
        }
    }

    asio::io_context& loop_;
    const Clock& clock_;
    const ReportReaderLimits limits_;
    std::mutex mutex_;
    std::condition_variable work_;
    std::deque<Job> jobs_;
    bool stopping_ = false;
    std::atomic<bool> cancelled_{false};
    std::thread thread_;  // last: it uses all of the above
};

TestReportReader::TestReportReader(asio::io_context& loop, const Clock& clock, ReportReaderLimits limits)
    : thread_(std::make_unique<Thread>(loop, clock, limits)) {}

TestReportReader::~TestReportReader() = default;

void TestReportReader::read(int directory, ReportWish wish, std::function<void(ReportFindings)> done) {
    thread_->add(directory, std::move(wish), std::move(done));
}

}  // namespace wa
