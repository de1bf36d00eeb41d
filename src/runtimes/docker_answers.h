// What the Engine API answers, read as what it is: text from outside. Unknown members are ignored, ids that are none
// are refused, texts are clipped. Pure.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/ticket/result.h"

namespace wa::docker {

// "1.41"
struct ApiVersion {
    int major = 0;
    int minor = 0;

    [[nodiscard]] std::string text() const { return std::to_string(major) + "." + std::to_string(minor); }
    friend auto operator<=>(const ApiVersion&, const ApiVersion&) = default;
};
[[nodiscard]] std::optional<ApiVersion> parse_api_version(std::string_view text);

struct EngineVersion {
    std::string version;   // of the engine: "20.10.24"
    std::string platform;  // "linux/amd64"
    ApiVersion newest;
    std::optional<ApiVersion> oldest;
};

enum class ContainerState : std::uint8_t {
    kCreated,  // never started
    kRunning,  // or paused, or restarting: not ended
    kEnded,    // exited, dead, or being removed after its end
};

struct ContainerSummary {
    std::string id;    // 64 hexadecimal digits
    std::string name;  // without the slash
    StringMap labels;
    ContainerState state = ContainerState::kCreated;
    std::int64_t created = 0;  // seconds since 1970
};

struct ContainerDetail {
    std::string id;
    std::string name;
    std::string image_id;
    StringMap labels;
    ContainerState state = ContainerState::kCreated;
    int exit_code = 0;
    bool out_of_memory = false;
    std::string error;  // the engine's words about why it did not run
    std::string started_at;
    std::string finished_at;
};

struct CreatedContainer {
    std::string id;
    std::vector<std::string> warnings;
};

// What an ended container's wait says.
struct WaitAnswer {
    int exit_code = 0;
    std::string error;
};

inline constexpr std::size_t kMaxContainers = 10'000;  // of one list

// kMalformed, or kLimitExceeded.
[[nodiscard]] Result<EngineVersion> parse_version(std::string_view body);
[[nodiscard]] Result<std::vector<ContainerSummary>> parse_list(std::string_view body);
[[nodiscard]] Result<ContainerDetail> parse_inspect(std::string_view body);
[[nodiscard]] Result<CreatedContainer> parse_created(std::string_view body);
[[nodiscard]] Result<WaitAnswer> parse_wait(std::string_view body);
// What the engine says in an answer that is a refusal; never empty.
[[nodiscard]] std::string refusal_text(std::string_view body);
// Why an image registry refuses: kNotAllowed (a login is missing, wrong or not enough) or kNotFound; nothing when it
// does not, or may do otherwise later. Engines hand its words on, and answer 500 whatever it said (error codes: OCI
// distribution specification 1.1, "Error Codes").
[[nodiscard]] std::optional<ErrorCode> registry_refusal(std::string_view text);

}  // namespace wa::docker
