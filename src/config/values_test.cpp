#include "config/values.h"

#include <gtest/gtest.h>

namespace wa::config {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

TEST(Values, BooleansAreTheWordsOfTheContractInAnyCase) {
    for (const char* text : {"true", "1", "yes", "on", "t", "y", "TRUE", "Yes", " oN "})
        EXPECT_TRUE(parse_bool(text).value()) << text;
    for (const char* text : {"false", "0", "no", "off", "f", "n", "FALSE", "No"})
        EXPECT_FALSE(parse_bool(text).value()) << text;
    for (const char* text : {"", "2", "enabled", "truee", "-1", "0.0"})
        EXPECT_FALSE(parse_bool(text).has_value()) << text;
}

TEST(Values, WholeNumbers) {
    EXPECT_EQ(parse_int("5").value(), 5);
    EXPECT_EQ(parse_int(" 5 ").value(), 5);
    EXPECT_EQ(parse_int("5.0").value(), 5);
    EXPECT_EQ(parse_int("+7").value(), 7);
    EXPECT_EQ(parse_int("-1").value(), -1);
    EXPECT_EQ(parse_int("9223372036854775807").value(), INT64_MAX);
    for (const char* text :
         {"", "5.5", ".5", ".", "5x", "0x10", "1e3", "--1", "+-1", "9223372036854775808", "5 5", "NaN"}) {
        EXPECT_FALSE(parse_int(text).has_value()) << text;
    }
}

TEST(Values, NumbersAndRatios) {
    EXPECT_DOUBLE_EQ(parse_float("1.5").value(), 1.5);
    EXPECT_DOUBLE_EQ(parse_float(" 2 ").value(), 2);
    for (const char* text : {"", "nan", "inf", "-inf", "1.5x", "1e999"})
        EXPECT_FALSE(parse_float(text).has_value()) << text;
    EXPECT_DOUBLE_EQ(parse_ratio("80%").value(), 0.8);
    EXPECT_DOUBLE_EQ(parse_ratio("0.8").value(), 0.8);
    EXPECT_DOUBLE_EQ(parse_ratio("12.5 %").value(), 0.125);
    for (const char* text : {"", "%", "80%%", "eighty"})
        EXPECT_FALSE(parse_ratio(text).has_value()) << text;
}

TEST(Values, Durations) {
    EXPECT_EQ(parse_duration("30", Unit::kSeconds).value(), 30s);
    EXPECT_EQ(parse_duration("5000", Unit::kMilliseconds).value(), 5s);
    EXPECT_EQ(parse_duration("7", Unit::kDays).value(), 24h * 7);
    EXPECT_EQ(parse_duration("1.5", Unit::kSeconds).value(), 1500ms);
    EXPECT_EQ(parse_duration("10m", Unit::kSeconds).value(), 10min);
    EXPECT_EQ(parse_duration("1h30m", Unit::kSeconds).value(), 90min);
    EXPECT_EQ(parse_duration(" 1h 30m ", Unit::kSeconds).value(), 90min);
    EXPECT_EQ(parse_duration("250ms", Unit::kSeconds).value(), 250ms);
    EXPECT_EQ(parse_duration("2d", Unit::kSeconds).value(), 48h);
    EXPECT_EQ(parse_duration("0", Unit::kSeconds).value(), 0ms);
    for (const char* text : {"", "m", "-5s", "5x", "5m3", "1e3", "99999999999999999999d", "5 mm", "∞"}) {
        EXPECT_FALSE(parse_duration(text, Unit::kSeconds).has_value()) << text;
    }
}

TEST(Values, Sizes) {
    EXPECT_EQ(parse_size("512MiB").value(), 536'870'912);
    EXPECT_EQ(parse_size("512m").value(), 536'870'912);
    EXPECT_EQ(parse_size("512Mi").value(), 536'870'912);
    EXPECT_EQ(parse_size("1GB").value(), 1'000'000'000);
    EXPECT_EQ(parse_size("1.5 KiB").value(), 1536);
    EXPECT_EQ(parse_size("10").value(), 10);
    for (const char* text : {"", "MiB", "-1", "5XB", "99999999999TiB"})
        EXPECT_FALSE(parse_size(text).has_value()) << text;
}

TEST(Values, ListsTakeCommasAndJson) {
    const std::vector<std::string> two{"pytest", "npm test"};
    EXPECT_EQ(parse_list("pytest,npm test").value(), two);
    EXPECT_EQ(parse_list(" pytest , npm test , ").value(), two);
    EXPECT_EQ(parse_list(R"(["pytest", "npm test"])").value(), two);
    EXPECT_EQ(parse_list(R"( [ "pytest" , "npm test" ] )").value(), two);
    EXPECT_TRUE(parse_list("[]").value().empty());
    EXPECT_TRUE(parse_list("").value().empty());
    for (const char* text : {"[", "[1]", "[\"a\"", "[\"a\"] x", "[[\"a\"]]", "[null]"})
        EXPECT_FALSE(parse_list(text).has_value()) << text;
    EXPECT_FALSE(parse_list(std::string(100'000, '[')).has_value());
}

TEST(Values, Urls) {
    EXPECT_EQ(parse_url(" http://localhost:8080 ").value(), "http://localhost:8080");
    EXPECT_TRUE(parse_url("unix:///var/run/docker.sock").has_value());
    EXPECT_TRUE(parse_url("bolt://neo4j:7687").has_value());
    EXPECT_TRUE(parse_url("https://[::1]:8443/prefix").has_value());
    for (const char* text :
         {"", "localhost:8080", "http://", "http//x", "/path", "http://a b", "http://host:99999", "http://host:0",
          "http://h:8x", "http://[::1", "http://[x]", "://h", "1http://h", "http://h\\x", "unix://", "unix:///"}) {
        EXPECT_FALSE(parse_url(text).has_value()) << text;
    }
}

TEST(Values, PasswordsInUrlsAreMasked) {
    EXPECT_EQ(mask_url("http://user:hunter2@host/x"), "http://user:***@host/x");
    EXPECT_EQ(mask_url("http://tokenonly@host"), "http://***@host");
    EXPECT_EQ(mask_url("http://host/a@b"), "http://host/a@b");
    EXPECT_EQ(mask_url("http://a@b:c@host"), "http://a@b:***@host");
    EXPECT_EQ(mask_url("no url"), "no url");
}

TEST(Values, InternalHosts) {
    const std::vector<std::string> namespaces{"kafka", "neural-hive"};
    for (const char* host : {"localhost", "127.0.0.1", "127.8.8.8", "::1", "otel-collector", "schema-registry.kafka",
                             "x.kafka.svc", "x.kafka.svc.cluster.local", "X.NEURAL-HIVE", "a.localhost"}) {
        EXPECT_TRUE(is_internal_host(host, namespaces)) << host;
    }
    for (const char* host : {"", "example.com", "10.0.0.1", "1.2.3.4", "fe80::1", "x.svc.cluster.local.evil.com",
                             "x.other", "evil.com.kafka.example", "svc.cluster.local.example.org"}) {
        EXPECT_FALSE(is_internal_host(host, namespaces)) << host;
    }
    // What begins like an address is still a name.
    EXPECT_EQ(url_host("http://127.0.0.1.evil.example/").name, "127.0.0.1.evil.example");
    EXPECT_EQ(url_host("http://127.0.0.1evil.example:80").name, "127.0.0.1evil.example");
    EXPECT_FALSE(is_internal_host("127.0.0.1.evil.example", namespaces));
    EXPECT_EQ(url_host("http://evil.example\\@localhost/").name, "");
    EXPECT_EQ(url_host("http://a@b@localhost/").name, "");
    // The trap of the old check: the internal name stands in the query.
    EXPECT_EQ(url_host("http://evil.com/?.svc.cluster.local").name, "evil.com");
    EXPECT_EQ(url_host("HTTP://[::1]:80/").name, "::1");
    EXPECT_EQ(url_host("HTTP://[::1]:80/").scheme, "http");
    EXPECT_EQ(url_host("http://a.svc.cluster.local@evil.com/").name, "evil.com");
}

TEST(Values, TextForms) {
    EXPECT_EQ(duration_text(0ms), "0s");
    EXPECT_EQ(duration_text(90min), "1h30m");
    EXPECT_EQ(duration_text(250ms), "250ms");
    EXPECT_EQ(duration_text(24h * 8), "8d");
    EXPECT_EQ(size_text(536'870'912), "512MiB");
    EXPECT_EQ(size_text(1000), "1000B");
    EXPECT_EQ(number_text(0.8), "0.8");
    EXPECT_EQ(number_text(5), "5");
    for (const milliseconds value : {1ms, 999ms, 61'001ms, 86'400'001ms}) {
        EXPECT_EQ(parse_duration(duration_text(value), Unit::kSeconds).value(), value);
    }
}

TEST(Values, RangeIsInWords) {
    const auto refused = parse_value(*find_setting("HTTP_PORT"), "70000");
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().message, "must be from 0 to 65535");
    EXPECT_EQ(parse_value(*find_setting("HEARTBEAT_INTERVAL_SECONDS"), "200").error().message,
              "must be from 1s to 1m40s");
    EXPECT_EQ(parse_value(*find_setting("LOG_LEVEL"), "loud").error().message,
              "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL");
    EXPECT_EQ(std::get<std::string>(*parse_value(*find_setting("LOG_LEVEL"), "debug")), "DEBUG");
    const auto types = parse_value(*find_setting("SUPPORTED_TASK_TYPES"), "build, Execute, BUILD");
    EXPECT_EQ(std::get<std::vector<std::string>>(*types), (std::vector<std::string>{"BUILD", "EXECUTE"}));
    EXPECT_FALSE(parse_value(*find_setting("SUPPORTED_TASK_TYPES"), "[]").has_value());
    EXPECT_FALSE(parse_value(*find_setting("SUPPORTED_TASK_TYPES"), "BUILD,FLY").has_value());
    EXPECT_FALSE(parse_value(*find_setting("ALLOWED_TEST_COMMANDS"), R"([""])").has_value());
}

}  // namespace
}  // namespace wa::config
