// How the allocator of this program behaves; it looks for this name (jemalloc(3), "tuning").
//
// Tickets are taken apart on one thread and let go of on another, a few kilobytes each: glibc's allocator spends a
// quarter of the processor time of a ticket on that. Two arenas are enough for a worker's few busy threads, and what is
// free goes back to the system soon: a worker that has nothing to do is small.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "narenas:2,dirty_decay_ms:200,muzzy_decay_ms:0";
}
