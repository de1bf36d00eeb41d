// The two file forms that settings are read from. Both readers are total and bounded; neither touches the disk.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/settings.h"

namespace wa::config {

struct FileEntry {
    std::string key;
    std::variant<std::string, std::vector<std::string>> value;
    std::string where;  // "config.yaml:3:1"
};
struct FileContent {
    std::vector<FileEntry> entries;
    std::vector<Problem> problems;
};

// A flat YAML mapping: key -> scalar, sequence of scalars, or nothing (= not set). Wrong shape, repeated keys and YAML
// errors are problems with line and column.
[[nodiscard]] FileContent read_yaml_settings(const NamedText& file);

// NAME=value lines; blank lines and lines that start with # are skipped, "export " in front and one pair of quotes
// around the value are taken off. A # inside a value is part of it.
[[nodiscard]] FileContent read_env_file(const NamedText& file);

}  // namespace wa::config
