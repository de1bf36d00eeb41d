# Warnings and sanitizers, the same for every target of the project.
add_library(wa_flags INTERFACE)
target_compile_options(wa_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast
  -Woverloaded-virtual -Wnull-dereference -Wimplicit-fallthrough -Wextra-semi -Werror)
target_include_directories(wa_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_definitions(wa_flags INTERFACE
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_DISABLE_BOOST_COROUTINE)
if(WA_SANITIZE)
  target_compile_options(wa_flags INTERFACE -fsanitize=${WA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -g1 -O1)
  target_link_options(wa_flags INTERFACE -fsanitize=${WA_SANITIZE})
  target_compile_definitions(wa_flags INTERFACE WA_SANITIZED=1)
endif()
if(WA_BUILD_FUZZ)
  # Coverage for the fuzz targets: without it they search blindly.
  target_compile_options(wa_flags INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(wa_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
