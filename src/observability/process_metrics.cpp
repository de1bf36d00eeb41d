#include "observability/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <vector>

namespace wa::observability {
namespace {

std::string read_file(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The fields of /proc/self/stat after the command, which stands in parentheses and may contain anything.
std::vector<double> stat_fields(const std::string& text) {
    const std::size_t end = text.rfind(')');
    std::vector<double> fields;
    if (end == std::string::npos) return fields;
    std::istringstream rest(text.substr(end + 1));
    std::string word;
    while (rest >> word) {
        double value = 0;
        std::from_chars(word.data(), word.data() + word.size(), value);
        fields.push_back(value);
    }
    return fields;
}

double boot_time(const std::string& proc) {
    std::istringstream lines(read_file(proc + "/stat"));
    std::string line;
    while (std::getline(lines, line)) {
        double value = 0;
        if (!line.starts_with("btime ")) continue;
        std::from_chars(line.data() + 6, line.data() + line.size(), value);
        return value;
    }
    return 0;
}

std::optional<double> open_files(const std::string& proc) {
    std::error_code error;
    std::filesystem::directory_iterator entries(proc + "/self/fd", error);
    if (error) return std::nullopt;
    double count = 0;
    for (; entries != std::filesystem::directory_iterator(); entries.increment(error)) {
        if (error) return std::nullopt;
        ++count;
    }
    return count - 1;  // the one that this listing itself holds
}

}  // namespace

void register_process_metrics(Registry& registry, std::string proc) {
    Counter& cpu = registry.counter("process_cpu_seconds_total", "User and system CPU time in seconds.").with({});
    Gauge& resident = registry.gauge("process_resident_memory_bytes", "Resident memory in bytes.").with({});
    Gauge& virtual_size = registry.gauge("process_virtual_memory_bytes", "Virtual memory in bytes.").with({});
    Gauge& open = registry.gauge("process_open_fds", "Open file descriptors.").with({});
    Gauge& most = registry.gauge("process_max_fds", "Most file descriptors that may be open.").with({});
    Gauge& start = registry.gauge("process_start_time_seconds", "Start of the process, seconds since 1970.").with({});
    const double boot = boot_time(proc);
    registry.before_scrape([&cpu, &resident, &virtual_size, &open, &most, &start, boot, proc = std::move(proc)] {
        const std::vector<double> fields = stat_fields(read_file(proc + "/self/stat"));
        const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
        constexpr std::size_t kUserTime = 11;  // counted from the state, the first field after the command
        constexpr std::size_t kSystemTime = 12;
        constexpr std::size_t kStartTime = 19;
        constexpr std::size_t kVirtual = 20;
        constexpr std::size_t kResident = 21;
        if (fields.size() > kResident) {
            cpu.set_to((fields[kUserTime] + fields[kSystemTime]) / ticks);
            start.set(boot + fields[kStartTime] / ticks);
            virtual_size.set(fields[kVirtual]);
            resident.set(fields[kResident] * static_cast<double>(::sysconf(_SC_PAGESIZE)));
        }
        if (const auto count = open_files(proc)) open.set(*count);
        rlimit files{};
        if (::getrlimit(RLIMIT_NOFILE, &files) == 0) most.set(static_cast<double>(files.rlim_cur));
    });
}

}  // namespace wa::observability
