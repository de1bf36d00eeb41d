// The plans in examples/, read by the same code that reads a user's: no problem, no warning, and every command that
// they start is one that is allowed where they run.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/random.h"
#include "core/codec/parameters.h"
#include "plan_file/plan_file.h"

namespace wa {
namespace {

namespace fs = std::filesystem;

const fs::path kExamples = fs::path(WA_SOURCE_DIR) / "examples";
constexpr std::size_t kMaxFiles = 40;            // of all examples: they travel inside the binary
constexpr std::uintmax_t kMaxBytes = 64 * 1024;  // likewise

std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    EXPECT_TRUE(in) << path;
    return {std::istreambuf_iterator<char>(in), {}};
}
void replace_all(std::string& text, std::string_view from, std::string_view to) {
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
        text.replace(at, from.size(), to);
}
std::vector<std::string> allowed_commands(const fs::path& folder) {
    std::vector<std::string> commands{"sh"};  // of the usual ones, the only one that examples rely on
    std::ifstream in(folder / "allow.txt");
    for (std::string line; std::getline(in, line);) {
        if (!line.empty() && line.front() != '#') commands.push_back(line);
    }
    return commands;
}
std::vector<std::string> example_folders() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(kExamples)) {
        if (entry.is_directory()) names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

class Examples : public testing::TestWithParam<std::string> {};

TEST_P(Examples, AreAcceptedWithoutAWord) {
    std::string text = read_file(kExamples / GetParam() / "plan.yaml");
    replace_all(text, "${SOURCE_DIR}", "/srv/sources");
    replace_all(text, "${RUN_DIR}", "/srv/run");
    EXPECT_EQ(text.find("${"), std::string::npos) << "an unknown placeholder";
    SeededRandom random(1);
    const PlanReading reading = read_plan_text(text, TextFormat::kYaml, PlanContext{random, 1'767'000'000'000});
    for (const Problem& problem : reading.problems)
        ADD_FAILURE() << problem.line << ": " << problem.message;
    ASSERT_TRUE(reading.plan);
    EXPECT_EQ(reading.plan->name, GetParam());
    EXPECT_TRUE(reading.plan->external_dependencies.empty());

    const auto allowed = allowed_commands(kExamples / GetParam());
    for (const PlanTicket& entry : reading.plan->tickets) {
        EXPECT_EQ(entry.ticket.task_type, TaskType::kExecute) << entry.name;
        const auto command = Parameters(entry.ticket.parameters).command("command");
        ASSERT_TRUE(command && *command && !(*command)->empty()) << entry.name;
        EXPECT_NE(std::find(allowed.begin(), allowed.end(), (*command)->front()), allowed.end())
            << entry.name << " starts " << (*command)->front();
    }
}

INSTANTIATE_TEST_SUITE_P(All, Examples, testing::ValuesIn(example_folders()), [](const auto& info) {
    std::string name = info.param;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

TEST(ExampleFiles, StaySmall) {
    std::size_t files = 0;
    std::uintmax_t bytes = 0;
    for (const auto& entry : fs::recursive_directory_iterator(kExamples)) {
        if (!entry.is_regular_file()) continue;
        ++files;
        bytes += entry.file_size();
    }
    EXPECT_LE(files, kMaxFiles);
    EXPECT_LE(bytes, kMaxBytes);
}

}  // namespace
}  // namespace wa
