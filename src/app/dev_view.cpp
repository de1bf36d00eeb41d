#include "app/dev_view.h"

#include "cli/text.h"
#include "core/codec/result_json.h"

namespace wa::app {
namespace {

constexpr std::size_t kMaxNodes = 10'000;  // shown; further tickets are counted only

std::string seconds(std::int64_t ms) {
    return std::to_string(ms / 1000) + "." + std::to_string(ms % 1000 / 100) + "s";
}

}  // namespace

DevView::DevView(cli::Console& console, const Clock& clock, bool colours, bool redraws)
    : console_(console),
      clock_(clock),
      terminal_(console.out_is_terminal()),
      progress_(cli::ProgressOptions{redraws, colours, console.size().width, console.size().height}),
      started_(clock.now()) {}

void DevView::expect(const std::string& plan_name, const std::vector<Ticket>& tickets) {
    state_.title += (state_.title.empty() ? "" : ", ") + plan_name;
    for (const Ticket& ticket : tickets) {
        if (places_.contains(ticket.ticket_id) || state_.nodes.size() >= kMaxNodes) continue;
        places_.emplace(ticket.ticket_id, state_.nodes.size());
        cli::ProgressNode entry;
        entry.id = ticket.ticket_id;
        entry.name = ticket.task_id;
        entry.phase = "waiting";
        state_.nodes.push_back(std::move(entry));
    }
    dirty_ = true;
}

cli::ProgressNode& DevView::node(const TicketView& ticket) {
    const auto found = places_.find(ticket.ticket_id);
    if (found != places_.end()) return state_.nodes[found->second];
    if (state_.nodes.size() >= kMaxNodes) return overflow_;
    places_.emplace(std::string(ticket.ticket_id), state_.nodes.size());
    cli::ProgressNode entry;
    entry.id = std::string(ticket.ticket_id);
    entry.name = ticket.task_id.empty() ? entry.id : std::string(ticket.task_id);
    state_.nodes.push_back(std::move(entry));
    return state_.nodes.back();
}

void DevView::ticket_consumed(const TicketView& ticket) {
    node(ticket);
    dirty_ = true;
}

void DevView::ticket_moved(const TicketView& ticket, State /*from*/, Event /*event*/, State to,
                           std::string_view reason) {
    if (ticket.ticket_id.empty() || to == State::kSettled || to == State::kReporting) return;
    cli::ProgressNode& entry = node(ticket);
    entry.phase = std::string(phase(to));
    entry.tries = ticket.attempt;
    entry.why = to == State::kBackingOff ? std::string(reason) : std::string();
    dirty_ = true;
}

void DevView::ticket_settled(const TicketView& ticket, const Settlement& settlement) {
    if (settlement.kind != SettlementKind::kResult) return;
    const bool success = is_success(settlement.outcome);
    const bool simulated = settlement.result.metadata.contains("simulated");
    ++(success ? completed_ : failed_);
    if (simulated) ++simulated_;
    cli::ProgressNode& entry = node(ticket);
    entry.phase = !success ? "failed" : (simulated ? "simulated" : "completed");
    entry.run_ms = settlement.result.actual_duration_ms;
    entry.tries = ticket.attempt;
    entry.why = success ? std::string() : settlement.result.error_message;
    dirty_ = true;
    if (!terminal_) return console_.out(write_result(settlement.result) + "\n");
    std::string line =
        (success ? "✔ " : "✖ ") + cli::printable(entry.name) + "  " + entry.phase + "  " + seconds(entry.run_ms);
    const auto runtime = settlement.result.metadata.find("runtime");
    if (runtime != settlement.result.metadata.end()) line += "  " + cli::printable(runtime->second);
    const auto code = settlement.result.output.find("exit_code");
    if (code != settlement.result.output.end()) line += "  exit " + cli::printable(code->second);
    if (!success) line += "\n    " + cli::printable(settlement.result.error_message);
    results_.push_back(std::move(line));
}

void DevView::refresh() {
    const bool moving = terminal_ && completed_ + failed_ < state_.nodes.size();
    if (!dirty_ && !moving) return;
    dirty_ = false;
    state_.elapsed_ms = to_millis(clock_.now() - started_);
    const std::string text = progress_.update(state_);
    if (!text.empty()) console_.err(text);
}

void DevView::note(const std::string& line) {
    console_.err(progress_.erase() + line + "\n");
    dirty_ = true;
}

void DevView::finish() {
    dirty_ = true;
    refresh();
    progress_.release();
    for (const std::string& line : results_)
        console_.out(line + "\n");
    results_.clear();
    console_.err(std::to_string(completed_) + " completed, " + std::to_string(failed_) + " failed" +
                 (simulated_ > 0 ? ", " + std::to_string(simulated_) + " simulated" : std::string()) + " in " +
                 seconds(to_millis(clock_.now() - started_)) + "\n");
}

}  // namespace wa::app
