#include "cli/client.h"

#include <type_traits>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/text.h"
#include "config/environment.h"
#include "core/plan/plan.h"

namespace wa::cli {

int run_client(const Invocation& invocation, const ClientContext& context) {
    Session session(invocation.global, context.environment, context.console, context.clock, context.random,
                    context.build);
    return std::visit(
        [&session](const auto& command) -> int {
            using T = std::decay_t<decltype(command)>;
            if constexpr (std::is_same_v<T, DevCommand> || std::is_same_v<T, RunCommand>) {
                WA_CHECK(false, "dev and run belong to the application");
                return kExitOther;
            } else {
                return run(session, command);
            }
        },
        invocation.command);
}

Result<std::string> read_input(Session& session, const std::string& file) {
    constexpr std::size_t kLimit = kMaxPlanBytes + 1;  // one more, so that the checker says what the limit is
    if (file == "-") return session.console().read_all(kLimit);
    return config::read_small_file(file, kLimit);
}

void print_raw(Session& session, std::string_view text) {
    session.console().out(session.console().out_is_terminal() ? printable_block(text) : std::string(text));
}

Result<void> copy_stream(Session& session, ApiStream& stream) {
    while (true) {
        WA_TRY(const ApiStream::Piece piece, stream.read(std::chrono::seconds(60)));
        print_raw(session, piece.bytes);
        if (piece.ended) return {};
    }
}

}  // namespace wa::cli
