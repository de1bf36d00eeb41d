// What every client command has at hand: console, options, the server, and the house rules for answers and errors.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/random.h"
#include "cli/api_client.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/json_view.h"
#include "cli/table.h"
#include "cli/ticket_view.h"

namespace wa::cli {

// Filled in by the build.
struct BuildInfo {
    std::string version = "0.0.0";
    std::string commit = {};      // empty = unknown
    std::string build_date = {};  // RFC 3339; empty = unknown
    std::string build_type = {};
    // Further lines of `version`: {"sqlite", "3.40.1"}.
    std::vector<std::pair<std::string, std::string>> libraries = {};
};

class Session {
public:
    Session(GlobalOptions global, config::Environment environment, Console& console, const Clock& clock, Random& random,
            BuildInfo build);

    [[nodiscard]] const GlobalOptions& global() const { return global_; }
    [[nodiscard]] const config::Environment& environment() const { return environment_; }
    [[nodiscard]] const BuildInfo& build() const { return build_; }
    [[nodiscard]] Console& console() { return console_; }
    [[nodiscard]] const Clock& clock() const { return clock_; }
    [[nodiscard]] Random& random() { return random_; }

    // Finds the server at the first call.
    [[nodiscard]] Result<ApiClient*> api();
    // Makes Ctrl-C something that requests and waits notice, from now on. The first call ends the life of what api()
    // gave.
    InterruptWatch& watch_interrupts();

    [[nodiscard]] bool machine_output() const;  // json, jsonl, yaml
    [[nodiscard]] bool colours_out() const;
    [[nodiscard]] bool colours_err() const;
    [[nodiscard]] TimeStyle times() const;
    [[nodiscard]] TableOptions table_options() const;

    void hint(std::string_view text);  // to stderr, unless --quiet
    // Prints three parts: what failed, why, what to do. Gives the exit code.
    int failed(std::string_view what, const Error& error);

    // A list answer in the format that was asked for. `items` is the name of its list, `id` of the member that names an
    // item.
    Result<void> print_list(const ApiAnswer& answer, std::string_view items, std::string_view id,
                            Table (*table)(const json::object&, const TimeStyle&));
    // True when the answer was printed: json (byte for byte), jsonl, yaml.
    Result<bool> print_machine(const ApiAnswer& answer, std::string_view items = {});

    // Asks on a terminal; elsewhere --yes is needed. kNotAllowed with a fix when there is nobody to ask.
    Result<bool> confirm(std::string_view question);

private:
    GlobalOptions global_;
    config::Environment environment_;
    Console& console_;
    const Clock& clock_;
    Random& random_;
    BuildInfo build_;
    std::unique_ptr<InterruptWatch> interrupts_;
    std::unique_ptr<ApiClient> api_;
};

// Answers of the API as JSON objects; kMalformed when the server sent something else.
[[nodiscard]] Result<json::value> body_json(const ApiAnswer& answer);
[[nodiscard]] Result<json::object> body_object(const ApiAnswer& answer);

// Full id for what a person typed: a full id, its first characters (4 or more, unique), @latest, @failed.
// kNotFound for unknown and for ambiguous (the message lists the matches); kInvalidArgument with field "ID" when too
// short.
[[nodiscard]] Result<std::string> resolve_ticket(ApiClient& api, std::string_view text);
[[nodiscard]] Result<std::string> resolve_plan(ApiClient& api, std::string_view text);

}  // namespace wa::cli
