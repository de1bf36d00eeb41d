#include "cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/console.h"

namespace wa::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

ProgressState sample() {
    ProgressState state;
    state.title = "hello-7Q2M";
    state.elapsed_ms = 104'000;
    state.critical_path = {"fetch", "build", "unit-tests", "deploy"};
    state.nodes = {{"1", "fetch", "completed", 800, 1, ""},
                   {"2", "build", "completed", 41'000, 2, ""},
                   {"3", "unit-tests", "running", 28'300, 1, ""},
                   {"4", "lint", "queued", -1, 0, "workers full"},
                   {"5", "deploy", "waiting", -1, 0, "needs unit-tests, lint"},
                   {"6", "smoke", "unroutable", -1, 0, "no worker with \"gpu\""}};
    return state;
}

TEST(Progress, BarIsNeverOverfull) {
    EXPECT_EQ(bar(0, 0, 3), "▁▁▁");
    EXPECT_EQ(bar(3, 6, 9), "▇▇▇▇▁▁▁▁▁");
    EXPECT_EQ(bar(9, 6, 3), "▇▇▇");
}

TEST(Progress, TerminalFrame) {
    Progress progress({.terminal = true, .width = 100, .height = 30});
    EXPECT_EQ(progress.update(sample()),
              "\x1b[?2026h"
              "hello-7Q2M   ▇▇▇▁▁▁▁▁▁  2/6   1m44s   critical path: fetch → build → unit-tests → deploy\n"
              "  ✔ fetch       0.8s\n"
              "  ✔ build       41.0s  (2 tries)\n"
              "  ▶ unit-tests  28.3s\n"
              "  ◷ lint        queued: workers full\n"
              "  ○ deploy      needs unit-tests, lint\n"
              "  ✖ smoke       unroutable: no worker with \"gpu\"\n"
              "\x1b[?2026l");
    // The second frame is drawn over the first.
    EXPECT_THAT(progress.update(sample()), testing::StartsWith("\x1b[?2026h\x1b[7F\x1b[J"));
    EXPECT_EQ(progress.erase(), "\x1b[7F\x1b[J");
    EXPECT_EQ(progress.erase(), "");
}

TEST(Progress, FrameNeverOutgrowsTheScreen) {
    ProgressState state = sample();
    state.nodes.clear();
    for (int i = 0; i < 5000; ++i)
        state.nodes.push_back(
            {std::to_string(i), "task-" + std::to_string(i), i == 4321 ? "running" : "waiting", -1, 0, ""});
    state.note = "note";
    Progress progress({.terminal = true, .width = 40, .height = 10});
    const std::string frame = progress.update(state);
    EXPECT_LE(std::count(frame.begin(), frame.end(), '\n'), 9);
    EXPECT_THAT(frame, HasSubstr("task-4321"));  // what runs is shown first
    EXPECT_THAT(frame, HasSubstr("… and 4994 more"));
}

TEST(Progress, ElsewhereOneLineAChange) {
    Progress progress({});
    ProgressState state = sample();
    EXPECT_EQ(progress.update(state),
              "✔ fetch       completed  0.8s\n"
              "✔ build       completed  41.0s  (2 tries)\n"
              "▶ unit-tests  running  28.3s\n"
              "◷ lint        queued: workers full\n"
              "○ deploy      waiting: needs unit-tests, lint\n"
              "✖ smoke       unroutable: no worker with \"gpu\"\n");
    EXPECT_EQ(progress.update(state), "");
    state.elapsed_ms += 5000;
    state.nodes[2].run_ms += 5000;
    EXPECT_EQ(progress.update(state), "");  // time alone is no change
    state.nodes[2].phase = "failed";
    state.nodes[2].why = "exit code 1";
    EXPECT_EQ(progress.update(state), "✖ unit-tests  failed  33.3s  exit code 1\n");
    state.nodes[2].tries = 2;
    state.nodes[2].phase = "running";
    EXPECT_THAT(progress.update(state), HasSubstr("(2 tries)"));
    state.note = "the server does not answer; trying again";
    EXPECT_EQ(progress.update(state), "the server does not answer; trying again\n");
    EXPECT_EQ(progress.update(state), "");
}

TEST(Progress, HostileNamesStayOnTheirLine) {
    ProgressState state;
    state.title = "p\n\x1b[2J";
    state.nodes = {{"1", "evil\x1b]0;owned\x07\nname", "run\x1bning", 5, 1, "why\n\x1b[31m"}};
    state.critical_path = {"\x1b[5m"};
    state.note = "\x1b[9m";
    for (const bool terminal : {false, true}) {
        Progress progress({.terminal = terminal, .width = 200, .height = 20});
        std::string text = progress.update(state);
        for (const std::string_view own : {"\x1b[?2026h", "\x1b[?2026l"}) {
            const auto at = text.find(own);
            if (at != std::string::npos) text.erase(at, own.size());
        }
        EXPECT_THAT(text, Not(HasSubstr("\x1b")));
        EXPECT_THAT(text, Not(HasSubstr("\x07")));
        EXPECT_THAT(text, HasSubstr("evil\\x1b]0;owned\\x07\\nname"));
    }
}

TEST(Progress, OfALargePlanALineForEachTenth) {
    Progress progress({});
    ProgressState state;
    state.total = 50'000;
    state.ended = 4'999;
    EXPECT_EQ(progress.update(state), "");
    state.ended = 5'000;
    EXPECT_EQ(progress.update(state), "5000 of 50000 ended\n");
    state.ended = 5'001;
    EXPECT_EQ(progress.update(state), "");
    state.ended = 50'000;
    EXPECT_EQ(progress.update(state), "50000 of 50000 ended\n");
}

TEST(Redraw, OnlyOnATerminalThatUnderstandsHow) {
    EXPECT_TRUE(can_redraw(true, {{"TERM", "xterm"}}));
    EXPECT_FALSE(can_redraw(false, {{"TERM", "xterm"}}));
    EXPECT_FALSE(can_redraw(true, {{"TERM", "dumb"}}));
    EXPECT_FALSE(can_redraw(true, {{"TERM", ""}}));
    EXPECT_FALSE(can_redraw(true, {}));
}

}  // namespace
}  // namespace wa::cli
