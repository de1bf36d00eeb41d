#include "adapters/task_logs/file_task_logs.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "core/codec/text.h"

namespace wa {
namespace {

namespace fs = std::filesystem;

class FakeClock final : public Clock {
public:
    [[nodiscard]] MonoTime now() const override { return MonoTime{}; }
    [[nodiscard]] EpochMillis wall_now() const override { return wall += 100; }
    mutable std::atomic<EpochMillis> wall{1'000'000};
};

class TaskLogsTest : public ::testing::Test {
protected:
    TaskLogsTest() : root_("/tmp/wa-task-logs-" + std::to_string(::getpid()) + "-" + std::to_string(++counter_)) {
        make({});
    }
    ~TaskLogsTest() override {
        logs_.reset();
        fs::remove_all(root_);
    }

    void make(FileTaskLogsOptions options) {
        options.root = root_ + "/logs";
        logs_ = std::make_unique<FileTaskLogs>(options, clock_);
    }

    [[nodiscard]] TaskLogPage page(TaskLogQuery query = {}) {
        logs_->flush();
        if (query.ticket_id.empty()) query.ticket_id = "t";
        auto read = logs_->read(query);
        EXPECT_TRUE(read) << read.error().describe();
        return read.value_or(TaskLogPage{});
    }
    [[nodiscard]] std::string text(TaskLogQuery query = {}) { return join(page(std::move(query))); }
    static std::string join(const TaskLogPage& page) {
        std::string all;
        for (const TaskLogChunk& chunk : page.chunks)
            all += chunk.text;
        return all;
    }
    [[nodiscard]] std::size_t files() const {
        std::size_t count = 0;
        if (!fs::exists(root_)) return 0;
        for (const auto& entry : fs::recursive_directory_iterator(root_))
            count += entry.is_regular_file() ? 1 : 0;
        return count;
    }
    [[nodiscard]] std::uint64_t bytes_on_disk() const {
        std::uint64_t size = 0;
        for (const auto& entry : fs::recursive_directory_iterator(root_))
            size += entry.is_regular_file() ? entry.file_size() : 0;
        return size;
    }

    static inline int counter_ = 0;
    FakeClock clock_;
    std::string root_;
    std::unique_ptr<FileTaskLogs> logs_;
};

TEST_F(TaskLogsTest, NoOutputNoFile) {
    logs_->open("t", 1)->close("");
    logs_->flush();
    EXPECT_EQ(files(), 0U);
    const auto read = logs_->read(TaskLogQuery{"t"});
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, ErrorCode::kNotFound);
}

TEST_F(TaskLogsTest, KeepsStreamsApartAndInOrder) {
    auto log = logs_->open("t", 1);
    EXPECT_TRUE(log->append(TaskLogStream::kStdout, "one\n"));
    EXPECT_TRUE(log->append(TaskLogStream::kStderr, "two\n"));
    EXPECT_TRUE(log->append(TaskLogStream::kStdout, "three\n"));
    EXPECT_EQ(text(), "one\ntwo\nthree\n");
    EXPECT_FALSE(page().closed);
    TaskLogQuery errors;
    errors.stream = TaskLogStream::kStderr;
    EXPECT_EQ(text(errors), "two\n");
    EXPECT_EQ(page().chunks.at(1).stream, TaskLogStream::kStderr);
    EXPECT_GT(page().chunks.at(1).at, page().chunks.at(0).at);
    log->close("");
    EXPECT_TRUE(page().closed);
    EXPECT_EQ(logs_->attempts("t"), std::vector<std::int32_t>{1});
}

TEST_F(TaskLogsTest, SaysWhyItWasKilledEvenWithoutOutput) {
    logs_->open("t", 2)->close("timeout after 5 s");
    TaskLogQuery query;
    query.attempt = 2;
    EXPECT_EQ(text(query), "[worker-agents] killed: timeout after 5 s\n");
}

TEST_F(TaskLogsTest, IsFollowedByPosition) {
    auto log = logs_->open("t", 1);
    TaskLogQuery query;
    std::string seen;
    for (int index = 0; index < 10; ++index) {
        log->append(TaskLogStream::kStdout, "line " + std::to_string(index) + "\n");
        const TaskLogPage now = page(query);
        seen += join(now);
        query.from = now.next;
        EXPECT_EQ(join(page(query)), "");
    }
    EXPECT_EQ(seen, text());
    log->close("cancelled");
    const TaskLogPage last = page(query);
    EXPECT_EQ(join(last), "[worker-agents] killed: cancelled\n");
    EXPECT_TRUE(last.closed);
}

TEST_F(TaskLogsTest, PagesOfAnySizeGiveTheSameText) {
    auto log = logs_->open("t", 1);
    for (int index = 0; index < 500; ++index)
        log->append(TaskLogStream::kStdout, std::string(100, 'x') + std::to_string(index) + "\n");
    const std::string whole = text();
    for (const std::size_t size : {std::size_t{1}, std::size_t{1000}, std::size_t{30'000}}) {
        TaskLogQuery query;
        query.max_bytes = size;
        std::string joined;
        for (;;) {
            const TaskLogPage now = page(query);
            joined += join(now);
            query.from = now.next;
            if (!now.more) break;
        }
        EXPECT_EQ(joined, whole);
    }
}

TEST_F(TaskLogsTest, TailBeginsAtALine) {
    auto log = logs_->open("t", 1);
    for (int index = 0; index < 100; ++index) {
        log->append(index % 2 == 0 ? TaskLogStream::kStdout : TaskLogStream::kStderr,
                    "line " + std::to_string(index) + "\n");
    }
    TaskLogQuery query;
    query.tail_lines = 3;
    EXPECT_EQ(text(query), "line 97\nline 98\nline 99\n");
    query.stream = TaskLogStream::kStderr;
    EXPECT_EQ(text(query), "line 95\nline 97\nline 99\n");
    query.tail_lines = 0;
    EXPECT_EQ(text(query), "");
    EXPECT_GT(page(query).next, 0U);
    query.tail_lines = 1'000'000;
    query.stream.reset();
    EXPECT_EQ(text(query), text());
    log->append(TaskLogStream::kStdout, "no end");
    query.tail_lines = 2;
    EXPECT_EQ(text(query), "line 99\nno end");
}

TEST_F(TaskLogsTest, KeepsHeadAndTailWithinTheLimit) {
    FileTaskLogsOptions options;
    options.sizes = {64 * 1024, 32 * 1024};
    make(options);
    auto log = logs_->open("t", 1);
    std::string written;
    for (int index = 0; index < 20'000; ++index) {
        const std::string line = "this is line " + std::to_string(index) + "\n";
        written += line;
        log->append(TaskLogStream::kStdout, line);
        if (index % 1000 == 0) logs_->flush();
    }
    log->close("");
    const std::string all = text({"t", 1, {}, 0, {}, 8 << 20});
    EXPECT_LE(bytes_on_disk(), 128U * 1024U + 4096U);
    EXPECT_TRUE(all.starts_with("this is line 0\nthis is line 1\n"));
    EXPECT_TRUE(all.ends_with("this is line 19998\nthis is line 19999\n"));
    // The line about the gap counts exactly what is missing.
    const std::size_t mark = all.find("\n[worker-agents] ");
    ASSERT_NE(mark, std::string::npos);
    const std::size_t end = all.find('\n', mark + 1);
    const std::size_t missing = std::stoull(all.substr(mark + 17));
    EXPECT_EQ(missing + all.size() - (end + 1 - mark), written.size());
    EXPECT_EQ(all.find("\n[worker-agents] ", end), std::string::npos);
    TaskLogQuery query;
    query.tail_lines = 2;
    EXPECT_EQ(text(query), "this is line 19998\nthis is line 19999\n");
}

TEST_F(TaskLogsTest, AFollowerThatWasTooSlowIsToldSo) {
    FileTaskLogsOptions options;
    options.sizes = {2048, 1024};
    make(options);
    auto log = logs_->open("t", 1);
    log->append(TaskLogStream::kStdout, "begin\n");
    TaskLogQuery query;
    query.from = page().next;
    for (int index = 0; index < 1000; ++index) {
        log->append(TaskLogStream::kStdout, std::string(80, 'y') + "\n");
        if (index == 40) query.from = page({"t", 1, {}, 0, {}, 8 << 20}).next;  // in a segment that will go
    }
    const TaskLogPage late = page(query);
    EXPECT_NE(join(late).find("left out here"), std::string::npos);
    query.from = late.next;
    EXPECT_EQ(text(query), "");
}

TEST_F(TaskLogsTest, CharactersAreNeverSplitAndBytesNeverRaw) {
    auto log = logs_->open("t", 1);
    const std::string euro = "\xE2\x82\xAC";
    for (int index = 0; index < 100; ++index) {
        for (const char c : euro)
            log->append(TaskLogStream::kStdout, std::string_view(&c, 1));
    }
    log->append(TaskLogStream::kStdout, "\xFF\xFE\xE2");
    log->close("");
    TaskLogQuery query;
    query.max_bytes = 10;
    std::string joined;
    for (bool more = true; more;) {
        const TaskLogPage now = page(query);
        for (const TaskLogChunk& chunk : now.chunks)
            EXPECT_TRUE(is_utf8(chunk.text));
        joined += join(now);
        query.from = now.next;
        more = now.more;
    }
    std::string expected;
    for (int index = 0; index < 100; ++index)
        expected += euro;
    EXPECT_TRUE(joined.starts_with(expected));
    EXPECT_EQ(joined.size(), expected.size() + 9);  // three replacement characters
}

TEST_F(TaskLogsTest, AnyIdIsAFileNameOfItsOwn) {
    const std::vector<std::string> ids{"a",
                                       "a.1",
                                       "..",
                                       "../../etc/passwd",
                                       "/",
                                       std::string("nul\0byte", 8),
                                       "",
                                       "%2e",
                                       ".",
                                       std::string(5000, 'x'),
                                       std::string(5000, 'x') + "y",
                                       "\xC3\xA9",
                                       "a b\n"};
    for (const std::string& id : ids) {
        logs_->open(id, 1)->append(TaskLogStream::kStdout, "log of " + id);
    }
    logs_->flush();
    for (const std::string& id : ids) {
        TaskLogQuery query;
        query.ticket_id = id;
        const auto read = logs_->read(query);
        ASSERT_TRUE(read) << id;
        EXPECT_EQ(join(*read), "log of " + id);
        EXPECT_EQ(logs_->attempts(id).size(), 1U);
    }
    EXPECT_EQ(files(), ids.size());
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
        struct stat facts{};
        ASSERT_EQ(::stat(entry.path().c_str(), &facts), 0);
        if (entry.path() != root_ + "/logs") EXPECT_EQ(facts.st_mode & 0077U, 0U) << entry.path();
    }
    EXPECT_TRUE(logs_->remove("a"));
    EXPECT_TRUE(logs_->attempts("a").empty());
    EXPECT_EQ(logs_->attempts("a.1").size(), 1U);
    EXPECT_TRUE(logs_->remove("never seen"));
}

TEST_F(TaskLogsTest, AnAttemptThatIsOpenedAgainStartsOver) {
    FileTaskLogsOptions options;
    options.sizes = {1024, 512};
    make(options);
    {
        auto first = logs_->open("t", 1);
        for (int index = 0; index < 100; ++index)
            first->append(TaskLogStream::kStdout, std::string(100, 'a'));
    }
    logs_->open("t", 1)->append(TaskLogStream::kStdout, "again");
    EXPECT_EQ(text(), "again");
    EXPECT_EQ(files(), 1U);
}

TEST_F(TaskLogsTest, AKilledWorkersLogIsReadable) {
    auto log = logs_->open("t", 1);
    log->append(TaskLogStream::kStdout, "kept\n");
    logs_->flush();
    // A crash in the middle of a write leaves half a frame behind.
    fs::path file;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
        if (entry.is_regular_file()) file = entry.path();
    }
    const auto whole = fs::file_size(file);
    log->append(TaskLogStream::kStdout, "torn away\n");
    logs_->flush();
    for (auto size = fs::file_size(file) - 1; size >= whole; --size) {
        fs::resize_file(file, size);
        const TaskLogPage now = page();
        EXPECT_EQ(join(now), "kept\n");
        EXPECT_FALSE(now.closed);
        EXPECT_FALSE(now.more);
    }
}

TEST_F(TaskLogsTest, DamagedFilesAndForeignPositionsAreHarmless) {
    auto log = logs_->open("t", 1);
    for (int index = 0; index < 50; ++index)
        log->append(TaskLogStream::kStdout, "line " + std::to_string(index) + "\n");
    logs_->flush();
    TaskLogQuery query;
    for (std::uint64_t from = 0; from < 2000; from += 7) {
        query.from = from;
        const std::string rest = text(query);
        EXPECT_TRUE(rest.empty() || rest.starts_with("line ") || rest.starts_with("\n[worker")) << from << rest;
    }
    query.from = UINT64_MAX;
    EXPECT_EQ(text(query), "");
    fs::path file;
    for (const auto& entry : fs::recursive_directory_iterator(root_)) {
        if (entry.is_regular_file()) file = entry.path();
    }
    std::string original(fs::file_size(file), '\0');
    std::ifstream(file, std::ios::binary).read(original.data(), static_cast<std::streamsize>(original.size()));
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
        std::string damaged = original;
        for (int change = 0; change < 5; ++change)
            damaged[random() % damaged.size()] = static_cast<char>(random());
        damaged.resize(random() % (damaged.size() + 1));
        std::ofstream(file, std::ios::binary | std::ios::trunc) << damaged;
        TaskLogQuery any{"t"};
        any.from = random() % 3000;
        if (round % 2 == 0) any.tail_lines = random() % 20;
        [[maybe_unused]] const auto read = logs_->read(any);  // an answer or an error, never a crash
    }
}

TEST_F(TaskLogsTest, ASlowDiskIsSaidAndNothingBlocks) {
    FileTaskLogsOptions options;
    options.queue_soft = 1000;
    options.queue_hard = 2000;
    make(options);
    auto log = logs_->open("t", 1);
    bool lagged = false;
    for (int index = 0; index < 2000; ++index) {
        lagged = !log->append(TaskLogStream::kStdout, std::string(1500, 'z')) || lagged;
    }
    EXPECT_TRUE(lagged);
    log->close("");
    const std::string all = text({"t", 1, {}, 0, {}, 8 << 20});
    std::uint64_t lost = 0;
    for (std::size_t at = 0; (at = all.find("[worker-agents] ", at)) != std::string::npos; ++at) {
        lost += std::stoull(all.substr(at + 16));
    }
    const auto kept = static_cast<std::uint64_t>(std::count(all.begin(), all.end(), 'z'));
    EXPECT_EQ(lost + kept, 2000U * 1500U);
}

TEST_F(TaskLogsTest, AFullDiskIsCountedAndSaid) {
    // A file size limit stands in for the full disk; it can be lifted again.
    const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
    auto log = logs_->open("t", 1);
    log->append(TaskLogStream::kStdout, "before\n");
    logs_->flush();
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit full{100, limit.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &full);
    log->append(TaskLogStream::kStdout, std::string(1000, 'x'));
    logs_->flush();
    log->append(TaskLogStream::kStdout, std::string(1000, 'x'));
    logs_->flush();
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, old_handler);
    log->append(TaskLogStream::kStdout, "after\n");
    log->close("");
    EXPECT_EQ(text(), "before\n[worker-agents] 2000 bytes of output lost: File too large\nafter\n");
    EXPECT_TRUE(page().closed);
}

TEST_F(TaskLogsTest, AnUnwritableRootFailsNothing) {
    fs::create_directories(root_);
    std::ofstream(root_ + "/logs") << "a file where the folder should be";
    auto log = logs_->open("t", 1);
    EXPECT_TRUE(log->append(TaskLogStream::kStdout, "lost\n"));
    log->close("timeout");
    logs_->flush();
    EXPECT_FALSE(logs_->read(TaskLogQuery{"t"}));
}

TEST_F(TaskLogsTest, IsReadFromOtherThreadsWhileItIsWritten) {
    FileTaskLogsOptions options;
    options.sizes = {32 * 1024, 16 * 1024};
    make(options);
    std::atomic<bool> done{false};
    std::thread reader([&] {
        TaskLogQuery query{"t"};
        while (!done) {
            if (const auto now = logs_->read(query)) query.from = now->next;
            TaskLogQuery tail{"t"};
            tail.tail_lines = 5;
            [[maybe_unused]] const auto last = logs_->read(tail);
        }
    });
    auto log = logs_->open("t", 1);
    for (int index = 0; index < 20'000; ++index)
        log->append(TaskLogStream::kStdout, "line " + std::to_string(index) + "\n");
    log->close("");
    logs_->flush();
    done = true;
    reader.join();
    EXPECT_TRUE(text({"t", 1, {}, 0, 1, 1000}).ends_with("line 19999\n"));
}

}  // namespace
}  // namespace wa
