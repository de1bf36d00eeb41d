#include "core/plan/cycles.h"

#include <algorithm>

namespace wa {
namespace {

enum class Colour : std::uint8_t { kWhite, kOnPath, kDone };

class CycleFinder {
public:
    CycleFinder(const std::vector<std::vector<std::uint32_t>>& needs, std::size_t max_cycles)
        : needs_(needs),
          max_cycles_(max_cycles),
          colours_(needs.size(), Colour::kWhite),
          reported_(needs.size(), false) {}

    std::vector<std::vector<std::uint32_t>> run() {
        for (std::uint32_t root = 0; root < needs_.size() && cycles_.size() < max_cycles_; ++root) {
            if (colours_[root] == Colour::kWhite) search(root);
        }
        return std::move(cycles_);
    }

private:
    struct Step {
        std::uint32_t node;
        std::size_t next;
    };

    void enter(std::uint32_t node) {
        colours_[node] = Colour::kOnPath;
        path_.push_back({node, 0});
    }

    void search(std::uint32_t root) {
        enter(root);
        while (!path_.empty()) {
            Step& step = path_.back();
            if (step.next == needs_[step.node].size()) {
                colours_[step.node] = Colour::kDone;
                path_.pop_back();
                continue;
            }
            const std::uint32_t target = needs_[step.node][step.next++];
            if (colours_[target] == Colour::kWhite) {
                enter(target);
            } else if (colours_[target] == Colour::kOnPath) {
                report(target);
            }
        }
    }

    // The cycle is the end of the path, from `first` on. Walking it is paid for by marking its nodes: once per node.
    void report(std::uint32_t first) {
        if (cycles_.size() >= max_cycles_ || reported_[first] || reported_[path_.back().node]) return;
        std::vector<std::uint32_t> cycle;
        for (auto step = path_.rbegin(); step != path_.rend(); ++step) {
            if (reported_[step->node]) return;
            cycle.push_back(step->node);
            if (step->node == first) break;
        }
        std::ranges::reverse(cycle);
        std::ranges::rotate(cycle, std::ranges::min_element(cycle));
        for (const std::uint32_t node : cycle)
            reported_[node] = true;
        cycles_.push_back(std::move(cycle));
    }

    const std::vector<std::vector<std::uint32_t>>& needs_;
    std::size_t max_cycles_;
    std::vector<Colour> colours_;
    std::vector<bool> reported_;
    std::vector<Step> path_;
    std::vector<std::vector<std::uint32_t>> cycles_;
};

}  // namespace

std::vector<std::vector<std::uint32_t>> find_cycles(const std::vector<std::vector<std::uint32_t>>& needs,
                                                    std::size_t max_cycles) {
    return CycleFinder(needs, max_cycles).run();
}

}  // namespace wa
