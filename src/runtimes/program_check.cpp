#include "runtimes/program_check.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "process/fd.h"

namespace wa {
namespace {

constexpr std::string_view kOrigin = "local";

std::optional<ProgramIdentity> identity_of(const Fd& file) {
    struct stat facts{};
    if (!file || ::fstat(file.get(), &facts) != 0) return std::nullopt;
    return ProgramIdentity{facts.st_dev, facts.st_ino,
                           std::int64_t{facts.st_ctim.tv_sec} * 1'000'000'000 + facts.st_ctim.tv_nsec};
}

bool same(const ProgramIdentity& a, const ProgramIdentity& b) {
    return a.device == b.device && a.inode == b.inode && a.changed_ns == b.changed_ns;
}

std::optional<std::string> digest_of(const Fd& file) {
    const std::unique_ptr<EVP_MD_CTX, decltype(&::EVP_MD_CTX_free)> context(::EVP_MD_CTX_new(), &::EVP_MD_CTX_free);
    if (!context || ::EVP_DigestInit_ex(context.get(), ::EVP_sha256(), nullptr) != 1) return std::nullopt;
    std::array<char, 65536> bytes{};
    for (;;) {
        const ssize_t got = ::read(file.get(), bytes.data(), bytes.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return std::nullopt;
        if (got == 0) break;
        if (::EVP_DigestUpdate(context.get(), bytes.data(), static_cast<std::size_t>(got)) != 1) return std::nullopt;
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    if (::EVP_DigestFinal_ex(context.get(), digest.data(), &size) != 1) return std::nullopt;
    static constexpr std::string_view kHex = "0123456789abcdef";
    std::string text;
    for (unsigned index = 0; index < size; ++index) {
        text += kHex[digest.at(index) >> 4U];
        text += kHex[digest.at(index) & 15U];
    }
    return text;
}

}  // namespace

Result<std::optional<ProgramIdentity>> ProgramCheck::look(const std::string& path, const std::string& digest) {
    if (digest.empty()) return identity_of(Fd(::open(path.c_str(), O_PATH | O_CLOEXEC)));
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    const auto before = identity_of(file);
    if (!before) {
        return Failure(make_error(ErrorCode::kExecutionFailed, Retry::kNever, Fault::kTask, std::string(kOrigin),
                                  "cannot read '" + path + "' to check its digest: " + std::strerror(errno)));
    }
    const auto known = known_.find(path);
    if (known == known_.end() || !same(known->second.identity, *before)) {
        const auto found = digest_of(file);
        const auto after = identity_of(file);
        // Whoever changes it while it is read changes its status time too.
        if (!found || !after || !same(*before, *after)) {
            return Failure(make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker,
                                      std::string(kOrigin), "'" + path + "' changed while its digest was taken"));
        }
        known_[path] = Known{*before, *found};
    }
    if (known_[path].digest != digest) {
        Error error =
            make_error(ErrorCode::kNotAllowed, Retry::kNever, Fault::kInput, std::string(kOrigin),
                       "'" + path + "' is not the file that LOCAL_RUNTIME_ALLOWED_COMMANDS pins: its SHA-256 is " +
                           known_[path].digest);
        error.field = "parameters.command";
        return Failure(std::move(error));
    }
    return before;
}

}  // namespace wa
