#include "net/target.h"

#include <gtest/gtest.h>

namespace wa::net {
namespace {

TEST(Target, SplitsAndDecodesEachPieceOnItsOwn) {
    const auto target = parse_target("/api/v1/dlq/a%2Fb%20c?x=1+2&y=%26&flag");
    ASSERT_TRUE(target);
    EXPECT_EQ(target->segments, (std::vector<std::string>{"api", "v1", "dlq", "a/b c"}));
    EXPECT_EQ(target->query, (NameValues{{"x", "1 2"}, {"y", "&"}, {"flag", ""}}));
}

TEST(Target, TrailingSlashIsTheSameAsNone) {
    EXPECT_EQ(parse_target("/api/v1/tickets/")->segments, parse_target("/api/v1/tickets")->segments);
    EXPECT_EQ(parse_target("/api/v1/tickets/")->path, "/api/v1/tickets");
    EXPECT_TRUE(parse_target("/")->segments.empty());
    EXPECT_EQ(parse_target("/x/?a=b")->path, "/x");
}

TEST(Target, TakesTheAbsoluteForm) {
    const auto target = parse_target("http://localhost:8080/health?x=y");
    ASSERT_TRUE(target);
    EXPECT_EQ(target->authority, "localhost:8080");
    EXPECT_EQ(target->path, "/health");
    EXPECT_EQ(parse_target("http://localhost")->path, "/");
}

TEST(Target, RefusesWhatCouldFoolAFilter) {
    for (const char* bad : {"",     "x",       "//",        "/a//b",    "/a/../b",   "/./a",    "/%2e%2e/x",
                            "/%",   "/%4",     "/%zz",      "/a%00b",   "/a%0d%0ab", "/%ff",    "/%c0%af",
                            "/a#b", "http://", "http://?x", "/a?%zz=1", "/a?=1",     "/a?x=%ff"}) {
        EXPECT_FALSE(parse_target(bad)) << bad;
    }
}

TEST(Target, IsBounded) {
    std::string deep;
    for (int i = 0; i < 65; ++i)
        deep += "/a";
    EXPECT_EQ(parse_target(deep).error().code, ErrorCode::kLimitExceeded);
    std::string wide = "/a?";
    for (int i = 0; i < 257; ++i)
        wide += "x&";
    EXPECT_EQ(parse_target(wide).error().code, ErrorCode::kLimitExceeded);
}

}  // namespace
}  // namespace wa::net
