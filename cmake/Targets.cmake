# micrec_add_library(NAME <folder> SOURCES <file>... [PUBLIC <target>...] [PRIVATE <target>...])
#   One library a folder: target micrec_<folder>, alias micrec::<folder>. Includes are written from the
#   repository root or from src/. Without SOURCES it is a library of headers.
# micrec_cuda_sources(<target> CUDA <file>... [CPU <file>...])
#   Adds the first to a target where GPU parts are built, and the second elsewhere: they define the same
#   functions.
# micrec_set_warnings(<target>)
#   Our warnings on our own target only.
# micrec_use_torch_headers(<target> <linked target>...)
#   Gives a target LibTorch's headers precompiled where one of those it links to carries LibTorch: they take two
#   thirds of the time to compile such a source.
# micrec_use_test_headers(<target> <linked target>...)
#   The same for a test, with GoogleTest's, and optimised lightly.

# Tests spend their time in what they test, so that they are compiled in half the time, to run as long.
function(micrec_optimize_lightly target)
  target_compile_options(${target} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O1>)
endfunction()

# Each is compiled once, as if for a part of a library; programs use them too, so these are compiled as libraries are.
file(WRITE ${PROJECT_BINARY_DIR}/headers.cpp "")
function(micrec_precompile_headers name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "HEADERS;LIBRARIES")
  add_library(${name} STATIC EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/headers.cpp)
  target_link_libraries(${name} PRIVATE micrec::openmp glog::glog ${arg_LIBRARIES})
  target_precompile_headers(${name} PRIVATE
    ${arg_HEADERS} <glog/logging.h> <algorithm> <functional> <map> <memory> <optional> <string> <vector>)
endfunction()
micrec_precompile_headers(micrec_torch_headers HEADERS <ATen/ATen.h> LIBRARIES micrec::torch)
if(MICREC_BUILD_TESTS)
  set(test_headers HEADERS <gtest/gtest.h> <gmock/gmock.h> <filesystem> <fstream> <sstream>
                   LIBRARIES GTest::gtest GTest::gmock)
  micrec_precompile_headers(micrec_test_headers ${test_headers})
  list(INSERT test_headers 1 <ATen/ATen.h>)
  micrec_precompile_headers(micrec_torch_test_headers ${test_headers} micrec::torch)
  micrec_optimize_lightly(micrec_test_headers)
  micrec_optimize_lightly(micrec_torch_test_headers)
endif()
set_property(GLOBAL PROPERTY micrec_with_torch micrec::torch)

function(micrec_carries_torch variable)
  get_property(with_torch GLOBAL PROPERTY micrec_with_torch)
  set(${variable} OFF PARENT_SCOPE)
  foreach(linked IN LISTS ARGN)
    if(linked IN_LIST with_torch)
      set(${variable} ON PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

function(micrec_reuse_headers target headers)
  target_precompile_headers(${target} REUSE_FROM ${headers})
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fPIC>)
endfunction()

function(micrec_use_torch_headers target)
  micrec_carries_torch(with_torch ${ARGN})
  if(with_torch)
    micrec_reuse_headers(${target} micrec_torch_headers)
    string(REGEX REPLACE "^micrec_" "micrec::" alias ${target})
    set_property(GLOBAL APPEND PROPERTY micrec_with_torch ${alias})
  endif()
endfunction()

function(micrec_use_test_headers target)
  micrec_optimize_lightly(${target})
  micrec_carries_torch(with_torch ${ARGN})
  if(with_torch)
    micrec_reuse_headers(${target} micrec_torch_test_headers)
  else()
    micrec_reuse_headers(${target} micrec_test_headers)
  endif()
endfunction()

function(micrec_set_warnings target)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wnon-virtual-dtor;-Woverloaded-virtual>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>")
  if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Of a type in an unnamed namespace GCC warns where a header has it, which it takes the sources compiled as one for.
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:C,CXX>:-Wno-subobject-linkage>")
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 warns of std::string in its own headers (GCC bug 105651).
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:C,CXX>:-Wno-restrict;-Wno-stringop-overflow;-Wno-array-bounds>")
  endif()
  if(MICREC_WERROR)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:C,CXX>:-Werror> "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
  endif()
endfunction()

function(micrec_add_library)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" NAME "SOURCES;PUBLIC;PRIVATE")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_NAME)
    message(FATAL_ERROR "micrec_add_library: unexpected arguments '${arg_UNPARSED_ARGUMENTS}' or no NAME")
  endif()
  set(target micrec_${arg_NAME})
  if(arg_SOURCES)
    add_library(${target} STATIC ${arg_SOURCES})
    set(visibility PUBLIC)
    target_link_libraries(${target} PRIVATE ${arg_PRIVATE})
    micrec_set_warnings(${target})
    micrec_use_torch_headers(${target} ${arg_PUBLIC} ${arg_PRIVATE})
  else()
    add_library(${target} INTERFACE)
    set(visibility INTERFACE)
  endif()
  add_library(micrec::${arg_NAME} ALIAS ${target})
  target_include_directories(${target} ${visibility} ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} ${visibility} ${arg_PUBLIC})
endfunction()

function(micrec_cuda_sources target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "CUDA;CPU")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "micrec_cuda_sources(${target}): unexpected arguments '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  if(MICREC_CUDA)
    target_sources(${target} PRIVATE ${arg_CUDA})
    # Each by itself: a test looks whose headers these are compiled with.
    set_source_files_properties(${arg_CUDA} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    target_link_libraries(${target} PRIVATE micrec::torch_cuda)
  else()
    target_sources(${target} PRIVATE ${arg_CPU})
  endif()
endfunction()
