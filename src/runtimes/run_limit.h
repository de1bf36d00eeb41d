// How long work in a container engine or a cluster may run: an attempt ends at its timeout (design.md, deadlines),
// whoever looks after it. Work that is adopted has run for a while; that time counts.
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"
#include "ports/executor.h"

namespace wa {

// What is known of work that an earlier attempt began.
struct EarlierRun {
    std::optional<EpochMillis> until;    // when that attempt had to end (work_labels::kDeadline)
    std::optional<EpochMillis> started;  // its process, by the back-end's clock
};

// What the label of a deadline says, and the back-end's text of when the process started; nothing of what is no time.
[[nodiscard]] EarlierRun earlier_run(std::string_view deadline_label, std::string_view started_at);

struct RunLimit {
    Duration total{};           // from the start of its process, for people
    Duration left{};            // from now on; not negative
    bool before_engine = true;  // it is over before the engine of tickets stops the attempt: a timer is needed
};

// `own` is the limit of the runtime's setting and the ticket's parameter, from the start of the process. `earlier` is
// absent for work that begins now. A start that lies ahead (clocks differ) counts as now.
[[nodiscard]] RunLimit run_limit(Duration own, const AttemptContext& context, const std::optional<EarlierRun>& earlier,
                                 const Clock& clock);

}  // namespace wa
