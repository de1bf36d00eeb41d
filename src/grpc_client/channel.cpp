#include "grpc_client/channel.h"

#include <fcntl.h>
#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

namespace wa::rpc {
namespace {

constexpr std::int64_t kMaxFileBytes = 4 << 20;  // trust stores are large
// What the machine trusts, as distributions keep it.
constexpr std::array<const char*, 3> kSystemRoots = {"/etc/ssl/certs/ca-certificates.crt",
                                                     "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

Failure cannot_read(const std::string& path, const std::string& why) {
    Error error = make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, "grpc",
                             "cannot read the TLS file '" + path + "': " + why);
    error.fix = "check the path, and that the worker may read it";
    return tl::unexpected(std::move(error));
}

// Which file stands under a path. Equal: the same content.
struct FileMark {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = 0;
    std::int64_t changed_ns = 0;

    friend bool operator==(const FileMark&, const FileMark&) = default;
};

Result<FileMark> mark_of(const std::string& path) {
    struct stat now{};
    if (::stat(path.c_str(), &now) != 0) return cannot_read(path, std::strerror(errno));
    if (!S_ISREG(now.st_mode)) return cannot_read(path, "it is not a regular file");
    if (now.st_size > kMaxFileBytes) return cannot_read(path, "it is larger than 4 MiB");
    return FileMark{now.st_dev, now.st_ino, now.st_size, now.st_ctim.tv_sec * 1'000'000'000 + now.st_ctim.tv_nsec};
}

Result<std::string> bytes_of(const std::string& path, std::int64_t size) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return cannot_read(path, std::strerror(errno));
    std::string bytes(static_cast<std::size_t>(size), '\0');
    std::size_t at = 0;
    while (at < bytes.size()) {
        const ssize_t got = ::read(fd, bytes.data() + at, bytes.size() - at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        at += static_cast<std::size_t>(got);
    }
    ::close(fd);
    bytes.resize(at);
    return bytes;
}

std::string roots_path(const TlsOptions& options) {
    if (!options.ca_file.empty()) return options.ca_file;
    for (const char* path : kSystemRoots) {
        if (::access(path, R_OK) == 0) return path;
    }
    return kSystemRoots.front();
}

struct Credentials {
    std::string roots{};
    std::string certificate{};
    std::string key{};
};

std::shared_ptr<grpc::ChannelCredentials> verified(const Credentials& pem) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = pem.roots;
    options.pem_cert_chain = pem.certificate;
    options.pem_private_key = pem.key;
    return grpc::SslCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> unverified(const Credentials& pem) {
    namespace tls = grpc::experimental;
    tls::TlsChannelCredentialsOptions options;
    options.set_verify_server_certs(false);
    options.set_check_call_host(false);
    options.set_certificate_verifier(std::make_shared<tls::NoOpCertificateVerifier>());
    if (!pem.certificate.empty()) {
        options.set_certificate_provider(std::make_shared<tls::StaticDataCertificateProvider>(
            std::vector<tls::IdentityKeyCertPair>{{pem.key, pem.certificate}}));
        options.watch_identity_key_cert_pairs();
    }
    return tls::TlsCredentials(options);
}

// With its last channel gRPC 1.51 stops the threads that complete calls, and sometimes frees their queue twice as it
// does (seen under the address sanitizer, once in some hundred times). So the first channel of the process is never the
// last: it is kept, idle, until the process ends.
void keep_one(const std::shared_ptr<grpc::Channel>& channel) {
    static const auto* const kept = new std::shared_ptr<grpc::Channel>(channel);
    static_cast<void>(kept);
}

int millis(Duration duration) {
    return static_cast<int>(to_millis(duration));
}

grpc::ChannelArguments arguments(const ChannelOptions& options) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, millis(options.keepalive_time));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, millis(options.keepalive_timeout));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 1000);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, std::max(1000, millis(options.max_reconnect_backoff)));
    // Connections are this channel's own: one with other certificates must not be found in a shared pool.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // whoever calls decides about a second try
    arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
    arguments.SetMaxSendMessageSize(options.max_message_bytes);
    arguments.SetUserAgentPrefix(options.user_agent);
    if (options.tls && !options.tls_options.server_name.empty())
        arguments.SetSslTargetNameOverride(options.tls_options.server_name);
    return arguments;
}

}  // namespace

struct Channel::Material {
    FileMark roots{};
    FileMark certificate{};
    FileMark key{};

    friend bool operator==(const Material&, const Material&) = default;
};

Channel::Channel(ChannelOptions options) : options_(std::move(options)) {
    // gRPC writes lines of its own to standard error, between ours; what they say is in the errors of the calls too.
    gpr_set_log_function([](gpr_log_func_args*) {});
}
Channel::~Channel() = default;

Result<std::shared_ptr<grpc::Channel>> Channel::current() {
    if (!options_.tls) {
        if (!channel_) {
            channel_ =
                grpc::CreateCustomChannel(options_.target, grpc::InsecureChannelCredentials(), arguments(options_));
            keep_one(channel_);
        }
        return channel_;
    }
    const TlsOptions& tls = options_.tls_options;
    const std::string roots = roots_path(tls);
    Material now;
    if (tls.verify) {
        WA_TRY(now.roots, mark_of(roots));
    }
    if (!tls.client_cert.empty()) {
        WA_TRY(now.certificate, mark_of(tls.client_cert));
        WA_TRY(now.key, mark_of(tls.client_key));
    }
    if (channel_ && material_ && *material_ == now) return channel_;
    Credentials pem;
    if (tls.verify) {
        WA_TRY(pem.roots, bytes_of(roots, now.roots.size));
    }
    if (!tls.client_cert.empty()) {
        WA_TRY(pem.certificate, bytes_of(tls.client_cert, now.certificate.size));
        WA_TRY(pem.key, bytes_of(tls.client_key, now.key.size));
    }
    channel_ =
        grpc::CreateCustomChannel(options_.target, tls.verify ? verified(pem) : unverified(pem), arguments(options_));
    keep_one(channel_);
    material_ = std::make_unique<Material>(now);
    return channel_;
}

}  // namespace wa::rpc

#ifdef WA_SANITIZED
// What sanitizers say about the libraries below gRPC, which are built without them: not ours to mend.
extern "C" {
const char* __lsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier)
const char* __tsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier)
}
// Debian's c-ares keeps a few bytes of each look-up that gRPC makes.
const char* __lsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
    return "leak:libcares.so\n";
}
// Their locks are not seen, so what they hand from thread to thread looks like a race. There can be one such list in a
// program, so that the Kafka client stands in it too: its counters of references are atomics that are not seen, and it
// takes the lock of a client within that of a partition and the other way round (2.12.1: an answer about an epoch that
// failed, and a topic that is made, whose partitions nobody else has yet).
const char* __tsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
    return "race:libgrpc\nrace:libgpr\nrace:libabsl\nrace:libcares\nrace:libssl.so\nrace:libcrypto.so\nthread:libgpr\n"
           "race:rwlock_destroy\nrace:mtx_destroy\nrace:cnd_destroy\nrace:^rd_\n"
           "deadlock:^rwlock_wrlock$\ndeadlock:^rwlock_rdlock$\n";
}
#endif
