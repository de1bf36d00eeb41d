# jemalloc in place of malloc, for the programs that link wa_allocator (why: src/allocator.cpp). Sanitizers bring an
# allocator of their own.
add_library(wa_allocator INTERFACE)
if(NOT WA_SANITIZE)
  find_library(JEMALLOC_LIBRARY NAMES libjemalloc_pic.a REQUIRED)
  target_sources(wa_allocator INTERFACE ${CMAKE_SOURCE_DIR}/src/allocator.cpp)
  target_link_libraries(wa_allocator INTERFACE ${JEMALLOC_LIBRARY} Threads::Threads ${CMAKE_DL_LIBS} m)
endif()
