#include "app/tracing.h"

#include <utility>
#include <vector>

#include "app/build_info.h"

namespace wa::app {
namespace {

// "a=1,b=2": the form of OTEL_RESOURCE_ATTRIBUTES and OTEL_EXPORTER_OTLP_HEADERS. What has no "=" is left out.
std::vector<std::pair<std::string, std::string>> pairs_of(std::string_view text) {
    std::vector<std::pair<std::string, std::string>> pairs;
    const auto trimmed = [](std::string_view part) {
        const auto first = part.find_first_not_of(' ');
        if (first == std::string_view::npos) return std::string();
        return std::string(part.substr(first, part.find_last_not_of(' ') - first + 1));
    };
    while (!text.empty()) {
        const auto comma = text.find(',');
        const std::string_view entry = text.substr(0, comma);
        text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
        const auto equals = entry.find('=');
        if (equals == std::string_view::npos) continue;
        std::string name = trimmed(entry.substr(0, equals));
        if (!name.empty()) pairs.emplace_back(std::move(name), trimmed(entry.substr(equals + 1)));
    }
    return pairs;
}

std::string first_of(const config::Settings& settings, std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) {
        if (settings.has(name)) return settings.text(name);
    }
    return {};
}

// The name of the platform's own, when it was given; else the standard one; else the default.
std::string endpoint_of(const config::Settings& settings) {
    const bool given = settings.origin("OTEL_EXPORTER_ENDPOINT").layer != config::Layer::kDefault;
    if (!given && settings.has("OTEL_EXPORTER_OTLP_ENDPOINT")) return settings.text("OTEL_EXPORTER_OTLP_ENDPOINT");
    return settings.text("OTEL_EXPORTER_ENDPOINT");
}

OtlpOptions::Protocol protocol_of(const std::string& text) {
    if (text == "http/protobuf") return OtlpOptions::Protocol::kHttpProtobuf;
    if (text == "http/json") return OtlpOptions::Protocol::kHttpJson;
    return OtlpOptions::Protocol::kGrpc;
}

OtlpOptions options_of(const PlatformParts& parts) {
    const config::Settings& settings = parts.settings;
    OtlpOptions options;
    options.endpoint = endpoint_of(settings);
    options.protocol = protocol_of(settings.text("OTEL_EXPORTER_OTLP_PROTOCOL"));
    options.tls.verify = settings.flag("OTEL_TLS_VERIFY") && !settings.flag("OTEL_EXPORTER_TLS_INSECURE_SKIP_VERIFY");
    options.tls.ca_file =
        first_of(settings, {"OTEL_CA_BUNDLE", "OTEL_EXPORTER_TLS_CA_CERT_PATH", "OTEL_EXPORTER_CERTIFICATE"});
    options.tls.client_cert = settings.text("OTEL_EXPORTER_TLS_CERT_PATH");
    options.tls.client_key = settings.text("OTEL_EXPORTER_TLS_KEY_PATH");
    // Switched on by itself for an address without a scheme of its own.
    if (settings.flag("OTEL_EXPORTER_TLS_ENABLED") && options.endpoint.starts_with("http://"))
        options.endpoint.replace(0, std::string_view("http://").size(), "https://");
    for (auto& [name, value] : pairs_of(settings.text("OTEL_EXPORTER_OTLP_HEADERS"))) {
        for (char& c : name)
            c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        options.headers.emplace_back(std::move(name), std::move(value));
    }
    options.timeout = settings.duration("OTEL_EXPORTER_OTLP_TIMEOUT");
    options.user_agent = "worker-agents/" + std::string(kVersion);
    options.scope_version = kVersion;
    options.resource = {
        {"service.name",
         settings.has("OTEL_SERVICE_NAME") ? settings.text("OTEL_SERVICE_NAME") : settings.text("SERVICE_NAME")},
        {"service.version", settings.text("SERVICE_VERSION")},
        {"service.instance.id", parts.agent_id},
        {"deployment.environment", settings.text("ENVIRONMENT")},
        {"neural.hive.component", settings.text("NEURAL_HIVE_COMPONENT")},
        {"neural.hive.layer", settings.text("NEURAL_HIVE_LAYER")},
        {"neural.hive.domain", settings.text("NEURAL_HIVE_DOMAIN")},
    };
    for (auto& [name, value] : pairs_of(settings.text("OTEL_RESOURCE_ATTRIBUTES")))
        options.resource.emplace_back(std::move(name), std::move(value));
    return options;
}

}  // namespace

class Tracing::Listener final : public TraceExportListener {
public:
    Listener(const PlatformParts& parts, observability::PlatformMetrics& metrics) : parts_(parts), metrics_(metrics) {}
    void spans_exported(std::size_t count) override {
        metrics_.spans_exported(count);
        away_ = false;
    }
    void spans_dropped(std::size_t count, SpanDrop why) override {
        metrics_.spans_dropped(count);
        if (why == SpanDrop::kExportFailed) metrics_.span_export_failed(count);
    }
    void export_failed(const Error& why, bool /*again*/) override {
        // Once until it is back: a collector that is away must cost nothing, not even lines.
        if (!std::exchange(away_, true)) parts_.log.warning("trace_collector_away", {{"error", why.describe()}});
    }

private:
    const PlatformParts& parts_;
    observability::PlatformMetrics& metrics_;
    bool away_ = false;
};

Tracing::Tracing(const Clock& clock) : time_(clock) {}
Tracing::~Tracing() = default;

Result<std::unique_ptr<Tracing>> Tracing::make(const PlatformParts& parts, observability::PlatformMetrics& metrics) {
    std::unique_ptr<Tracing> tracing(new Tracing(parts.clock));
    if (parts.settings.flag("OTEL_SDK_DISABLED")) return tracing;
    WA_TRY(Sampler sampler,
           Sampler::parse(parts.settings.text("OTEL_TRACES_SAMPLER"), parts.settings.text("OTEL_TRACES_SAMPLER_ARG")));
    tracing->listener_ = std::make_unique<Listener>(parts, metrics);
    WA_TRY(tracing->exporter_,
           OtlpExporter::make(parts.loop, parts.clock, parts.random, *tracing->listener_, options_of(parts)));
    OtlpExporter& exporter = *tracing->exporter_;
    tracing->tickets_ = std::make_unique<TicketTracer>(parts.clock, tracing->time_, parts.random, sampler, exporter,
                                                       [](const TicketView& ticket) { return ticket.trace; });
    tracing->calls_ = std::make_unique<CallTracer>(
        parts.clock, tracing->time_, parts.random, sampler, exporter,
        [tickets = tracing->tickets_.get()](std::string_view ticket_id) { return tickets->context_of(ticket_id); });
    return tracing;
}

FlowObserver& Tracing::observer() {
    if (tickets_) return *tickets_;
    return passage_;
}

CallWatch& Tracing::calls() {
    if (calls_) return *calls_;
    return passage_;
}

std::optional<TraceContext> Tracing::context_of(std::string_view ticket_id) const {
    return tickets_ ? tickets_->context_of(ticket_id) : passage_.context_of(ticket_id);
}

void Tracing::flush(Duration limit, std::function<void()> done) {
    if (!exporter_) return done();
    exporter_->flush(limit, std::move(done));
}

CarriedHeaders Tracing::headers_of(std::string_view ticket_id) const {
    CarriedHeaders headers;
    if (const auto context = context_of(ticket_id)) tracing::carry_context(*context, headers);
    return headers;
}

}  // namespace wa::app
