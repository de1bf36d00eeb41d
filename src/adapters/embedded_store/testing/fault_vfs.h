// A disk that fails on demand, and that remembers what was written since the last sync, so that a power cut can be
// played: of the unsynced writes any part may be lost, sector by sector. Sits between SQLite and the real file system.
#pragma once

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"

namespace wa::testing {

class FaultVfs {
public:
    enum class Fault { kNone, kFull, kWriteError, kSyncError };

    FaultVfs() {
        real_ = sqlite3_vfs_find(nullptr);
        if (real_ == nullptr) throw std::runtime_error("SQLite has no file system");
        vfs_ = *real_;
        vfs_.iVersion = 1;
        vfs_.pNext = nullptr;
        vfs_.zName = "wa-faults";
        vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
        vfs_.pAppData = this;
        vfs_.xOpen = open;
        vfs_.xDelete = remove;
        sqlite3_vfs_register(&vfs_, 1);
    }
    ~FaultVfs() {
        sqlite3_vfs_unregister(&vfs_);
        sqlite3_vfs_register(real_, 1);
    }
    FaultVfs(const FaultVfs&) = delete;
    FaultVfs& operator=(const FaultVfs&) = delete;

    // The `after`-th call of that kind from now fails; with `lasting` all later ones too.
    void arm(Fault fault, int after, bool lasting) {
        const std::lock_guard lock(mutex_);
        fault_ = fault;
        countdown_ = after;
        lasting_ = lasting;
        hits_ = 0;
    }
    void disarm() {
        const std::lock_guard lock(mutex_);
        fault_ = Fault::kNone;
    }
    [[nodiscard]] int hits() const {
        const std::lock_guard lock(mutex_);
        return hits_;
    }

    // From now on files are followed for power cuts.
    void follow(bool on) {
        const std::lock_guard lock(mutex_);
        follow_ = on;
        images_.clear();
    }
    // What the disk may hold if the power went now: name of each followed file and its bytes.
    [[nodiscard]] std::map<std::string, std::string> cut(Random& random) const {
        const std::lock_guard lock(mutex_);
        std::map<std::string, std::string> out;
        for (const auto& [name, image] : images_) {
            std::string bytes = image.synced;
            const bool keep_all = random.chance(0.2);
            const bool lose_all = random.chance(0.2);
            for (const auto& change : image.pending) {
                if (lose_all) break;
                apply(bytes, change, keep_all ? nullptr : &random);
            }
            out.emplace(name, std::move(bytes));
        }
        return out;
    }

private:
    struct Change {
        std::int64_t offset = 0;
        std::string bytes;
        bool truncate = false;
    };
    struct Image {
        std::string synced;
        std::vector<Change> pending;
    };
    struct File {
        sqlite3_file base;
        FaultVfs* owner;
        std::string* name;
        [[nodiscard]] sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
    };

    static File* self(sqlite3_file* file) { return reinterpret_cast<File*>(file); }
    static sqlite3_file* inner(sqlite3_file* file) { return self(file)->real(); }

    static void apply(std::string& bytes, const Change& change, Random* random) {
        constexpr std::size_t kSector = 512;
        if (change.truncate) {
            if (random == nullptr || random->chance(0.7)) bytes.resize(static_cast<std::size_t>(change.offset));
            return;
        }
        for (std::size_t at = 0; at < change.bytes.size();) {
            const std::size_t place = static_cast<std::size_t>(change.offset) + at;
            const std::size_t length = std::min(kSector - place % kSector, change.bytes.size() - at);
            if (random == nullptr || random->chance(0.7)) {
                if (bytes.size() < place + length) bytes.resize(place + length, '\0');
                bytes.replace(place, length, change.bytes, at, length);
            }
            at += length;
        }
    }

    bool fails(Fault kind, Fault other = Fault::kNone) {
        const std::lock_guard lock(mutex_);
        if (fault_ == Fault::kNone || (fault_ != kind && fault_ != other)) return false;
        if (countdown_-- > 0) return false;
        ++hits_;
        if (!lasting_) fault_ = Fault::kNone;
        countdown_ = 0;
        return true;
    }
    [[nodiscard]] Fault current() const {
        const std::lock_guard lock(mutex_);
        return fault_;
    }

    void note(const std::string& name, Change change) {
        const std::lock_guard lock(mutex_);
        if (const auto found = images_.find(name); found != images_.end())
            found->second.pending.push_back(std::move(change));
    }
    void note_sync(const std::string& name) {
        const std::lock_guard lock(mutex_);
        const auto found = images_.find(name);
        if (found == images_.end()) return;
        for (const auto& change : found->second.pending)
            apply(found->second.synced, change, nullptr);
        found->second.pending.clear();
    }
    void note_open(const std::string& name, sqlite3_file* real) {
        const std::lock_guard lock(mutex_);
        if (!follow_ || name.empty() || images_.contains(name)) return;
        sqlite3_int64 size = 0;
        real->pMethods->xFileSize(real, &size);
        Image image;
        image.synced.resize(static_cast<std::size_t>(size));
        if (size > 0) real->pMethods->xRead(real, image.synced.data(), static_cast<int>(size), 0);
        images_.emplace(name, std::move(image));
    }

    static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
        auto* owner = static_cast<FaultVfs*>(vfs->pAppData);
        File* own = self(file);
        std::memset(&own->base, 0, sizeof own->base);
        own->owner = owner;
        own->name = nullptr;
        const int code = owner->real_->xOpen(owner->real_, name, own->real(), flags, out_flags);
        if (own->real()->pMethods == nullptr) return code;
        own->name = new std::string(name != nullptr ? name : "");
        own->base.pMethods = methods();
        if (code == SQLITE_OK) owner->note_open(*own->name, own->real());
        return code;
    }
    static int remove(sqlite3_vfs* vfs, const char* name, int sync_dir) {
        auto* owner = static_cast<FaultVfs*>(vfs->pAppData);
        {
            const std::lock_guard lock(owner->mutex_);
            owner->images_.erase(name);
        }
        return owner->real_->xDelete(owner->real_, name, sync_dir);
    }
    static int close(sqlite3_file* file) {
        const int code = inner(file)->pMethods->xClose(inner(file));
        delete std::exchange(self(file)->name, nullptr);
        return code;
    }
    static int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
        FaultVfs& owner = *self(file)->owner;
        const bool full = owner.current() == Fault::kFull;
        if (owner.fails(Fault::kFull, Fault::kWriteError)) {
            // Half of it gets through, as on a disk that fills up in the middle.
            if (inner(file)->pMethods->xWrite(inner(file), bytes, size / 2, offset) == SQLITE_OK) {
                owner.note(*self(file)->name,
                           {offset, std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size / 2))});
            }
            return full ? SQLITE_FULL : SQLITE_IOERR_WRITE;
        }
        owner.note(*self(file)->name,
                   {offset, std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size))});
        return inner(file)->pMethods->xWrite(inner(file), bytes, size, offset);
    }
    static int truncate(sqlite3_file* file, sqlite3_int64 size) {
        self(file)->owner->note(*self(file)->name, {size, {}, true});
        return inner(file)->pMethods->xTruncate(inner(file), size);
    }
    static int sync(sqlite3_file* file, int flags) {
        FaultVfs& owner = *self(file)->owner;
        if (owner.fails(Fault::kSyncError)) return SQLITE_IOERR_FSYNC;
        const int code = inner(file)->pMethods->xSync(inner(file), flags);
        if (code == SQLITE_OK) owner.note_sync(*self(file)->name);
        return code;
    }

    static const sqlite3_io_methods* methods() {
        static const sqlite3_io_methods table = make_methods();
        return &table;
    }
    static sqlite3_io_methods make_methods() {
        sqlite3_io_methods out{};
        out.iVersion = 2;
        out.xClose = close;
        out.xRead = [](sqlite3_file* f, void* to, int size, sqlite3_int64 at) {
            return inner(f)->pMethods->xRead(inner(f), to, size, at);
        };
        out.xWrite = write;
        out.xTruncate = truncate;
        out.xSync = sync;
        out.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) {
            return inner(f)->pMethods->xFileSize(inner(f), size);
        };
        out.xLock = [](sqlite3_file* f, int level) { return inner(f)->pMethods->xLock(inner(f), level); };
        out.xUnlock = [](sqlite3_file* f, int level) { return inner(f)->pMethods->xUnlock(inner(f), level); };
        out.xCheckReservedLock = [](sqlite3_file* f, int* locked) {
            return inner(f)->pMethods->xCheckReservedLock(inner(f), locked);
        };
        out.xFileControl = [](sqlite3_file* f, int op, void* arg) {
            return inner(f)->pMethods->xFileControl(inner(f), op, arg);
        };
        out.xSectorSize = [](sqlite3_file* f) { return inner(f)->pMethods->xSectorSize(inner(f)); };
        out.xDeviceCharacteristics = [](sqlite3_file* f) {
            return inner(f)->pMethods->xDeviceCharacteristics(inner(f));
        };
        out.xShmMap = [](sqlite3_file* f, int page, int size, int extend, void volatile** at) {
            return inner(f)->pMethods->xShmMap(inner(f), page, size, extend, at);
        };
        out.xShmLock = [](sqlite3_file* f, int offset, int n, int flags) {
            return inner(f)->pMethods->xShmLock(inner(f), offset, n, flags);
        };
        out.xShmBarrier = [](sqlite3_file* f) { inner(f)->pMethods->xShmBarrier(inner(f)); };
        out.xShmUnmap = [](sqlite3_file* f, int remove_it) {
            return inner(f)->pMethods->xShmUnmap(inner(f), remove_it);
        };
        return out;
    }

    sqlite3_vfs* real_ = nullptr;
    sqlite3_vfs vfs_{};
    mutable std::mutex mutex_;
    Fault fault_ = Fault::kNone;
    int countdown_ = 0;
    bool lasting_ = false;
    int hits_ = 0;
    bool follow_ = false;
    std::map<std::string, Image> images_;
};

}  // namespace wa::testing
