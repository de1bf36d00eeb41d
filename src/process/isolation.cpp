#include "process/isolation.h"

#include <array>
#include <utility>

#include "protocol.h"

namespace wa {
namespace {

using LevelName = std::pair<IsolationLevel, std::string_view>;
constexpr std::array<LevelName, 5> kLevelNames{
    LevelName{IsolationLevel::kNone, "none"}, LevelName{IsolationLevel::kProcessGroup, "process-group"},
    LevelName{IsolationLevel::kFiltered, "filtered"}, LevelName{IsolationLevel::kNamespaces, "namespaces"},
    LevelName{IsolationLevel::kFull, "full"}};

using LayerName = std::pair<Layers, std::string_view>;
constexpr std::array<LayerName, 15> kLayerNames{LayerName{helper::kLayerUser, "user-namespace"},
                                                LayerName{helper::kLayerPid, "pid-namespace"},
                                                LayerName{helper::kLayerMount, "own-root"},
                                                LayerName{helper::kLayerIpc, "ipc-namespace"},
                                                LayerName{helper::kLayerUts, "uts-namespace"},
                                                LayerName{helper::kLayerCgroupNs, "cgroup-namespace"},
                                                LayerName{helper::kLayerNetwork, "network-namespace"},
                                                LayerName{helper::kLayerOwnUid, "own-uid"},
                                                LayerName{helper::kLayerCapabilities, "no-capabilities"},
                                                LayerName{helper::kLayerSeccomp, "seccomp"},
                                                LayerName{helper::kLayerNoSockets, "local-sockets-only"},
                                                LayerName{helper::kLayerLandlock, "landlock"},
                                                LayerName{helper::kLayerMemory, "memory-limit"},
                                                LayerName{helper::kLayerProcesses, "process-limit"},
                                                LayerName{helper::kLayerCpu, "cpu-limit"}};

constexpr Layers kFilteredLayers = helper::kLayerCapabilities | helper::kLayerSeccomp;

}  // namespace

std::string_view to_string(IsolationLevel level) {
    for (const auto& [value, name] : kLevelNames) {
        if (value == level) return name;
    }
    return "none";
}

std::optional<IsolationLevel> parse_isolation_level(std::string_view word) {
    for (const auto& [value, name] : kLevelNames) {
        if (name == word) return value;
    }
    return std::nullopt;
}

Layers layers_of(IsolationLevel level) {
    switch (level) {
        case IsolationLevel::kNone:
        case IsolationLevel::kProcessGroup: return 0;
        case IsolationLevel::kFiltered: return kFilteredLayers;
        case IsolationLevel::kNamespaces: return kFilteredLayers | helper::kNamespaceLayers;
        case IsolationLevel::kFull: break;
    }
    return kFilteredLayers | helper::kNamespaceLayers | helper::kLayerLandlock | helper::kLayerMemory |
           helper::kLayerProcesses;
}

IsolationLevel level_of(Layers layers) {
    for (const IsolationLevel level : {IsolationLevel::kFull, IsolationLevel::kNamespaces, IsolationLevel::kFiltered}) {
        if ((layers & layers_of(level)) == layers_of(level)) return level;
    }
    return IsolationLevel::kProcessGroup;
}

Layers all_layers() {
    return layers_of(IsolationLevel::kFull) | helper::kLayerNetwork | helper::kLayerOwnUid | helper::kLayerCpu;
}

std::vector<std::string> layer_names(Layers layers) {
    std::vector<std::string> names;
    for (const auto& [layer, name] : kLayerNames) {
        if ((layers & layer) != 0) names.emplace_back(name);
    }
    return names;
}

}  // namespace wa
