# micrec_add_library(NAME <folder> SOURCES <file>... [PUBLIC <target>...] [PRIVATE <target>...])
#   One library a folder: target micrec_<folder>, alias micrec::<folder>. Includes are written from the
#   repository root or from src/. Without SOURCES it is a library of headers.
# micrec_cuda_sources(<target> CUDA <file>... [CPU <file>...])
#   Adds the first to a target where GPU parts are built, and the second elsewhere: they define the same
#   functions.
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
