#include "adapters/kafka/file_watch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace wa::kafka {
namespace {

using namespace std::chrono_literals;

class FileWatchTest : public testing::Test {
protected:
    void SetUp() override { std::filesystem::create_directories(folder_); }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::string path(const std::string& name) { return (folder_ / name).string(); }
    void write(const std::string& name, const std::string& text) {
        std::ofstream(path(name), std::ios::binary) << text;
    }
    // Until the watch has told so often, or for so long.
    void run(int told, Duration limit) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (told_ < told && std::chrono::steady_clock::now() < end)
            loop_.run_for(5ms);
    }

    std::filesystem::path folder_ =
        std::filesystem::temp_directory_path() / ("wa-file-watch-" + std::to_string(::getpid()));
    boost::asio::io_context loop_{1};
    int told_ = 0;
    bool accept_ = true;
    std::function<bool()> tell_ = [this] {
        ++told_;
        return accept_;
    };
};

TEST_F(FileWatchTest, TellsOnceWhenContentIsNew) {
    write("cert", "one");
    write("key", "1");
    const FileWatch watch(loop_, {path("cert"), path("key"), ""}, 10ms, 10ms, tell_);
    run(1, 100ms);
    EXPECT_EQ(told_, 0);
    write("cert", "two");
    write("key", "2");
    run(1, 10s);
    run(2, 100ms);
    EXPECT_EQ(told_, 1);
    // A link that points elsewhere, as orchestrators replace what they mount; of the same size.
    write("next", "abc");
    std::filesystem::create_symlink(path("next"), path("link"));
    std::filesystem::rename(path("link"), path("cert"));
    run(2, 10s);
    EXPECT_EQ(told_, 2);
}

TEST_F(FileWatchTest, TheSameContentAgainIsNothingNew) {
    write("cert", "one");
    const FileWatch watch(loop_, {path("cert")}, 10ms, 10ms, tell_);
    std::filesystem::remove(path("cert"));
    write("cert", "one");
    run(1, 150ms);
    EXPECT_EQ(told_, 0);
}

TEST_F(FileWatchTest, WhatIsBeingWrittenIsWaitedFor) {
    write("cert", "one");
    const FileWatch watch(loop_, {path("cert")}, 5ms, 60s, tell_);
    write("cert", "tw");
    run(1, 100ms);
    EXPECT_EQ(told_, 0) << "it has not been the same in two looks";
}

TEST_F(FileWatchTest, WhatIsNotTakenIsOfferedAgain) {
    write("cert", "one");
    accept_ = false;
    const FileWatch watch(loop_, {path("cert")}, 10ms, 10ms, tell_);
    write("cert", "two");
    run(2, 10s);
    EXPECT_EQ(told_, 2);
    accept_ = true;
    run(3, 10s);
    run(4, 100ms);
    EXPECT_EQ(told_, 3);
}

TEST_F(FileWatchTest, AFileThatComesAndGoesIsAChangeToo) {
    const FileWatch watch(loop_, {path("cert")}, 10ms, 10ms, tell_);
    write("cert", "one");
    run(1, 10s);
    EXPECT_EQ(told_, 1);
    std::filesystem::remove(path("cert"));
    run(2, 10s);
    EXPECT_EQ(told_, 2);
}

TEST_F(FileWatchTest, NothingToWatchIsNoWork) {
    const FileWatch watch(loop_, {"", ""}, 1ms, 1ms, tell_);
    EXPECT_EQ(loop_.run_for(50ms), 0U);
}

}  // namespace
}  // namespace wa::kafka
