# How the build itself runs: compiler cache, linker, sanitizers. Nothing here changes what is built.
include(CheckLinkerFlag)

if(NOT CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(MICREC_CCACHE ccache)
  mark_as_advanced(MICREC_CCACHE)
  if(MICREC_CCACHE)
    # Precompiled headers are stored by their contents.
    set(micrec_ccache ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${MICREC_CCACHE})
    set(CMAKE_C_COMPILER_LAUNCHER ${micrec_ccache})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${micrec_ccache})
    add_compile_options($<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fpch-preprocess>)
  endif()
endif()

# LibTorch is a 450 MB library: a fast linker saves seconds on each of the test binaries. An old GCC
# does not know -fuse-ld=mold, so the flag is tried and not only the program.
if(NOT CMAKE_EXE_LINKER_FLAGS MATCHES "-fuse-ld=")
  foreach(linker IN ITEMS mold lld)
    check_linker_flag(CXX -fuse-ld=${linker} MICREC_LINKS_WITH_${linker})
    if(MICREC_LINKS_WITH_${linker})
      add_link_options($<$<LINK_LANGUAGE:C,CXX>:-fuse-ld=${linker}>)
      break()
    endif()
  endforeach()
endif()

if(MICREC_SANITIZE STREQUAL "address")
  set(MICREC_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(MICREC_SANITIZE STREQUAL "thread")
  set(MICREC_SANITIZE_FLAGS -fsanitize=thread)
elseif(MICREC_SANITIZE)
  message(FATAL_ERROR "MICREC_SANITIZE is '${MICREC_SANITIZE}'; expected empty, address or thread.")
endif()
if(MICREC_SANITIZE)
  # Lines are enough for a report, and -O2 doubles the time to compile.
  add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:${MICREC_SANITIZE_FLAGS};-fno-omit-frame-pointer;-O1;-g1>")
  add_link_options(${MICREC_SANITIZE_FLAGS})
endif()

if(MICREC_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang" OR NOT MICREC_SANITIZE STREQUAL "address")
    message(FATAL_ERROR "MICREC_FUZZ needs clang, which brings libFuzzer, and MICREC_SANITIZE=address; "
                        "use the preset fuzz (on Debian or Ubuntu: apt-get install clang-14 libclang-rt-14-dev).")
  endif()
  add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-fsanitize=fuzzer-no-link>")
endif()
