// Which of the workers of one group on this machine this is: a small number that is free again when the process ends,
// however it ends. It makes names stable over restarts (cluster-rule 7) without a setting.
#pragma once

#include <string_view>

#include "base/error.h"
#include "process/fd.h"

namespace wa::app {

class InstanceSlot {
public:
    // The lowest number that no other worker of this group holds here. kLimitExceeded beyond 1,000 workers.
    static Result<InstanceSlot> take(std::string_view group);
    [[nodiscard]] int number() const { return number_; }

private:
    InstanceSlot(int number, Fd hold) : number_(number), hold_(std::move(hold)) {}
    int number_ = 0;
    Fd hold_;
};

// The name of this machine, "localhost" when it has none.
[[nodiscard]] std::string host_name();

}  // namespace wa::app
