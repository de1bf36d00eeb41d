// Addresses, networks, the guard's rules and the proxy's exceptions: values only.
#include "http_client/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "http_client/egress_guard.h"
#include "http_client/proxy.h"

namespace wa::http {
namespace {

AddressKind kind(const char* text) {
    const auto address = parse_ip(text);
    EXPECT_TRUE(address) << text;
    return address ? kind_of(*address) : AddressKind::kPublic;
}

TEST(IpAddresses, OneValueForEachAddress) {
    EXPECT_EQ(*parse_ip("127.0.0.1"), *parse_ip("::ffff:127.0.0.1"));
    EXPECT_EQ(*parse_ip("127.0.0.1"), *parse_ip("::FFFF:7f00:1"));
    EXPECT_EQ(parse_ip("::ffff:7f00:1")->text(), "127.0.0.1");
    EXPECT_EQ(parse_ip("FD00:0::01")->text(), "fd00::1");
    for (const char* text : {"", "0177.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "127.0.0.01", "127.0.0.1.", "[::1]",
                             "fe80::1%eth0", " 127.0.0.1", "1.2.3.4.5", "::1::", "localhost"})
        EXPECT_FALSE(parse_ip(text)) << text;
    EXPECT_FALSE(parse_ip(std::string("127.0.0.1\0x", 11)));
}

TEST(IpAddresses, Kinds) {
    using Kind = AddressKind;
    for (const auto& [text, wanted] : {
             std::pair{"8.8.8.8", Kind::kPublic},
             {"2606:4700::1", Kind::kPublic},
             {"127.255.0.3", Kind::kLoopback},
             {"::1", Kind::kLoopback},
             {"::ffff:127.0.0.1", Kind::kLoopback},
             {"::127.0.0.1", Kind::kLoopback},
             {"64:ff9b::7f00:1", Kind::kLoopback},
             {"2002:7f00:1::", Kind::kLoopback},
             {"10.1.2.3", Kind::kPrivate},
             {"172.31.255.255", Kind::kPrivate},
             {"172.32.0.0", Kind::kPublic},
             {"192.168.0.1", Kind::kPrivate},
             {"100.64.0.1", Kind::kPrivate},
             {"fd12::1", Kind::kPrivate},
             {"169.254.1.1", Kind::kLinkLocal},
             {"fe80::1", Kind::kLinkLocal},
             {"febf::1", Kind::kLinkLocal},
             {"169.254.169.254", Kind::kMetadata},
             {"::ffff:169.254.169.254", Kind::kMetadata},
             {"64:ff9b::a9fe:a9fe", Kind::kMetadata},
             {"2002:a9fe:a9fe::1", Kind::kMetadata},
             {"fd00:ec2::254", Kind::kMetadata},
             {"100.100.100.200", Kind::kMetadata},
             {"224.0.0.1", Kind::kMulticast},
             {"ff02::1", Kind::kMulticast},
             {"0.0.0.0", Kind::kUnspecified},
             {"0.1.2.3", Kind::kUnspecified},
             {"::", Kind::kUnspecified},
             {"255.255.255.255", Kind::kReserved},
             {"2001:0:1::1", Kind::kReserved},
         })
        EXPECT_EQ(kind(text), wanted) << text << " is " << to_string(kind(text));
}

TEST(Networks, Contain) {
    const auto has = [](const char* network, const char* address) {
        const auto parsed = parse_network(network);
        EXPECT_TRUE(parsed) << network;
        return parsed && parsed->contains(*parse_ip(address));
    };
    EXPECT_TRUE(has("10.0.0.0/8", "10.255.0.1"));
    EXPECT_FALSE(has("10.0.0.0/8", "11.0.0.1"));
    EXPECT_TRUE(has("10.0.0.0/8", "::ffff:10.0.0.1"));
    EXPECT_TRUE(has("192.0.2.128/25", "192.0.2.200"));
    EXPECT_FALSE(has("192.0.2.128/25", "192.0.2.100"));
    EXPECT_TRUE(has("0.0.0.0/0", "9.9.9.9"));
    EXPECT_FALSE(has("0.0.0.0/0", "fd00::1")) << "all of IPv4, nothing of IPv6";
    EXPECT_TRUE(has("::/0", "9.9.9.9"));
    EXPECT_TRUE(has("fd00:1::/33", "fd00:1:7fff::1"));
    EXPECT_FALSE(has("fd00:1::/33", "fd00:1:8000::1"));
    EXPECT_TRUE(has("192.0.2.7", "192.0.2.7"));
    EXPECT_FALSE(has("192.0.2.7", "192.0.2.8"));
    for (const char* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.1/8", "fd00::/129", "host/8",
                             "10.0.0.0/8/8", "10.0.0.0/+8", "10.0.0.0/0008", "010.0.0.0/8"})
        EXPECT_FALSE(parse_network(text)) << text;
}

std::shared_ptr<const EgressGuard> guard(const EgressRules& rules) {
    auto made = EgressGuard::make(rules);
    EXPECT_TRUE(made) << made.error().describe();
    return made ? *made : nullptr;
}

TEST(EgressGuards, NothingIsAllowedByItself) {
    const auto none = guard({});
    EXPECT_FALSE(none->check_host("example.org"));
    EXPECT_FALSE(none->allows("example.org", *parse_ip("8.8.8.8")));
    EXPECT_FALSE(none->allows("8.8.8.8", *parse_ip("8.8.8.8")));
}

TEST(EgressGuards, Names) {
    const auto some = guard({.hosts = {"API.example.org", "*.ci.example."}});
    const IpAddress out = *parse_ip("8.8.8.8");
    for (const char* host : {"api.example.org", "Api.Example.Org.", "a.ci.example", "a.b.ci.example"})
        EXPECT_TRUE(some->allows(host, out)) << host;
    for (const char* host : {"example.org", "xapi.example.org", "ci.example", "evilci.example", "ci.example.evil.net",
                             "api.example.org.evil.net", "8.8.8.8", "a.ci.example@evil"})
        EXPECT_FALSE(some->allows(host, out)) << host;
    EXPECT_TRUE(some->allows("a.ci.example", *parse_ip("10.0.0.1"))) << "named: private places are meant";
    EXPECT_FALSE(guard({.hosts = {"*"}})->allows("a.ci.example", *parse_ip("10.0.0.1"))) << "the internet is not";
    EXPECT_TRUE(guard({.hosts = {"*"}})->allows("a.ci.example", out));
    for (const char* bad : {"", "*.", "*example.org", "a.*.org", "8.8.8.8", "::1", "http://a", "a/b", "a:80", "a b"})
        EXPECT_FALSE(EgressGuard::make({.hosts = {bad}})) << bad;
}

TEST(EgressGuards, SomePlacesAreNeverAllowed) {
    const EgressRules rules{.hosts = {"*", "any.test"}, .networks = {"::/0"}, .allow_loopback = true};
    const auto all = guard(rules);
    for (const char* text :
         {"169.254.169.254", "::ffff:169.254.169.254", "169.254.0.1", "fe80::1", "fd00:ec2::254", "100.100.100.200",
          "224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"}) {
        EXPECT_FALSE(all->allows("any.test", *parse_ip(text))) << text;
        EXPECT_FALSE(all->check_host(text)) << text;
    }
    EXPECT_TRUE(all->allows("any.test", *parse_ip("127.0.0.1")));
    EXPECT_TRUE(all->allows("any.test", *parse_ip("10.0.0.1")));
}

TEST(EgressGuards, LoopbackNeedsBoth) {
    const IpAddress here = *parse_ip("127.0.0.1");
    EXPECT_FALSE(guard({.hosts = {"*", "a.test"}, .networks = {"::/0"}})->allows("a.test", here));
    EXPECT_FALSE(guard({.hosts = {"*"}, .allow_loopback = true})->allows("a.test", here));
    EXPECT_TRUE(guard({.hosts = {"a.test"}, .allow_loopback = true})->allows("a.test", here));
    EXPECT_TRUE(guard({.networks = {"127.0.0.1"}, .allow_loopback = true})->allows("127.0.0.1", here));
}

TEST(EgressGuards, OfSeveralAddressesThoseThatAreAllowed) {
    const auto some = guard({.hosts = {"*"}, .networks = {"10.1.0.0/16"}});
    const auto left = some->allowed("a.test", {"10.2.0.1", "10.1.0.1", "127.0.0.1", "8.8.8.8", "x"});
    ASSERT_TRUE(left);
    EXPECT_THAT(*left, ::testing::ElementsAre("10.1.0.1", "8.8.8.8"));
    const auto none = some->allowed("a.test", {"169.254.169.254"});
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, ErrorCode::kNotAllowed);
    EXPECT_NE(none.error().message.find("metadata"), std::string::npos);
    EXPECT_FALSE(some->allowed("a.test", {}));
}

TEST(ProxyExceptions, AsInNoProxy) {
    const auto parsed =
        ProxyExceptions::parse("example.org, .below.test *.star.test 10.0.0.0/8,[fd00::1]:8443,p.test:81");
    ASSERT_TRUE(parsed) << parsed.error().describe();
    for (const auto& [host, port] : {std::pair{"example.org", 80},
                                     {"a.EXAMPLE.org.", 80},
                                     {"a.below.test", 1},
                                     {"x.star.test", 1},
                                     {"10.1.1.1", 1},
                                     {"::ffff:10.1.1.1", 1},
                                     {"fd00::1", 8443},
                                     {"p.test", 81},
                                     {"127.0.0.1", 80},
                                     {"::1", 80},
                                     {"localhost", 1},
                                     {"A.localhost", 1}})
        EXPECT_TRUE(parsed->has(host, static_cast<std::uint16_t>(port))) << host;
    for (const auto& [host, port] : {std::pair{"notexample.org", 80},
                                     {"below.test", 1},
                                     {"star.test", 1},
                                     {"11.1.1.1", 1},
                                     {"fd00::1", 443},
                                     {"p.test", 82},
                                     {"example.org.evil", 80}})
        EXPECT_FALSE(parsed->has(host, static_cast<std::uint16_t>(port))) << host;
    EXPECT_TRUE(ProxyExceptions::parse("*")->has("anything", 1));
    EXPECT_FALSE(ProxyExceptions::parse("")->has("anything", 1));
    for (const char* bad :
         {"a/8", "10.0.0.0/33", "http://x", "a:b", "a:", "*x", "**", ".", "[::1", "[::1]x", "a:70000"})
        EXPECT_FALSE(ProxyExceptions::parse(bad)) << bad;
}

TEST(Proxies, NeedAPort) {
    EXPECT_TRUE(make_proxy("http://u:p@proxy.test:3128", ""));
    EXPECT_TRUE(make_proxy("https://proxy.test:443/", ""));
    for (const char* bad : {"proxy.test:3128", "http://proxy.test", "socks5://proxy.test:1080", "http://p.test:1/x",
                            "http://p.test:1/?x"})
        EXPECT_FALSE(make_proxy(bad, "")) << bad;
    EXPECT_EQ(make_proxy("http://user:se-cret@p.test", "").error().describe().find("cret"), std::string::npos);
}

}  // namespace
}  // namespace wa::http
