#include "runtimes/image_name.h"

#include <algorithm>

#include "core/codec/text.h"

namespace wa {
namespace {

constexpr std::size_t kMaxBytes = 512;
constexpr std::size_t kMaxTag = 128;
constexpr std::string_view kLower = "abcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view kUpper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

bool only(std::string_view text, std::string_view set, std::string_view more) {
    return std::ranges::all_of(
        text, [&](char c) { return set.find(c) != std::string_view::npos || more.find(c) != std::string_view::npos; });
}

// Lower case with single separators inside.
bool is_component(std::string_view text) {
    const auto plain = [](char c) { return kLower.find(c) != std::string_view::npos; };
    return !text.empty() && only(text, kLower, "._-") && plain(text.front()) && plain(text.back());
}

bool is_registry(std::string_view text) {
    const std::size_t colon = text.find(':');
    const std::string_view host = text.substr(0, colon);
    if (colon != std::string_view::npos) {
        const std::string_view port = text.substr(colon + 1);
        if (port.empty() || port.size() > 5 || !only(port, "0123456789", "")) return false;
    }
    return !host.empty() && host.front() != '-' && host.front() != '.' && std::ranges::all_of(host, [](char c) {
        return kLower.find(c) != std::string_view::npos || kUpper.find(c) != std::string_view::npos || c == '.' ||
               c == '-';
    });
}

bool is_tag(std::string_view text) {
    return !text.empty() && text.size() <= kMaxTag && text.front() != '.' && text.front() != '-' &&
           std::ranges::all_of(text, [](char c) {
               return kLower.find(c) != std::string_view::npos || kUpper.find(c) != std::string_view::npos ||
                      c == '.' || c == '-' || c == '_';
           });
}

bool is_digest(std::string_view text) {
    constexpr std::string_view kAlgorithm = "sha256:";
    constexpr std::size_t kHex = 64;
    return text.starts_with(kAlgorithm) && text.size() == kAlgorithm.size() + kHex &&
           only(text.substr(kAlgorithm.size()), "0123456789abcdef", "");
}

Failure refuse(std::string_view text, std::string_view why) {
    Error error = make_error(ErrorCode::kInvalidArgument, Retry::kNever, Fault::kInput, "image",
                             "'" + clip(text, 200) + "' is no name of an image: " + std::string(why));
    error.field = "parameters.image";
    return Failure(std::move(error));
}

}  // namespace

Result<ImageName> parse_image_name(std::string_view text) {
    if (text.empty() || text.size() > kMaxBytes) return refuse(text, "it has 1 to 512 characters");
    ImageName name;
    name.text = text;
    std::string_view rest = text;
    if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
        name.digest = rest.substr(at + 1);
        if (!is_digest(name.digest)) return refuse(text, "after '@' there is sha256: and 64 hexadecimal digits");
        rest = rest.substr(0, at);
    }
    const std::size_t last_slash = rest.rfind('/');
    const std::size_t colon = rest.find(':', last_slash == std::string_view::npos ? 0 : last_slash);
    if (colon != std::string_view::npos) {
        name.tag = rest.substr(colon + 1);
        if (!is_tag(name.tag)) return refuse(text, "its tag has letters, digits, '.', '-' and '_', at most 128");
        rest = rest.substr(0, colon);
    } else if (name.digest.empty()) {
        name.tag = "latest";
    }
    name.repository = rest;
    name.registry = "docker.io";
    const std::size_t slash = rest.find('/');
    const std::string_view first = rest.substr(0, slash);
    const bool has_registry = slash != std::string_view::npos &&
                              (first.find_first_of(".:") != std::string_view::npos || first == "localhost");
    if (has_registry) {
        if (!is_registry(first)) return refuse(text, "its registry is a host name, perhaps with a port");
        name.registry = first;
        rest.remove_prefix(slash + 1);
    }
    while (true) {
        const std::size_t end = rest.find('/');
        if (!is_component(rest.substr(0, end)))
            return refuse(text, "its parts have lower-case letters and digits, with '.', '-' and '_' between them");
        if (end == std::string_view::npos) return name;
        rest.remove_prefix(end + 1);
    }
}

}  // namespace wa
