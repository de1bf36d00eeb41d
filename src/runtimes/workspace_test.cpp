#include "runtimes/workspace.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <filesystem>
#include <fstream>

namespace wa {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;  // NOLINT: tests

class WorkspaceTest : public ::testing::Test {
protected:
    WorkspaceTest() : base_("/tmp/wa-workspace-" + std::to_string(::getpid()) + "-" + std::to_string(++counter_)) {
        fs::create_directories(base_ + "/outside");
        options_.root = base_ + "/root";
        options_.allowed = {base_ + "/allowed"};
        options_.private_root = base_ + "/private";
    }
    ~WorkspaceTest() override {
        workspace_.reset();
        fs::remove_all(base_);
    }
    Workspace& workspace() {
        if (!workspace_) {
            workspace_ = std::make_unique<Workspace>(loop_, options_);
            SeededRandom random(static_cast<std::uint64_t>(counter_));
            const auto prepared = workspace_->prepare(random);
            EXPECT_TRUE(prepared) << prepared.error().describe();
        }
        return *workspace_;
    }
    Removal remove(const std::string& name) {
        std::optional<Removal> result;
        workspace().remove_private(name, [&](const Removal& removal) { result = removal; });
        for (int turn = 0; turn < 2000 && !result; ++turn) {
            loop_.restart();
            loop_.run_one_for(10ms);
        }
        EXPECT_TRUE(result);
        return result.value_or(Removal{false, 0, "nothing"});
    }
    static std::string real(const SharedFolder& shared) { return real(shared.folder); }
    static std::string real(const Fd& folder) {
        return fs::read_symlink("/proc/self/fd/" + std::to_string(folder.get()));
    }

    static inline int counter_ = 0;
    std::string base_;
    boost::asio::io_context loop_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
        boost::asio::make_work_guard(loop_);
    WorkspaceOptions options_;
    std::unique_ptr<Workspace> workspace_;
};

TEST_F(WorkspaceTest, PrivateFoldersAreNewAndOurs) {
    const AttemptFolders one = workspace().make_private().value();
    const AttemptFolders two = workspace().make_private().value();
    EXPECT_NE(one.home, two.home);
    for (const std::string& path : {one.home, one.tmp, real(one.work), options_.root, options_.private_root}) {
        struct stat facts{};
        ASSERT_EQ(::stat(path.c_str(), &facts), 0) << path;
        EXPECT_EQ(facts.st_mode & 0777U, 0700U) << path;
    }
    EXPECT_TRUE(remove(one.name).complete);
    EXPECT_FALSE(fs::exists(one.home));
    EXPECT_TRUE(fs::exists(two.home));
}

TEST_F(WorkspaceTest, RemovalFollowsNoLinksAndCopesWithHostileContents) {
    std::ofstream(base_ + "/outside/keep") << "keep";
    const AttemptFolders folders = workspace().make_private().value();
    fs::create_directory_symlink(base_ + "/outside", folders.home + "/link");
    fs::create_symlink("/no/such/target", folders.home + "/dangling");
    std::ofstream(folders.tmp + "/" + std::string(255, 'n')) << "x";
    fs::create_directories(folders.tmp + "/locked/inner");
    std::ofstream(folders.tmp + "/locked/inner/file") << "x";
    ::chmod((folders.tmp + "/locked/inner").c_str(), 0);
    ::chmod((folders.tmp + "/locked").c_str(), 0);
    ASSERT_EQ(::mkfifo((folders.tmp + "/pipe").c_str(), 0600), 0);
    const Removal removal = remove(folders.name);
    EXPECT_TRUE(removal.complete) << removal.problem;
    EXPECT_FALSE(fs::exists(folders.home));
    EXPECT_TRUE(fs::exists(base_ + "/outside/keep"));
}

TEST_F(WorkspaceTest, RemovalCopesWithDepth) {
    const AttemptFolders folders = workspace().make_private().value();
    Fd here(::open(folders.tmp.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (int depth = 0; depth < 3000; ++depth) {  // far beyond PATH_MAX and the descriptor limit
        ASSERT_EQ(::mkdirat(here.get(), "deeper-and-deeper", 0700), 0);
        here = Fd(::openat(here.get(), "deeper-and-deeper", O_PATH | O_DIRECTORY | O_CLOEXEC));
        ASSERT_TRUE(here) << depth;
    }
    here.reset();
    const Removal removal = remove(folders.name);
    EXPECT_TRUE(removal.complete) << removal.problem;
    EXPECT_GT(removal.removed, 3000U);
    EXPECT_FALSE(fs::exists(folders.tmp));
}

TEST_F(WorkspaceTest, RemovalIsBoundedAndSaysSo) {
    options_.removal.entries = 50;
    const AttemptFolders folders = workspace().make_private().value();
    for (int index = 0; index < 200; ++index)
        std::ofstream(folders.tmp + "/" + std::to_string(index)) << "x";
    const Removal removal = remove(folders.name);
    EXPECT_FALSE(removal.complete);
    EXPECT_NE(removal.problem.find("too many"), std::string::npos);
}

TEST_F(WorkspaceTest, ManyEntriesGo) {
    const AttemptFolders folders = workspace().make_private().value();
    for (int index = 0; index < 9000; ++index)
        std::ofstream(folders.tmp + "/" + std::to_string(index)) << "x";
    EXPECT_TRUE(remove(folders.name).complete);
    EXPECT_FALSE(fs::exists(folders.tmp));
}

TEST_F(WorkspaceTest, LeftoversOfAnEarlierRunGo) {
    fs::create_directories(options_.private_root + "/old/1/home");
    std::ofstream(options_.private_root + "/old/1/home/file") << "x";
    const AttemptFolders folders = workspace().make_private().value();
    for (int turn = 0; turn < 500 && fs::exists(options_.private_root + "/old"); ++turn)
        ::usleep(2000);
    EXPECT_FALSE(fs::exists(options_.private_root + "/old"));
    EXPECT_TRUE(fs::exists(folders.home));
    workspace_.reset();
    EXPECT_TRUE(fs::is_empty(options_.private_root));
}

TEST_F(WorkspaceTest, SharedFoldersAreMadeInsideTheAllowedOnes) {
    EXPECT_EQ(real(workspace().open_shared(options_.root + "/a/b").value()), options_.root + "/a/b");
    EXPECT_EQ(real(workspace().open_shared("relative/c").value()), options_.root + "/relative/c");
    EXPECT_EQ(real(workspace().open_shared(base_ + "/allowed").value()), base_ + "/allowed");
    EXPECT_EQ(real(workspace().open_shared(base_ + "/allowed/x/").value()), base_ + "/allowed/x");
    EXPECT_EQ(real(workspace().open_shared(options_.root).value()), options_.root);
    // A link that stays inside is fine.
    fs::create_directory_symlink(options_.root + "/a", options_.root + "/inner");
    EXPECT_EQ(real(workspace().open_shared("inner/b").value()), options_.root + "/a/b");
    EXPECT_EQ(real(workspace().open_shared("inner/new").value()), options_.root + "/a/new");
}

TEST_F(WorkspaceTest, OneMoreFolderCanBoundThem) {
    const std::string inside = options_.root + "/tests";
    fs::create_directories(inside);
    fs::create_directories(options_.root + "/other");
    fs::create_directory_symlink(options_.root + "/other", inside + "/link");
    EXPECT_EQ(real(workspace().open_shared("a", inside).value()), inside + "/a");
    EXPECT_EQ(real(workspace().open_shared(inside, inside).value()), inside);
    for (const std::string& path : {options_.root + "/other", std::string("link"), inside + "/link"}) {
        const auto opened = workspace().open_shared(path, inside);
        ASSERT_FALSE(opened) << path;
        EXPECT_EQ(opened.error().code, ErrorCode::kNotAllowed) << path;
    }
    // It does not widen what is allowed.
    EXPECT_FALSE(workspace().open_shared(base_ + "/outside", base_ + "/outside"));
}

TEST_F(WorkspaceTest, NothingEscapes) {
    workspace();
    const AttemptFolders other = workspace().make_private().value();
    fs::create_directory_symlink(base_ + "/outside", options_.root + "/escape");
    fs::create_directory_symlink("..", options_.root + "/up");
    fs::create_symlink(base_ + "/outside/not-there", options_.root + "/dangling");
    fs::create_directories(base_ + "/root-beside");
    std::ofstream(options_.root + "/file") << "x";
    for (const std::string& path : {base_ + "/outside",
                                    base_ + "/outside/new",
                                    std::string("escape"),
                                    std::string("escape/new"),
                                    std::string("up"),
                                    std::string("up/outside"),
                                    std::string("up/outside/new"),
                                    std::string(".."),
                                    std::string("a/../../outside"),
                                    base_ + "/root-beside",
                                    base_ + "/root-beside/x",
                                    std::string("/"),
                                    std::string("/etc"),
                                    std::string("dangling"),
                                    std::string("dangling/x"),
                                    options_.private_root,
                                    other.home,
                                    base_ + "/new",
                                    std::string("/proc/self/cwd"),
                                    std::string("file"),
                                    std::string("file/x"),
                                    std::string("nul\0byte", 8),
                                    std::string(5000, 'x'),
                                    std::string("x/") + std::string(300, 'y')}) {
        const auto opened = workspace().open_shared(path);
        ASSERT_FALSE(opened) << path << " -> " << real(*opened);
        EXPECT_EQ(opened.error().retry, Retry::kNever) << path;
        EXPECT_EQ(opened.error().fault, Fault::kInput) << path;
    }
    EXPECT_FALSE(fs::exists(base_ + "/outside/new"));
    EXPECT_FALSE(fs::exists(base_ + "/outside/not-there"));
    EXPECT_FALSE(fs::exists(base_ + "/new"));
}

TEST_F(WorkspaceTest, AForeignRootIsRefused) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a folder away";
    fs::create_directories(options_.root);
    ASSERT_EQ(::chown(options_.root.c_str(), 12345, 12345), 0);
    Workspace other(loop_, options_);
    SeededRandom random(1);
    const auto prepared = other.prepare(random);
    ASSERT_FALSE(prepared);
    EXPECT_NE(prepared.error().message.find("belongs to another user"), std::string::npos);
}

TEST_F(WorkspaceTest, ARootThatCannotBeMadeIsSaid) {
    std::ofstream(options_.root) << "a file";
    Workspace other(loop_, options_);
    SeededRandom random(1);
    EXPECT_FALSE(other.prepare(random));
}

TEST_F(WorkspaceTest, TheWorkersOwnFolderIsNobodysWorkingDirectory) {
    options_.allowed = {base_};
    options_.forbidden = base_ + "/state";
    options_.root = base_ + "/state/workspace";
    fs::create_directories(base_ + "/state/logs");
    for (const std::string& path : {base_ + "/state", base_ + "/state/logs", base_ + "/state/new"}) {
        const auto opened = workspace().open_shared(path);
        ASSERT_FALSE(opened) << path;
        EXPECT_EQ(opened.error().code, ErrorCode::kNotAllowed);
    }
    EXPECT_FALSE(fs::exists(base_ + "/state/new"));
    EXPECT_TRUE(workspace().open_shared(base_ + "/other"));
    EXPECT_EQ(workspace().open_shared("job").value().path, base_ + "/state/workspace/job");
}

}  // namespace
}  // namespace wa
