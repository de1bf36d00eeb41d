// The dead letters of the embedded store behind the port.
#pragma once

#include <string>

#include "adapters/embedded_store/store.h"
#include "ports/dead_letters.h"

namespace wa {

// Reads are answered before the call returns; writes on the store's writer thread. The store outlives this.
class EmbeddedDeadLetters final : public DeadLetters {
public:
    explicit EmbeddedDeadLetters(EmbeddedStore& store) : store_(store) {}
    void list(std::size_t offset, std::size_t limit, Answer<DeadLetterList> answer) override;
    void show(std::string key, Answer<DeadLetterEntry> answer) override;
    void replay(std::string key, std::string actor, Answer<std::string> answer) override;
    void discard(std::string key, std::string reason, std::string actor, Answer<void> answer) override;

private:
    EmbeddedStore& store_;
};

}  // namespace wa
