// The folders of local tasks: a private one for each attempt, removed afterwards, and the shared ones that tickets
// name.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "process/fd.h"
#include "runtimes/tree_removal.h"

namespace wa {

// What one attempt got.
struct AttemptFolders {
    std::string name;  // of its private folder
    std::string home;
    std::string tmp;
    std::string secrets;  // where write_secret() puts files
    Fd work;              // its own folder inside the private one, for tickets without a working directory
};

// A working directory that a ticket named.
struct SharedFolder {
    Fd folder;
    std::string path;  // where it really is, links followed
};

struct WorkspaceOptions {
    std::string root = "/tmp/neural-hive-execution";     // LOCAL_RUNTIME_WORKING_DIR; created when missing, 0700
    std::vector<std::string> allowed{"/tmp/workspace"};  // LOCAL_RUNTIME_ALLOWED_DIRS; the root always belongs to it
    std::string forbidden;  // no folder in it is shared, unless it lies in the root; the worker's own. Empty = none
    // Where private folders are made. Of this worker alone: whatever is in it at prepare() is removed.
    std::string private_root;
    RemovalLimits removal;
};

class Workspace {
public:
    // Called on the loop once a private folder is gone, or was given up.
    using Removed = std::function<void(Removal)>;

    Workspace(boost::asio::io_context& loop, WorkspaceOptions options);
    // Ends a removal that is under way; what is left then goes at the next start.
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    // Makes the roots and starts to remove what earlier runs left. Once, before anything else. Errors name the folder:
    // it cannot be made, belongs to somebody else, or is a link.
    [[nodiscard]] Result<void> prepare(Random& random);
    // kDiskFull or kUnavailable, retryable.
    [[nodiscard]] Result<AttemptFolders> make_private();
    // A file that only the worker's user can read; its path. It goes with the private folder.
    [[nodiscard]] Result<std::string> write_secret(const AttemptFolders& folders, const std::string& name,
                                                   const std::string& value);
    // Small ones at once, large ones on a thread of their own.
    void remove_private(const std::string& name, Removed removed);
    // Opens the working directory that a ticket names (relative = below the root), making what is missing. It must lie,
    // links followed, in the root or one of the allowed folders, and not among the private ones. The descriptor is the
    // one that was checked, so that nothing can be put in its place. `inside`: one more folder that it must lie in, and
    // that relative paths begin at; empty = none. Errors: kNotAllowed, kInvalidArgument (permanent).
    [[nodiscard]] Result<SharedFolder> open_shared(const std::string& path, const std::string& inside = {});
    // Lets go of a task's workspace in memory; freeing a million files takes a while, so it is done elsewhere.
    void release(Fd workspace);

private:
    class Cleaner;
    [[nodiscard]] Result<Fd> make_missing(const std::string& path);
    [[nodiscard]] bool inside_allowed(const std::string& real) const;

    boost::asio::io_context& loop_;
    WorkspaceOptions options_;
    Fd private_root_;
    Fd instance_;  // this run's folder in it
    std::string instance_path_;
    std::string private_real_;
    std::uint64_t counter_ = 0;
    std::unique_ptr<Cleaner> cleaner_;
};

}  // namespace wa
