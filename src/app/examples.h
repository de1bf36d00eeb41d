// The plans that travel inside the binary (`dev --example NAME`). Their files stand in examples/ of the source tree.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace wa::app {

struct ExampleFile {
    std::string_view path;  // "project/src/words.c"
    std::string_view content;
    bool executable = false;
};
// All files of all examples, sorted by path.
[[nodiscard]] std::span<const ExampleFile> example_files();
[[nodiscard]] std::vector<std::string> example_names();

struct ExamplePlan {
    std::string name;
    std::string text;                           // of the plan, placeholders replaced
    std::vector<std::string> allowed_commands;  // that its tickets need; empty = the usual ones
};
// Writes the example's sources below `folder` (replacing what an earlier start left) and gives its plan.
// `${SOURCE_DIR}` and `${RUN_DIR}` in the plan become `folder` and `run_folder`. kNotFound names the examples there
// are.
[[nodiscard]] Result<ExamplePlan> unpack_example(std::string_view name, const std::string& folder,
                                                 const std::string& run_folder);
// The commands that an example brings leave for; no files are written.
[[nodiscard]] Result<std::vector<std::string>> example_commands(std::string_view name);

}  // namespace wa::app
