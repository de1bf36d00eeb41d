#include "cli/text.h"

#include <gtest/gtest.h>

#include "cli/sse.h"
#include "cli/states.h"
#include "cli/table.h"

namespace wa::cli {
namespace {

TEST(Text, HostileTextCannotDriveTheTerminal) {
    EXPECT_EQ(printable("a\x1b[2Jb"), "a\\x1b[2Jb");
    EXPECT_EQ(printable("line\nnext\ttab\rcr"), "line\\nnext\\ttab\\rcr");
    EXPECT_EQ(printable(std::string_view("\0\x07\x7f", 3)), "\\x00\\x07\\x7f");
    EXPECT_EQ(printable("\xc2\x9b"
                        "31m"),
              "\\x9b31m");  // CSI as one C1 character
    EXPECT_EQ(printable("abc\xe2\x80\xae"
                        "fed"),
              "abc\\u202efed");  // right-to-left override
    EXPECT_EQ(printable("\xff\xfe"), "\xef\xbf\xbd\xef\xbf\xbd");
    EXPECT_EQ(printable("\xe2\x82"), "\xef\xbf\xbd\xef\xbf\xbd");
    EXPECT_EQ(printable("ünï ✔ 日本"), "ünï ✔ 日本");
    EXPECT_EQ(printable_block("a\n\tb\x1b]0;x\x07"), "a\n\tb\\x1b]0;x\\x07");
    for (int byte = 0; byte < 256; ++byte) {
        const std::string clean = printable(std::string(3, static_cast<char>(byte)));
        for (const char c : clean)
            EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    }
}

TEST(Text, Widths) {
    EXPECT_EQ(display_width("abc"), 3U);
    EXPECT_EQ(display_width("✔ ok"), 4U);
    EXPECT_EQ(display_width("日本"), 4U);
    EXPECT_EQ(display_width("e\xcc\x81"), 1U);
    EXPECT_EQ(fit("abcdef", 4), "abc…");
    EXPECT_EQ(fit("abc", 3), "abc");
    EXPECT_EQ(fit("日本語", 4), "日…");
    EXPECT_EQ(fit("abc", 0), "");
    EXPECT_EQ(pad("é", 3), "é  ");
}

TEST(Text, Times) {
    EXPECT_EQ(age_text(0), "0s");
    EXPECT_EQ(age_text(-5), "0s");
    EXPECT_EQ(age_text(70'000), "70s");
    EXPECT_EQ(age_text(120'000), "2m");
    EXPECT_EQ(age_text(3 * 3'600'000), "3h");
    EXPECT_EQ(age_text(72LL * 3'600'000), "3d");
    EXPECT_EQ(run_text(800), "0.8s");
    EXPECT_EQ(run_text(41'000), "41.0s");
    EXPECT_EQ(run_text(104'000), "1m44s");
    EXPECT_EQ(run_text(7'500'000), "2h05m");
    EXPECT_EQ(rfc3339(0), "1970-01-01T00:00:00.000Z");
    EXPECT_EQ(rfc3339(1'785'851'531'904), "2026-08-04T13:52:11.904Z");
    EXPECT_EQ(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    EXPECT_EQ(rfc3339(INT64_MAX), "9999-12-31T23:59:59.999Z");
    EXPECT_FALSE(rfc3339(INT64_MIN).empty());
    EXPECT_EQ(clock_text(1'785'851'531'904), "13:52:11.904Z");
}

TEST(States, EveryWordHasASign) {
    EXPECT_EQ(with_sign("completed", false), "✔ completed");
    EXPECT_EQ(with_sign("FAILED", false), "✖ FAILED");
    EXPECT_EQ(with_sign("running", true), "\x1b[36m▶ running\x1b[0m");
    EXPECT_EQ(with_sign("backing_off", false), "◷ backing_off");
    EXPECT_EQ(with_sign("\x1b[2J", false), "? \\x1b[2J");
    EXPECT_TRUE(is_over(kind_of("dead-lettered")));
    EXPECT_TRUE(is_over(kind_of("simulated")));
    EXPECT_FALSE(is_over(kind_of("unroutable")));
    EXPECT_FALSE(is_over(kind_of("reporting")));
    EXPECT_FALSE(is_over(kind_of("something new")));
}

Table sample() {
    Table table;
    table.columns = {{"ID"}, {"TASK", false, 8}, {"STATE", false, 0, true}, {"PLAN", true}, {"WHY"}};
    table.rows = {{"3f9a01c2", "fetch", "completed", "p1", ""},
                  {"77b1d0e4", "a-very-long-name", "running", "p1", "needs \x1b[1mx\n"}};
    return table;
}

TEST(Table, RowsAreAlignedAndEscaped) {
    EXPECT_EQ(render(sample(), {}).value(),
              "ID        TASK              STATE      WHY\n"
              "3f9a01c2  fetch             completed  -\n"
              "77b1d0e4  a-very-long-name  running    needs \\x1b[1mx\\n\n");
    EXPECT_EQ(render(sample(), {.wide = true, .headers = false}).value(),
              "3f9a01c2  fetch             completed  p1  -\n"
              "77b1d0e4  a-very-long-name  running    p1  needs \\x1b[1mx\\n\n");
}

TEST(Table, TerminalsGetSignsColoursAndTheirWidth) {
    EXPECT_EQ(render(sample(), {.width = 44, .signs = true}).value(),
              "ID        TASK      STATE        WHY\n"
              "3f9a01c2  fetch     ✔ completed  -\n"
              "77b1d0e4  a-very-…  ▶ running    needs \\x1b…\n");
    EXPECT_EQ(render(sample(), {.headers = false, .only = {"state"}, .colours = true}).value(),
              "\x1b[32mcompleted\x1b[0m\n\x1b[36mrunning\x1b[0m\n");
}

TEST(Table, ColumnsAreChosenByName) {
    EXPECT_EQ(render(sample(), {.headers = false, .only = {"plan", "Id"}}).value(), "p1  3f9a01c2\np1  77b1d0e4\n");
    const auto refused = render(sample(), {.only = {"NOPE"}});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().message, "there is no column NOPE here; there are ID, TASK, STATE, PLAN, WHY");
    EXPECT_EQ(render({{{"A"}}, {{}, {"x", "too many"}}}, {}).value(), "A\n-\nx\n");
}

TEST(Sse, EventsCutAnywhereAreWhole) {
    const std::string stream =
        ": hello\n\nid: 7\nevent: ticket\ndata: {\"a\":1}\n\ndata: one\r\ndata: two\r\n\r\nid: 8\n\nevent: x\n\n";
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        SseParser parser;
        auto events = parser.feed(std::string_view(stream).substr(0, cut));
        for (auto& event : parser.feed(std::string_view(stream).substr(cut)))
            events.push_back(event);
        ASSERT_EQ(events.size(), 2U) << cut;
        EXPECT_EQ(events[0].type, "ticket");
        EXPECT_EQ(events[0].data, "{\"a\":1}");
        EXPECT_EQ(events[0].id, "7");
        EXPECT_EQ(events[1].type, "message");
        EXPECT_EQ(events[1].data, "one\ntwo");
        EXPECT_EQ(parser.last_id(), "8");
    }
}

TEST(Sse, GarbageAndFloodsAreBounded) {
    SseParser parser(100);
    EXPECT_TRUE(parser.feed("data: " + std::string(1000, 'x') + "\n\n").empty());
    EXPECT_EQ(parser.dropped(), 1U);
    std::string many;
    for (int i = 0; i < 50; ++i)
        many += "data: 0123456789\n";
    EXPECT_TRUE(parser.feed(many + "\n").empty());
    EXPECT_EQ(parser.feed("data: ok\n\n").size(), 1U);
    EXPECT_TRUE(parser.feed(std::string(100'000, 'y')).empty());
    EXPECT_TRUE(parser.feed(std::string("\0\xff::\n\n", 6)).empty());
    EXPECT_EQ(parser.feed("\ndata: again\n\n").size(), 1U);
}

}  // namespace
}  // namespace wa::cli
