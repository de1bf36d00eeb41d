// What is taken for the name of an image can stand in a URL and a header, and its parts make the whole again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "runtimes/image_name.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto name = wa::parse_image_name(text);
    if (!name) return 0;
    WA_CHECK(name->text.find_first_of(" \t\r\n?#&%\"'\\") == std::string::npos, "nothing in it needs a quote");
    std::string again = name->repository;
    if (text.substr(again.size()).starts_with(':')) again += ":" + name->tag;
    if (!name->digest.empty()) again += "@" + name->digest;
    WA_CHECK(again == text, "the parts make the whole");
    WA_CHECK(!name->version().empty(), "it names a version");
    return 0;
}
