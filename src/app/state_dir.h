// The folder of one worker: lock, database, token, socket, endpoints, work (interface.md "STATE_DIR").
#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/random.h"
#include "process/fd.h"

namespace wa::app {

class StateDir {
public:
    // Makes the folder (0700) and locks it. kConflict when another process holds it; the message names that process.
    static Result<StateDir> open(const std::filesystem::path& path);

    // A folder of a worker that was given none: below `base`, in a folder that only this user can enter, the first that
    // no other worker holds. Used again by the next one, so that nothing piles up.
    static Result<StateDir> open_scratch(const std::filesystem::path& base);

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] std::filesystem::path database() const { return path_ / "worker.db"; }
    [[nodiscard]] std::filesystem::path socket() const { return path_ / "api.sock"; }
    [[nodiscard]] std::filesystem::path work() const { return path_ / "work"; }
    // The same for every start on this folder, different for every other folder.
    [[nodiscard]] std::string marker() const;

    // Reads the token, or makes one (256 bits, file mode 0600).
    [[nodiscard]] Result<std::string> token(Random& random) const;
    // Tells clients where to find us; replaced as a whole.
    Result<void> write_endpoints(const std::string& json) const;
    void remove_endpoints() const;

private:
    StateDir(std::filesystem::path path, Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
    std::filesystem::path path_;
    Fd lock_;
};

}  // namespace wa::app
