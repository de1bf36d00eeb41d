// Settings for people and editors: `config show`, `config init`, `config schema`, and GET /api/v1/config. No function
// here ever gives a secret away.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "config/settings.h"

namespace wa::config {

// The value as people read it: "30s", "512MiB", "a, b", "true"; "" when unset. Secrets: "***(from ARGOCD_TOKEN_FILE)".
[[nodiscard]] std::string shown_value(const Setting& setting);
// The default in the same form; of `dev` where that differs.
[[nodiscard]] std::string shown_default(const SettingSpec& spec, Mode mode = Mode::kRun);
// Its value is what it would be if nobody had said anything.
[[nodiscard]] bool is_default(const Setting& setting);

struct ShowOptions {
    bool origin = false;         // one more column
    bool diff_defaults = false;  // only what differs from the defaults
};
// Rows of NAME, VALUE, (ORIGIN,) NOTE; NOTE says "not built: Kafka", "no effect".
[[nodiscard]] std::vector<std::vector<std::string>> show_rows(const Settings& settings, const ShowOptions& options);
// {"settings": [{name, key, value, origin, default, type, secret, built, part, reloadable}]}
[[nodiscard]] boost::json::object show_json(const Settings& settings, const ShowOptions& options);

// A commented YAML file with the settings that most people touch; every line is commented out.
[[nodiscard]] std::string starter_file();
// JSON Schema (2020-12) of the configuration file.
[[nodiscard]] boost::json::object file_schema();

}  // namespace wa::config
