#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "config/settings.h"
#include "config/values.h"

namespace wa::config {
namespace {

struct Line {
    std::string name;
    std::string fallback;
    bool secret = false;
};

std::vector<Line> known_names() {
    std::ifstream file(std::string(WA_SOURCE_DIR) + "/tests/config/setting_names.txt");
    std::vector<Line> lines;
    std::string text;
    while (std::getline(file, text)) {
        if (text.empty() || text.front() == '#') continue;
        std::istringstream fields(text);
        Line line;
        std::string secret;
        std::getline(fields, line.name, '\t');
        std::getline(fields, line.fallback, '\t');
        std::getline(fields, secret, '\t');
        line.secret = secret == "secret";
        lines.push_back(line);
    }
    return lines;
}

TEST(Table, KnowsEveryNameOfTheContractWithItsDefault) {
    const auto lines = known_names();
    ASSERT_GE(lines.size(), 185U);
    for (const Line& line : lines) {
        const SettingSpec* spec = find_setting(line.name);
        ASSERT_NE(spec, nullptr) << line.name;
        EXPECT_EQ(spec->type == Type::kSecret, line.secret) << line.name;
        if (line.fallback == "*") continue;
        if (line.fallback.empty()) {
            EXPECT_EQ(spec->fallback, "") << line.name;
            continue;
        }
        const auto expected = parse_value(*spec, line.fallback);
        ASSERT_TRUE(expected.has_value()) << line.name << " " << expected.error().message;
        const auto actual = parse_value(*spec, spec->fallback);
        ASSERT_TRUE(actual.has_value()) << line.name;
        EXPECT_TRUE(*expected == *actual) << line.name << " default is " << spec->fallback << ", not " << line.fallback;
    }
}

TEST(Table, IsConsistentInItself) {
    std::set<std::string_view> names;
    for (const SettingSpec& spec : all_settings()) {
        EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
        if (!spec.alias.empty()) EXPECT_TRUE(names.insert(spec.alias).second) << spec.alias;
        EXPECT_EQ(spec.name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"), std::string_view::npos);
        EXPECT_FALSE(spec.help.empty()) << spec.name;
        EXPECT_EQ(find_setting(spec.name), &spec);
        for (const std::string_view text : {spec.fallback, spec.dev_fallback, spec.strict_fallback}) {
            if (!text.empty()) EXPECT_TRUE(parse_value(spec, text).has_value()) << spec.name << "=" << text;
        }
        if (spec.type == Type::kEnum) EXPECT_FALSE(spec.choices.empty()) << spec.name;
        const bool numeric = spec.type == Type::kInt || spec.type == Type::kDuration || spec.type == Type::kRatio;
        if (numeric) EXPECT_GE(spec.max, spec.min) << spec.name << " has no range";
    }
    // A secret's NAME_FILE must not be the name of another setting.
    for (const SettingSpec& spec : all_settings()) {
        if (spec.type == Type::kSecret) EXPECT_EQ(find_setting(std::string(spec.name) + "_FILE"), nullptr);
    }
}

TEST(Table, DerivesFlagsAndKeys) {
    EXPECT_EQ(flag_name(*find_setting("MAX_CONCURRENT_TASKS")), "--max-concurrent-tasks");
    EXPECT_EQ(flag_name(*find_setting("ARGOCD_TOKEN")), "--argocd-token-file");
    EXPECT_EQ(file_key("K8S_JOBS_CLEANUP"), "k8s_jobs_cleanup");
    EXPECT_EQ(find_setting("HTTP_BIND_ADDRESS"), find_setting("HTTP_HOST"));
    EXPECT_EQ(find_setting("max_concurrent_tasks"), nullptr);
}

TEST(Table, StrictEnvironmentsAreComparedWithoutCase) {
    for (const char* name : {"production", "Production", "PROD", "staging", "Staging"})
        EXPECT_TRUE(is_strict_environment(name));
    for (const char* name : {"", "development", "productions", "test", "dev"})
        EXPECT_FALSE(is_strict_environment(name));
}

}  // namespace
}  // namespace wa::config
