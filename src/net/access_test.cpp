#include "net/access.h"

#include <gtest/gtest.h>

namespace wa::net {
namespace {

TEST(Authority, IsParsedStrictly) {
    EXPECT_EQ(parse_authority("LocalHost:80").host, "localhost");
    EXPECT_EQ(parse_authority("localhost.").host, "localhost");
    EXPECT_EQ(parse_authority("[::1]:9090").host, "::1");
    EXPECT_EQ(parse_authority("[::1]:9090").port, "9090");
    for (const char* bad :
         {"", ":80", "a b", "host:port", "[::1", "[]", "[::1]x", "a:123456", "user@host", "a/b", "ho\x01st"}) {
        EXPECT_FALSE(parse_authority(bad).valid) << bad;
    }
}

TEST(OwnNames, KnowsLoopbackConfiguredAndConnectedNames) {
    const OwnNames names({"Worker-1", "0.0.0.0", "[fe80::1]", ""});
    const auto own = [&](const char* host, const char* at = "10.0.0.7") {
        return names.is_own(parse_authority(host), at);
    };
    EXPECT_TRUE(own("localhost"));
    EXPECT_TRUE(own("127.0.0.1:1234"));
    EXPECT_TRUE(own("127.8.9.1"));
    EXPECT_TRUE(own("[::1]"));
    EXPECT_TRUE(own("worker-1:8080"));
    EXPECT_TRUE(own("10.0.0.7"));
    EXPECT_TRUE(own("[fe80::1]"));
    EXPECT_FALSE(own("10.0.0.8"));
    EXPECT_FALSE(own("evil.example"));
    EXPECT_FALSE(own("0.0.0.0"));
    EXPECT_FALSE(own("localhost.evil.example"));
    EXPECT_FALSE(own("127.0.0.1.evil.example"));
    EXPECT_FALSE(own("127.evil"));
}

TEST(Origin, MustBeThisServer) {
    const OwnNames names;
    const auto own = [&](const char* origin, const char* host = "localhost:8080") {
        return origin_is_own(origin, parse_authority(host), "127.0.0.1", "8080", names);
    };
    EXPECT_TRUE(own("http://localhost:8080"));
    EXPECT_TRUE(own("http://127.0.0.1:8080"));
    EXPECT_TRUE(own("http://localhost", "localhost"));
    EXPECT_TRUE(own("http://localhost:9999", "localhost:9999"));  // a forwarded port
    EXPECT_FALSE(own("http://localhost:3000"));                   // another program on this machine
    EXPECT_FALSE(own("http://evil.example:8080"));
    EXPECT_FALSE(own("null"));
    EXPECT_FALSE(own("file://"));
    EXPECT_FALSE(own(""));
}

TEST(Token, ComparesAllOfIt) {
    EXPECT_TRUE(equal_constant_time("secret", "secret"));
    EXPECT_FALSE(equal_constant_time("secre", "secret"));
    EXPECT_FALSE(equal_constant_time("secrets", "secret"));
    EXPECT_FALSE(equal_constant_time("", "secret"));
    EXPECT_FALSE(equal_constant_time("", ""));  // no token configured: nothing matches
    EXPECT_FALSE(equal_constant_time("x", ""));
    EXPECT_EQ(bearer_token("Bearer abc"), "abc");
    EXPECT_EQ(bearer_token("bearer  abc "), "abc");
    EXPECT_EQ(bearer_token("Basic abc"), "");
    EXPECT_EQ(bearer_token("Bearer"), "");
}

}  // namespace
}  // namespace wa::net
