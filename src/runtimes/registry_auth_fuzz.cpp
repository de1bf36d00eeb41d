// Whatever stands in DOCKER_AUTH_CONFIG, what goes into a header can stand in one.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "runtimes/registry_auth.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto auth = wa::RegistryAuth::parse(text);
    if (!auth) {
        WA_CHECK(auth.error().message.size() < 300, "an error quotes nothing long");
        return 0;
    }
    for (const std::string_view registry : {"docker.io", "r", "localhost:5000"}) {
        const std::string header = auth->header_for(registry);
        WA_CHECK(header.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=") ==
                     std::string::npos,
                 "Base64 for URLs");
    }
    return 0;
}
