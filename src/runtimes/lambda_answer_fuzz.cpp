// Whatever Lambda, a function or AWS's token service answers: nothing but a value or an error.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "core/codec/text.h"
#include "runtimes/aws_credentials.h"
#include "runtimes/lambda_answer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto answer = wa::lambda::read_answer(text);
    if (answer.exit_code && answer.bad_exit_code) std::abort();
    const auto tail = wa::lambda::read_log_tail(text);
    for (const auto& line : tail.lines) {
        if (!wa::is_utf8(line)) std::abort();
    }
    static_cast<void>(wa::lambda::read_log_tail(wa::base64(text)));
    wa::http::Response response;
    response.status = 400 + static_cast<int>(size % 200);
    response.body = std::string(text);
    static_cast<void>(wa::lambda::read_refusal(response));
    if (const auto keys = wa::aws::read_sts_answer(text); keys && keys->secret_key.find('\n') != std::string::npos)
        std::abort();
    return 0;
}
