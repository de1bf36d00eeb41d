#include "runtimes/test_report_reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>

namespace wa {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;  // NOLINT: tests
using Texts = std::vector<std::string>;

constexpr const char* kPassing = "<testsuite><testcase name='a'/><testcase name='b'/></testsuite>";
constexpr const char* kFailing =
    "<testsuite><testcase classname='K' name='c'><failure message='wrong: hunter22'/></testcase></testsuite>";
constexpr const char* kCobertura = "<?xml version='1.0'?><coverage lines-covered='85' lines-valid='100'/>";
constexpr const char* kLcov = "TN:\nSF:a.c\nDA:1,1\nDA:2,0\nLF:2\nLH:1\nend_of_record\n";

TEST(NameFits, IsAsInAShell) {
    for (const auto& [name, pattern] : std::vector<std::pair<const char*, const char*>>{{"a.xml", "*.xml"},
                                                                                        {"a.xml", "a.xml"},
                                                                                        {"TEST-x.xml", "TEST-*.xml"},
                                                                                        {"ab", "a?"},
                                                                                        {"aé", "a?"},
                                                                                        {"abcabc", "*abc"},
                                                                                        {"a*b", "a*b"},
                                                                                        {"", "*"},
                                                                                        {".x", ".*"},
                                                                                        {"aXbXc", "a*b*c"}}) {
        EXPECT_TRUE(name_fits(name, pattern)) << name << " " << pattern;
    }
    for (const auto& [name, pattern] : std::vector<std::pair<const char*, const char*>>{{"a.xmlx", "*.xml"},
                                                                                        {"a", "a?"},
                                                                                        {".x", "*"},
                                                                                        {".x", "?x"},
                                                                                        {"A", "a"},
                                                                                        {"ab", "a"},
                                                                                        {"", "?"},
                                                                                        {"abcab", "*abc"}}) {
        EXPECT_FALSE(name_fits(name, pattern)) << name << " " << pattern;
    }
    // No name makes matching slow.
    EXPECT_FALSE(name_fits(std::string(255, 'a'), "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b"));
}

class ReportReaderTest : public ::testing::Test {
protected:
    ReportReaderTest() : base_("/tmp/wa-reports-" + std::to_string(::getpid()) + "-" + std::to_string(++counter_)) {
        fs::create_directories(base_ + "/run");
        fs::create_directories(base_ + "/outside");
        write("../outside/secret.xml", kPassing);
        folder_ = Fd(::open((base_ + "/run").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    }

public:
    ~ReportReaderTest() override {
        reader_.reset();
        fs::remove_all(base_);
    }
    ReportReaderTest(const ReportReaderTest&) = delete;
    ReportReaderTest& operator=(const ReportReaderTest&) = delete;

protected:
    [[nodiscard]] std::string path(const std::string& name) const { return base_ + "/run/" + name; }
    void write(const std::string& name, std::string_view text) const {
        fs::create_directories(fs::path(path(name)).parent_path());
        std::ofstream(path(name), std::ios::binary) << text;
    }
    void age(const std::string& name, std::chrono::seconds by) const {
        const auto at = std::chrono::system_clock::now() - by;
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(at.time_since_epoch()).count();
        const timespec times[2] = {{seconds, 0}, {seconds, 0}};
        ASSERT_EQ(::utimensat(AT_FDCWD, path(name).c_str(), times, 0), 0);
    }

    TestReportReader& reader() {
        if (!reader_) reader_ = std::make_unique<TestReportReader>(loop_, clock_, limits);
        return *reader_;
    }
    ReportFindings read(ReportWish wish) {
        std::optional<ReportFindings> found;
        reader().read(folder_.get(), std::move(wish), [&](ReportFindings findings) { found = std::move(findings); });
        const auto end = std::chrono::steady_clock::now() + 60s;
        while (!found && std::chrono::steady_clock::now() < end)
            loop_.run_one_for(50ms);
        EXPECT_TRUE(found);
        return found.value_or(ReportFindings{});
    }
    ReportFindings junit(Texts patterns) {
        ReportWish wish;
        wish.junit = std::move(patterns);
        return read(wish);
    }
    ReportFindings coverage(Texts patterns) {
        ReportWish wish;
        wish.coverage = std::move(patterns);
        return read(wish);
    }
    static std::string why(const ReportFindings& findings) {
        return findings.problems.empty() ? std::string() : findings.problems.front().why;
    }

    static inline int counter_ = 0;
    std::string base_;
    ReportReaderLimits limits;
    SystemClock clock_;
    boost::asio::io_context loop_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
        boost::asio::make_work_guard(loop_);
    Fd folder_;
    std::unique_ptr<TestReportReader> reader_;
};

TEST_F(ReportReaderTest, FindsByPatternAndPutsTogether) {
    write("out/a.xml", kPassing);
    write("out/deep/TEST-b.xml", kFailing);
    write("out/deep/er/TEST-c.xml", kPassing);
    write("out/notes.txt", "x");
    write(".hidden/TEST-d.xml", kPassing);
    const ReportFindings found = junit({"out/*.xml", "**/TEST-*.xml", "out/a.xml", "./out//a.xml"});
    ASSERT_TRUE(found.tests);
    EXPECT_EQ(found.tests->passed, 4U);
    EXPECT_EQ(found.tests->failed, 1U);
    EXPECT_EQ(found.files, (Texts{"out/a.xml", "out/deep/TEST-b.xml", "out/deep/er/TEST-c.xml"}));
    EXPECT_EQ(found.parsed, (Texts{"junit", "junit", "junit"}));
    EXPECT_TRUE(found.problems.empty()) << why(found);
    EXPECT_TRUE(found.unmatched.empty());
    EXPECT_EQ(junit({"**/er/*"}).tests->passed, 2U);
    EXPECT_EQ(junit({"*/deep/**/TEST-?.xml"}).tests->passed, 2U);
    EXPECT_EQ(junit({"**/**/TEST-c.xml"}).files.size(), 1U);
    EXPECT_EQ(junit({".hidden/*"}).files.size(), 1U);
}

TEST_F(ReportReaderTest, WhatFitsNothingIsSaid) {
    write("a.xml", kPassing);
    const ReportFindings found = junit({"a.xml", "b.xml", "no/*.xml"});
    EXPECT_EQ(found.unmatched, (Texts{"b.xml", "no/*.xml"}));
    EXPECT_EQ(found.tests->passed, 2U);
    EXPECT_TRUE(found.problems.empty());
    EXPECT_FALSE(junit({"none.xml"}).tests);
}

TEST_F(ReportReaderTest, WhatCannotBeParsedIsAProblemAndNoCount) {
    write("bad.xml", "<testsuite><testcase>");
    write("text.xml", "hello");
    write("empty.xml", "");
    write("cov.xml", kCobertura);
    const ReportFindings found = junit({"*.xml"});
    EXPECT_FALSE(found.tests);
    ASSERT_EQ(found.problems.size(), 4U);
    for (const ReportProblem& problem : found.problems) {
        EXPECT_EQ(problem.format, "junit");
        EXPECT_FALSE(problem.why.empty());
    }
    EXPECT_EQ(found.problems[1].path, "cov.xml");
    EXPECT_NE(found.problems[1].why.find("cobertura"), std::string::npos);
    EXPECT_TRUE(found.parsed.empty());
}

TEST_F(ReportReaderTest, CoverageOfBothFormats) {
    write("c.xml", kCobertura);
    write("lcov.info", kLcov);
    EXPECT_DOUBLE_EQ(coverage({"c.xml"}).coverage->line_percent.value(), 85.0);
    EXPECT_DOUBLE_EQ(coverage({"lcov.info"}).coverage->line_percent.value(), 50.0);
    const ReportFindings both = coverage({"c.xml", "*.info"});
    EXPECT_EQ(both.coverage->lines.valid, 102U);
    EXPECT_EQ(both.parsed, (Texts{"cobertura", "lcov"}));
    write("clover.xml", "<coverage clover='4'><project><metrics statements='1'/></project></coverage>");
    write("junit.xml", kPassing);
    const ReportFindings others = coverage({"clover.xml", "junit.xml"});
    EXPECT_FALSE(others.coverage);
    ASSERT_EQ(others.problems.size(), 2U);
    EXPECT_EQ(others.problems[0].format, "unknown");
}

TEST_F(ReportReaderTest, OldFilesDoNotCount) {
    write("old.xml", kFailing);
    age("old.xml", 3600s);
    write("new.xml", kPassing);
    write("report.json", R"({"passed":1})");
    age("report.json", 3600s);
    ReportWish wish;
    wish.junit = {"*.xml"};
    wish.summary = "report.json";
    wish.not_before = clock_.wall_now();
    ReportFindings found = read(wish);
    EXPECT_EQ(found.stale, (Texts{"old.xml", "report.json"}));
    EXPECT_EQ(found.tests->passed, 2U);
    EXPECT_EQ(found.tests->failed, 0U);
    EXPECT_TRUE(found.summary.empty());
    EXPECT_TRUE(found.problems.empty());
    wish.junit = {"old.xml"};
    found = read(wish);
    EXPECT_FALSE(found.tests);
    EXPECT_TRUE(found.unmatched.empty());
}

TEST_F(ReportReaderTest, TheSummaryIsHandedOver) {
    write("out/sum.json", R"({"passed":1})");
    ReportWish wish;
    wish.summary = "out/sum.json";
    EXPECT_EQ(read(wish).summary, R"({"passed":1})");
    wish.summary = "none.json";
    EXPECT_TRUE(read(wish).problems.empty());  // most runs write none
    write("big.json", std::string((1U << 20U) + 1, ' '));
    wish.summary = "big.json";
    EXPECT_NE(why(read(wish)).find("1048576"), std::string::npos);
    ASSERT_EQ(::mkfifo(path("pipe.json").c_str(), 0600), 0);
    wish.summary = "pipe.json";
    EXPECT_NE(why(read(wish)).find("a pipe"), std::string::npos);
}

TEST_F(ReportReaderTest, NoLinkIsFollowedAndNothingOutsideIsReached) {
    fs::create_symlink("../outside/secret.xml", path("link.xml"));
    fs::create_symlink(base_ + "/outside/secret.xml", path("absolute.xml"));
    fs::create_directory_symlink("../outside", path("away"));
    fs::create_directory_symlink("..", path("up"));
    fs::create_symlink("/proc/self/fd", path("magic"));
    for (const char* pattern :
         {"link.xml", "absolute.xml", "*.xml", "away/secret.xml", "away/*", "up/outside/*", "**/secret.xml", "**/*.xml",
          "**", "../outside/secret.xml", "a/../../outside/*", "..", "magic/*", "*/secret.xml"}) {
        const ReportFindings found = junit({pattern});
        EXPECT_FALSE(found.tests) << pattern;
        EXPECT_TRUE(found.files.empty()) << pattern;
        EXPECT_FALSE(found.problems.empty() && found.unmatched.empty()) << pattern;
    }
    EXPECT_NE(why(junit({"link.xml"})).find("a link"), std::string::npos);
    for (const char* summary : {"link.xml", "away/secret.xml", "../outside/secret.xml", "/etc/passwd"}) {
        ReportWish wish;
        wish.summary = summary;
        const ReportFindings found = read(wish);
        EXPECT_TRUE(found.summary.empty()) << summary;
        EXPECT_EQ(found.problems.size(), 1U) << summary;
    }
}

TEST_F(ReportReaderTest, WhatIsNoFileIsNotOpened) {
    ASSERT_EQ(::mkfifo(path("pipe.xml").c_str(), 0600), 0);  // opening it would hang
    fs::create_directories(path("folder.xml"));
    fs::create_symlink("loop.xml", path("loop.xml"));
    const auto began = std::chrono::steady_clock::now();
    EXPECT_NE(why(junit({"pipe.xml"})).find("a pipe"), std::string::npos);
    EXPECT_NE(why(junit({"folder.xml"})).find("a folder"), std::string::npos);
    EXPECT_EQ(junit({"*.xml"}).problems.size(), 2U);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
}

TEST_F(ReportReaderTest, AHugeFileIsRefusedUnread) {
    write("huge.xml", kPassing);
    ASSERT_EQ(::truncate(path("huge.xml").c_str(), off_t{2} << 30), 0);
    const auto began = std::chrono::steady_clock::now();
    const ReportFindings found = junit({"huge.xml"});
    EXPECT_FALSE(found.tests);
    EXPECT_NE(why(found).find("2147483648"), std::string::npos);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
}

TEST_F(ReportReaderTest, AllFilesTogetherAreBounded) {
    limits.total_bytes = 200;
    for (const char* name : {"a.xml", "b.xml", "c.xml", "d.xml", "e.xml"})
        write(name, kPassing);
    const ReportFindings found = junit({"*.xml"});
    EXPECT_EQ(found.tests->passed, 6U);
    EXPECT_EQ(found.problems.size(), 2U);
    EXPECT_NE(why(found).find("more than 200 bytes"), std::string::npos);
}

TEST_F(ReportReaderTest, TheSearchIsBounded) {
    limits.search.entries = 100;
    for (int n = 0; n < 300; ++n)
        write("many/" + std::to_string(n) + ".txt", "");
    ReportFindings found = junit({"**/*.xml"});
    ASSERT_FALSE(found.problems.empty());
    EXPECT_NE(found.problems.back().why.find("100 entries"), std::string::npos);
    EXPECT_EQ(found.problems.back().format, "");

    reader_.reset();
    limits = {};
    limits.search.files = 5;
    found = junit({"many/*"});
    EXPECT_NE(found.problems.back().why.find("5 files"), std::string::npos);

    reader_.reset();
    limits = {};
    limits.search.depth = 3;
    write("1/2/3/in.xml", kPassing);
    write("1/2/3/4/out.xml", kFailing);
    EXPECT_EQ(junit({"**/*.xml"}).files, (Texts{"1/2/3/in.xml"}));

    reader_.reset();
    limits = {};
    limits.time = Duration::zero();
    found = junit({"1/2/3/in.xml"});
    EXPECT_FALSE(found.tests);
    EXPECT_NE(found.problems.back().why.find("too long"), std::string::npos);
}

TEST_F(ReportReaderTest, PatternsCannotMakeTheSearchExplode) {
    for (int n = 0; n < 12; ++n)
        fs::create_directories(path("a" + std::to_string(n) + "/b/c/d/e"));
    limits.search.entries = 20'000;
    const auto began = std::chrono::steady_clock::now();
    const ReportFindings found = junit({"**/?*/**/?*/**/?*/**/?*/**/?*/**/none"});
    EXPECT_FALSE(found.tests);
    EXPECT_LT(std::chrono::steady_clock::now() - began, 10s);
}

TEST_F(ReportReaderTest, NoTextOfAReportShowsASecret) {
    write("hunter22.xml", kFailing);
    ReportWish wish;
    wish.junit = {"*.xml"};
    wish.secrets = {"hunter22"};
    const ReportFindings found = read(wish);
    ASSERT_EQ(found.tests->failures.size(), 1U);
    EXPECT_EQ(found.tests->failures[0].message_first_line, "wrong: ***");
    EXPECT_EQ(found.files, (Texts{"***.xml"}));
}

TEST_F(ReportReaderTest, NamesAreMadeFitToShow) {
    write("a\n\x1b[31m\xff.xml", "no report");
    const ReportFindings found = junit({"*.xml"});
    ASSERT_EQ(found.problems.size(), 1U);
    EXPECT_EQ(found.problems[0].path.find_first_of("\n\x1b\xff"), std::string::npos);
}

TEST_F(ReportReaderTest, TheFolderMayBeClosedMeanwhile) {
    write("a.xml", kPassing);
    std::optional<ReportFindings> found;
    ReportWish wish;
    wish.junit = {"a.xml"};
    reader().read(folder_.get(), wish, [&](ReportFindings findings) { found = std::move(findings); });
    folder_.reset();
    for (int turn = 0; turn < 200 && !found; ++turn)
        loop_.run_one_for(50ms);
    ASSERT_TRUE(found && found->tests);
    reader().read(-1, wish, [&](ReportFindings findings) { found = std::move(findings); });
    found.reset();
    for (int turn = 0; turn < 200 && !found; ++turn)
        loop_.run_one_for(50ms);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->problems.size(), 1U);
}

TEST_F(ReportReaderTest, EndsPromptlyWithWorkInHand) {
    for (int n = 0; n < 2000; ++n)
        write("many/" + std::to_string(n) + "/x.txt", "");
    int answers = 0;
    ReportWish wish;
    wish.junit = {"**/*.xml", "**/*/*.xml", "**/?*/**/*.xml"};
    for (int n = 0; n < 500; ++n)
        reader().read(folder_.get(), wish, [&](ReportFindings) { ++answers; });
    const auto began = std::chrono::steady_clock::now();
    reader_.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
    EXPECT_LT(answers, 500);
}

TEST_F(ReportReaderTest, TooManyWaitingRunsAreAnsweredAtOnce) {
    limits.waiting = 0;
    const ReportFindings found = junit({"a.xml"});
    EXPECT_NE(why(found).find("too many"), std::string::npos);
}

}  // namespace
}  // namespace wa
