#include "app/examples.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/codec/suggest.h"

namespace wa::app {
namespace {

const ExampleFile* find_file(const std::string& path) {
    for (const ExampleFile& file : example_files()) {
        if (file.path == path) return &file;
    }
    return nullptr;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
        text.replace(at, from.size(), to);
}

Failure unknown(std::string_view name) {
    const std::vector<std::string> names = example_names();
    std::string known;
    for (const std::string& each : names)
        known += (known.empty() ? "" : ", ") + each;
    Error error = make_error(ErrorCode::kNotFound, Retry::kNever, Fault::kInput, "examples",
                             "there is no example \"" + std::string(name) + "\" (there are: " + known + ")");
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    if (const std::string_view near = closest(name, candidates); !near.empty())
        error.fix = "did you mean " + std::string(near) + "?";
    return Failure(std::move(error));
}

Result<void> write_file(const std::filesystem::path& root, std::string_view name, const ExampleFile& file) {
    const std::filesystem::path path = root / name;
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(file.content.data(), static_cast<std::streamsize>(file.content.size()));
    out.close();
    if (error || !out) return fail(ErrorCode::kUnavailable, "examples", "cannot write " + path.string());
    // Tasks may have a user id of their own; the state folder above keeps everybody else out.
    using std::filesystem::perms;
    constexpr auto kReadable = perms::owner_read | perms::owner_write | perms::group_read | perms::others_read;
    constexpr auto kProgram = perms::owner_exec | perms::group_exec | perms::others_exec;
    std::filesystem::permissions(path, file.executable ? kReadable | kProgram : kReadable, error);
    for (auto folder = path.parent_path();; folder = folder.parent_path()) {
        std::filesystem::permissions(folder, kReadable | kProgram, error);
        if (folder == root) break;
    }
    return {};
}

}  // namespace

std::vector<std::string> example_names() {
    std::vector<std::string> names;
    for (const ExampleFile& file : example_files()) {
        const std::size_t slash = file.path.find('/');
        if (slash == std::string_view::npos || file.path.substr(slash) != "/plan.yaml") continue;
        names.emplace_back(file.path.substr(0, slash));
    }
    return names;
}

Result<std::vector<std::string>> example_commands(std::string_view name) {
    if (find_file(std::string(name) + "/plan.yaml") == nullptr) return unknown(name);
    std::vector<std::string> commands;
    const ExampleFile* allowed = find_file(std::string(name) + "/allow.txt");
    if (allowed == nullptr) return commands;
    std::string_view rest = allowed->content;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        if (end > 0 && rest.front() != '#') commands.emplace_back(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return commands;
}

Result<ExamplePlan> unpack_example(std::string_view name, const std::string& folder, const std::string& run_folder) {
    const std::string prefix = std::string(name) + "/";
    const ExampleFile* plan = find_file(prefix + "plan.yaml");
    if (plan == nullptr) return unknown(name);
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    for (const ExampleFile& file : example_files()) {
        if (!file.path.starts_with(prefix)) continue;
        WA_CHECKED(write_file(folder, file.path.substr(prefix.size()), file));
    }
    ExamplePlan result;
    result.name = std::string(name);
    result.text = std::string(plan->content);
    replace_all(result.text, "${SOURCE_DIR}", folder);
    replace_all(result.text, "${RUN_DIR}", run_folder);
    WA_TRY(result.allowed_commands, example_commands(name));
    return result;
}

}  // namespace wa::app
