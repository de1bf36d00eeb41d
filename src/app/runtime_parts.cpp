#include "app/runtime_parts.h"

#include <utility>

#include "app/code_forge_parts.h"
#include "app/docker_parts.h"
#include "app/kubernetes_parts.h"
#include "app/lambda_parts.h"

namespace wa::app {

std::vector<MakeRuntime> built_in_runtimes() {
    return {make_docker, make_kubernetes, make_lambda, make_code_forge};
}

RuntimeState state_of(const Runtime& runtime, std::string place, std::string fix, bool wanted) {
    Availability now = runtime.availability();
    RuntimeState state{std::string(runtime.name()), now.available, {}, {}, wanted};
    state.detail = now.available ? std::move(place) : std::move(now.detail);
    if (!now.available) state.fix = std::move(fix);
    return state;
}

}  // namespace wa::app
