#include "app/container_parts.h"

namespace wa::app {

KeeperOptions keeper_options(const RuntimeSurroundings& around, const std::string& runtime, bool remove_ended) {
    KeeperOptions keeper;
    const std::string instance = around.platform.instance();
    const std::string pool = around.platform.pool();
    keeper.worker = instance.empty() ? around.own_id : instance;
    keeper.domain = pool.empty() ? around.own_id : pool;
    keeper.notes_folder = around.state_path + "/" + runtime;
    keeper.remove_ended = remove_ended;
    keeper.unknown_is_gone = pool.empty();
    keeper.standing = [in_hand = around.in_hand, &platform = around.platform](std::string_view ticket_id) {
        if (in_hand(ticket_id)) return TicketStanding::kOpen;
        switch (platform.standing(ticket_id)) {
            case DependencyState::kUnknown: return TicketStanding::kUnknown;
            case DependencyState::kOpen: return TicketStanding::kOpen;
            case DependencyState::kCompleted:
            case DependencyState::kFailed: break;
        }
        return TicketStanding::kEnded;
    };
    keeper.on_swept = [&metrics = around.metrics, &log = around.log, runtime](std::size_t count) {
        metrics.orphans_removed(runtime, count);
        log.warning("orphans_removed", {{"runtime", runtime}, {"count", count}});
    };
    keeper.on_problem = [&log = around.log, runtime](const std::string& problem) {
        log.warning(runtime + "_cleanup_failed", {{"error", problem}});
    };
    return keeper;
}

}  // namespace wa::app
