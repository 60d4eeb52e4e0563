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

# Compiled once, as if for a part of a library; programs use them too, so these are compiled as libraries are.
file(WRITE ${PROJECT_BINARY_DIR}/torch_headers.cpp "")
add_library(micrec_torch_headers STATIC EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/torch_headers.cpp)
target_link_libraries(micrec_torch_headers PRIVATE micrec::torch micrec::openmp)
target_precompile_headers(micrec_torch_headers PRIVATE
  <ATen/ATen.h> <glog/logging.h> <algorithm> <functional> <map> <memory> <optional> <string> <vector>)
set_property(GLOBAL PROPERTY micrec_with_torch micrec::torch)

function(micrec_use_torch_headers target)
  string(REGEX REPLACE "^micrec_" "micrec::" alias ${target})
  get_property(with_torch GLOBAL PROPERTY micrec_with_torch)
  foreach(linked IN LISTS ARGN)
    if(linked IN_LIST with_torch)
      target_precompile_headers(${target} REUSE_FROM micrec_torch_headers)
      target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fPIC>)
      set_property(GLOBAL APPEND PROPERTY micrec_with_torch ${alias})
      return()
    endif()
  endforeach()
endfunction()

function(micrec_set_warnings target)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wnon-virtual-dtor;-Woverloaded-virtual>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>")
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
    target_link_libraries(${target} PRIVATE micrec::torch_cuda)
  else()
    target_sources(${target} PRIVATE ${arg_CPU})
  endif()
endfunction()
