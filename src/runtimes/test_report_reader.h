// Finds, reads and parses the reports of test runs on one thread of its own, one run after the other.
//
// What is read was written by a task: links are not followed, only regular files are opened, and files, bytes, entries
// and time are bounded. What could not be read is a problem in the answer, never a count.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "ports/test_reports.h"
#include "runtimes/file_search.h"

namespace wa {

struct ReportReaderLimits {
    SearchLimits search;
    std::uint64_t file_bytes = kMaxReportBytes;
    std::uint64_t total_bytes = kMaxAttemptReportBytes;  // of one run
    std::uint64_t summary_bytes = 1024 * 1024;
    Duration time = std::chrono::seconds(30);  // for one run, once its turn has come; the file in hand is finished
    std::size_t waiting = 1024;                // runs; one more is answered at once, with a problem
};

class TestReportReader final : public TestReports {
public:
    // Answers by posting to `loop`. Both must outlive this object.
    TestReportReader(boost::asio::io_context& loop, const Clock& clock, ReportReaderLimits limits = {});
    // Gives up what is under way or waits: its callers are not answered.
    ~TestReportReader() override;
    TestReportReader(const TestReportReader&) = delete;
    TestReportReader& operator=(const TestReportReader&) = delete;

    void read(int directory, ReportWish wish, std::function<void(ReportFindings)> done) override;

private:
    class Thread;
    std::unique_ptr<Thread> thread_;
};

}  // namespace wa
