// What a person sees while `dev --exit` (or a first `--example`) runs: a live view on a terminal, one line a change
// elsewhere; each result once it is committed.
//
// Threading: the engine's loop.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "cli/console.h"
#include "cli/progress.h"
#include "core/plan/plan.h"
#include "ports/flow_observer.h"

namespace wa::app {

class DevView final : public FlowObserver {
public:
    // `redraws`: standard error is a terminal on which a frame can be drawn over the last one.
    DevView(cli::Console& console, const Clock& clock, bool colours, bool redraws);

    // The tickets of a plan that was just submitted, in the order to show.
    void expect(const std::string& plan_name, const std::vector<Ticket>& tickets);
    // Shows what has changed; called a few times a second.
    void refresh();
    // One line for people; the frame is drawn anew below it.
    void note(const std::string& line);
    // The last frame stays, results and the summary follow it.
    void finish();

    [[nodiscard]] std::size_t completed() const { return completed_; }
    [[nodiscard]] std::size_t failed() const { return failed_; }
    [[nodiscard]] std::size_t simulated() const { return simulated_; }

    void ticket_consumed(const TicketView& ticket) override;
    void ticket_moved(const TicketView& ticket, State from, Event event, State to, std::string_view reason) override;
    void ticket_settled(const TicketView& ticket, const Settlement& settlement) override;

private:
    cli::ProgressNode& node(const TicketView& ticket);

    cli::Console& console_;
    const Clock& clock_;
    bool terminal_;
    cli::Progress progress_;
    cli::ProgressState state_;
    std::map<std::string, std::size_t, std::less<>> places_;  // ticket id -> index in state_.nodes
    std::vector<std::string> results_;                        // terminal: printed at the end
    cli::ProgressNode overflow_;                              // of tickets beyond the ones shown
    MonoTime started_;
    bool dirty_ = false;
    std::size_t completed_ = 0;
    std::size_t failed_ = 0;
    std::size_t simulated_ = 0;
};

}  // namespace wa::app
