#include "app/api_binding.h"

namespace wa::app {

Routers bind_api(const ApiParts& /*parts*/) {
    return {};
}

}  // namespace wa::app
