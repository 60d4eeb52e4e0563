# micrec_add_library(NAME <folder> SOURCES <file>... [PUBLIC <target>...] [PRIVATE <target>...])
#   One library a folder: target micrec_<folder>, alias micrec::<folder>. Includes are written from the
#   repository root or from src/. Without SOURCES it is a library of headers.
# micrec_cuda_sources(<target> <file>...)
#   Adds CUDA sources to a target where GPU parts are built, with MICREC_HAS_CUDA defined for all of its
#   sources and of those that link it; does nothing elsewhere.
# micrec_set_warnings(<target>)
#   Our warnings on our own target only.

function(micrec_set_warnings target)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wnon-virtual-dtor;-Woverloaded-virtual>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 warns of std::string::insert in its own headers (GCC bug 105651).
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:C,CXX>:-Wno-restrict>)
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
  else()
    add_library(${target} INTERFACE)
    set(visibility INTERFACE)
  endif()
  add_library(micrec::${arg_NAME} ALIAS ${target})
  target_include_directories(${target} ${visibility} ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} ${visibility} ${arg_PUBLIC})
endfunction()

function(micrec_cuda_sources target)
  if(MICREC_CUDA)
    target_sources(${target} PRIVATE ${ARGN})
    target_link_libraries(${target} PUBLIC micrec::torch_cuda)
    target_compile_definitions(${target} PUBLIC MICREC_HAS_CUDA)
  endif()
endfunction()
