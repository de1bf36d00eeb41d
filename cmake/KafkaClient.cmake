# The Kafka client that scripts/kafka-client/build made, as the target kafka_client. WA_KAFKA_CLIENT=system takes the
# distribution's instead: only for one that is at least as new.
set(WA_KAFKA_CLIENT "" CACHE STRING "Folder with include/ and lib/ of librdkafka; empty: built once; 'system'")
add_library(kafka_client INTERFACE)
if(WA_KAFKA_CLIENT STREQUAL "system")
  find_package(PkgConfig REQUIRED)
  pkg_check_modules(RDKAFKA REQUIRED IMPORTED_TARGET rdkafka>=2.12.1)
  target_link_libraries(kafka_client INTERFACE PkgConfig::RDKAFKA)
else()
  set(kafka_client_dir "${WA_KAFKA_CLIENT}")
  if(NOT kafka_client_dir)
    execute_process(COMMAND ${CMAKE_SOURCE_DIR}/scripts/kafka-client/build
      OUTPUT_VARIABLE kafka_client_said OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX REPLACE "^.*\n" "" kafka_client_dir "${kafka_client_said}")
  endif()
  find_package(OpenSSL REQUIRED)
  find_package(CURL REQUIRED)
  find_package(ZLIB REQUIRED)
  find_library(ZSTD_LIBRARY zstd REQUIRED)
  target_include_directories(kafka_client SYSTEM INTERFACE ${kafka_client_dir}/include)
  target_link_libraries(kafka_client INTERFACE ${kafka_client_dir}/lib/librdkafka.a OpenSSL::SSL OpenSSL::Crypto
    CURL::libcurl ZLIB::ZLIB ${ZSTD_LIBRARY} Threads::Threads ${CMAKE_DL_LIBS} m)
endif()
