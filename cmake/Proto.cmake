# gRPC and protobuf, and C++ from our own .proto files. Generated code lands in the build folder and is nobody's to read:
# no warnings, no clang-tidy.
find_package(PkgConfig REQUIRED)
if(NOT TARGET PkgConfig::GRPC)
  pkg_check_modules(GRPC REQUIRED IMPORTED_TARGET GLOBAL grpc++ protobuf)
endif()
find_program(WA_PROTOC protoc REQUIRED)
find_program(WA_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

# wa_proto(name FILES <path below proto/ without .proto>...): the static library <name>; its headers are included as
# "<path>.pb.h" and, for files with a service, "<path>.grpc.pb.h".
function(wa_proto name)
  cmake_parse_arguments(ARG "" "" "FILES" ${ARGN})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${out})
  set(sources)
  foreach(file ${ARG_FILES})
    set(made ${out}/${file}.pb.cc ${out}/${file}.grpc.pb.cc)
    add_custom_command(
      OUTPUT ${made} ${out}/${file}.pb.h ${out}/${file}.grpc.pb.h
      COMMAND ${WA_PROTOC} -I ${CMAKE_SOURCE_DIR}/proto --cpp_out=${out} --grpc_out=${out}
              --plugin=protoc-gen-grpc=${WA_GRPC_CPP_PLUGIN} ${CMAKE_SOURCE_DIR}/proto/${file}.proto
      DEPENDS ${CMAKE_SOURCE_DIR}/proto/${file}.proto)
    list(APPEND sources ${made})
  endforeach()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC wa_flags PkgConfig::GRPC)
  target_compile_options(${name} PRIVATE -w)
  target_include_directories(${name} SYSTEM PUBLIC ${out})
  set_target_properties(${name} PROPERTIES CXX_CLANG_TIDY "")
endfunction()
