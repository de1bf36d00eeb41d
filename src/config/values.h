// Text of one setting -> typed value. Pure and total; errors say what was expected and never repeat the text (it may be
// a secret): the caller adds the name and, where it is safe, the text.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/settings.h"

namespace wa::config {

std::string_view trim(std::string_view text);  // blanks, tabs, line ends
bool equal_ignoring_case(std::string_view left, std::string_view right);

Result<bool> parse_bool(std::string_view text);         // true/false 1/0 yes/no on/off t/f y/n
Result<std::int64_t> parse_int(std::string_view text);  // "5", " 5 ", "5.0"; not "5.5"
Result<double> parse_float(std::string_view text);      // finite
Result<double> parse_ratio(std::string_view text);      // "0.8", "80%"
Result<std::chrono::milliseconds> parse_duration(std::string_view text, Unit bare);  // "10m", "1h30m", "250ms", "30"
Result<std::int64_t> parse_size(std::string_view text);                              // "512MiB", "512m", "1GB", "1024"
// "[" starts a JSON array of strings; everything else is split at commas, with blanks trimmed and empty entries
// dropped.
Result<std::vector<std::string>> parse_list(std::string_view text);
// An absolute URL with a host (or unix:// with a path). Gives the text back, without blanks around it.
Result<std::string> parse_url(std::string_view text);

// The whole of it: parses by type and checks choices and range.
Result<Value> parse_value(const SettingSpec& spec, std::string_view text);
// The same for a list that is a list already (YAML sequence).
Result<Value> parse_items(const SettingSpec& spec, std::vector<std::string> items);

std::string duration_text(std::chrono::milliseconds value);  // "10m", "1h30m", "250ms", "0s"
std::string size_text(std::int64_t bytes);                   // "512MiB", "1000B"
std::string number_text(double value);                       // shortest form that reads back the same
// The URL with a password, or a user name that stands alone, replaced by ***.
std::string mask_url(std::string_view url);

struct Host {
    std::string name;    // lower case, without brackets
    std::string scheme;  // lower case
};
// Empty name when it cannot be told.
Host url_host(std::string_view url);
// Rule P1: loopback, single-label names, *.svc, *.cluster.local, <name>.<namespace> of the list.
bool is_internal_host(std::string_view host, const std::vector<std::string>& namespaces);

}  // namespace wa::config
