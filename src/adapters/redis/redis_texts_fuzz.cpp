// Any text as REDIS_URL, and as a value that somebody else left in Redis.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "adapters/redis/lease_value.h"
#include "adapters/redis/redis_address.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string text =
        ((data[0] & 1U) != 0 ? "redis://" : "") + std::string(reinterpret_cast<const char*>(data + 1), size - 1);
    if (const auto address = wa::parse_redis_url(text)) {
        WA_CHECK(address->port != 0 && address->database >= 0, "usable");
        WA_CHECK(address->unix_socket.empty() ? !address->host.empty() : address->unix_socket.front() == '/',
                 "a place");
    }
    const wa::LeaseNote note = wa::redis::read_note(text);
    const wa::LeaseNote again = wa::redis::read_note(wa::redis::write_note(note));
    WA_CHECK(again == note, "what is read can be written");
    return 0;
}
