// The Kubernetes runtime's options from the settings, and what it tells the rest of the worker.
#pragma once

#include <string>

#include "app/container_parts.h"
#include "http_client/service_caller.h"
#include "runtimes/kubernetes.h"

namespace wa::app {

// Never fails: what cannot be used is in `misconfigured`, and shown where runtimes are shown. `listener` is told of
// calls, and must outlive the runtime.
[[nodiscard]] KubernetesOptions kubernetes_options(const ContainerSurroundings& around,
                                                   http::ServiceListener& listener);

// What to do about a Kubernetes runtime that cannot be used, or may not do all that it needs; for doctor.
[[nodiscard]] std::string kubernetes_fix(const config::Settings& settings, const KubernetesRuntime& runtime);

}  // namespace wa::app
