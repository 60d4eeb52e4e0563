# The one file that looks for packages. It defines, besides the packages' own targets:
#   micrec::openmp  the process's only OpenMP runtime
#   micrec::torch   LibTorch; micrec::torch_cuda its GPU part, only where MICREC_CUDA is true
#   micrec::cudart  the CUDA runtime that LibTorch loads, only where MICREC_CUDA is true
#   micrec::nccl    the NCCL that LibTorch loads, only where MICREC_CUDA is true; to be linked before
#                   micrec::torch_cuda, as a toolkit's folder may hold another nccl.h
#   micrec::hdf5, micrec::metis, micrec::xxhash, micrec::zstd, micrec::deflate, micrec::httplib, micrec::hnswlib
#   micrec::faiss   only where MICREC_FAISS is true
# and the variables MICREC_CUDA (are GPU parts built), MICREC_FAISS (are indexes of FAISS), MICREC_PYTHON (the Python beside torch, or
# empty), MICREC_TORCH_DIR and MICREC_TORCH_VERSION.

# micrec_find_package(<apt package> <find_package arguments...>): as find_package(REQUIRED), but a
# missing package is answered with what to install. A macro, so that imported targets reach everyone.
macro(micrec_find_package apt_package)
  find_package(${ARGN})
  if(NOT ${ARGV1}_FOUND)
    message(FATAL_ERROR "${ARGV1} was not found. On Debian or Ubuntu: apt-get install ${apt_package}; "
                        "tests/run.sh installs everything.")
  endif()
endmacro()

function(micrec_refuse_missing name apt_package)
  message(FATAL_ERROR "${name} was not found. On Debian or Ubuntu: apt-get install ${apt_package}; "
                      "tests/run.sh installs everything.")
endfunction()

# micrec_find_headers(<name> <apt package> <header>): target micrec::<name> of a library that brings no configuration
# file for CMake and has headers alone.
function(micrec_find_headers name apt_package header)
  string(TOUPPER ${name} upper)
  find_path(MICREC_${upper}_INCLUDE ${header})
  mark_as_advanced(MICREC_${upper}_INCLUDE)
  if(NOT MICREC_${upper}_INCLUDE)
    micrec_refuse_missing(${name} ${apt_package})
  endif()
  add_library(micrec_${name} INTERFACE)
  add_library(micrec::${name} ALIAS micrec_${name})
  target_include_directories(micrec_${name} SYSTEM INTERFACE ${MICREC_${upper}_INCLUDE})
endfunction()

# micrec_find_library(<name> <apt package> <header>): the same of one that is to be linked.
function(micrec_find_library name apt_package header)
  micrec_find_headers(${name} ${apt_package} ${header})
  string(TOUPPER ${name} upper)
  find_library(MICREC_${upper}_LIBRARY ${name})
  mark_as_advanced(MICREC_${upper}_LIBRARY)
  if(NOT MICREC_${upper}_LIBRARY)
    micrec_refuse_missing(${name} ${apt_package})
  endif()
  target_link_libraries(micrec_${name} INTERFACE ${MICREC_${upper}_LIBRARY})
endfunction()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
micrec_find_package(libgflags-dev gflags QUIET)
micrec_find_package(libgoogle-glog-dev glog QUIET)
micrec_find_package(libsimdjson-dev simdjson QUIET)
micrec_find_package(nlohmann-json3-dev nlohmann_json QUIET)
micrec_find_package(zlib1g-dev ZLIB QUIET)
micrec_find_package(libbz2-dev BZip2 QUIET)
micrec_find_package(liblzma-dev LibLZMA QUIET)
micrec_find_package(libopenmpi-dev MPI QUIET COMPONENTS C)
set(HDF5_PREFER_PARALLEL OFF)  # Ranks write their own files, so the serial library is the right one.
micrec_find_package(libhdf5-dev HDF5 QUIET COMPONENTS C)
if(MICREC_BUILD_TESTS)
  micrec_find_package("libgtest-dev libgmock-dev" GTest QUIET)
  if(NOT TARGET GTest::gmock)  # CMake before 3.23 does not look for it.
    find_library(MICREC_GMOCK_LIBRARY gmock REQUIRED)
    mark_as_advanced(MICREC_GMOCK_LIBRARY)
    add_library(micrec_gmock INTERFACE)
    add_library(GTest::gmock ALIAS micrec_gmock)
    target_link_libraries(micrec_gmock INTERFACE ${MICREC_GMOCK_LIBRARY} GTest::gtest)
  endif()
  micrec_find_package(python3 Python3 QUIET COMPONENTS Interpreter)
endif()

add_library(micrec_hdf5 INTERFACE)
add_library(micrec::hdf5 ALIAS micrec_hdf5)
target_include_directories(micrec_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_compile_definitions(micrec_hdf5 INTERFACE ${HDF5_C_DEFINITIONS})
target_link_libraries(micrec_hdf5 INTERFACE ${HDF5_C_LIBRARIES})

# Its package of Debian is a library; elsewhere it is a header alone.
micrec_find_headers(httplib libcpp-httplib-dev httplib.h)
find_library(MICREC_HTTPLIB_LIBRARY cpp-httplib)
mark_as_advanced(MICREC_HTTPLIB_LIBRARY)
target_link_libraries(micrec_httplib INTERFACE Threads::Threads)
if(MICREC_HTTPLIB_LIBRARY)
  # What the library was built with: its classes have members for each.
  target_compile_definitions(micrec_httplib INTERFACE
    CPPHTTPLIB_OPENSSL_SUPPORT CPPHTTPLIB_ZLIB_SUPPORT CPPHTTPLIB_BROTLI_SUPPORT)
  target_link_libraries(micrec_httplib INTERFACE ${MICREC_HTTPLIB_LIBRARY})
endif()

micrec_find_headers(hnswlib libhnswlib-dev hnswlib/hnswlib.h)
micrec_find_library(xxhash libxxhash-dev xxhash.h)
micrec_find_library(zstd libzstd-dev zstd.h)
micrec_find_library(deflate libdeflate-dev libdeflate.h)
micrec_find_library(metis libmetis-dev metis.h)

# --- LibTorch ----------------------------------------------------------------------------------------
# Made by hand from the folder and not by find_package(Torch): the configuration file of a CUDA wheel
# stops the configure where no CUDA toolkit is installed, and the CPU part of such a wheel needs none.
set(micrec_torch_hint "${MICREC_TORCH}")
if(NOT micrec_torch_hint)
  set(micrec_torch_hint "$ENV{MICREC_TORCH}")
endif()
if(NOT micrec_torch_hint)
  set(micrec_cache "$ENV{XDG_CACHE_HOME}")
  if(NOT micrec_cache)
    set(micrec_cache "$ENV{HOME}/.cache")
  endif()
  set(micrec_torch_hint "${micrec_cache}/micrec/torch-2.11.0")
endif()
file(GLOB micrec_torch_candidates
     "${micrec_torch_hint}" "${micrec_torch_hint}/torch" "${micrec_torch_hint}/libtorch"
     "${micrec_torch_hint}/lib/python3*/site-packages/torch"
     "${micrec_torch_hint}/lib64/python3*/site-packages/torch")
unset(MICREC_TORCH_DIR)
foreach(candidate IN LISTS micrec_torch_candidates)
  if(EXISTS "${candidate}/lib/libtorch_cpu.so" AND EXISTS "${candidate}/include/ATen/ATen.h")
    set(MICREC_TORCH_DIR "${candidate}")
    break()
  endif()
endforeach()
if(NOT MICREC_TORCH_DIR)
  message(FATAL_ERROR
    "No LibTorch in '${micrec_torch_hint}' (looked for lib/libtorch_cpu.so and include/ATen/ATen.h there "
    "and in its site-packages). Run launcher/setup.sh, which puts one into the cache folder, or set "
    "MICREC_TORCH to a torch or LibTorch folder or to a Python environment that holds torch.")
endif()
set(MICREC_TORCH_VERSION unknown)
if(EXISTS "${MICREC_TORCH_DIR}/version.py")
  file(STRINGS "${MICREC_TORCH_DIR}/version.py" MICREC_TORCH_VERSION REGEX "^__version__ *= *'")
  string(REGEX REPLACE ".*'(.*)'.*" "\\1" MICREC_TORCH_VERSION "${MICREC_TORCH_VERSION}")
elseif(EXISTS "${MICREC_TORCH_DIR}/build-version")
  file(STRINGS "${MICREC_TORCH_DIR}/build-version" MICREC_TORCH_VERSION LIMIT_COUNT 1)
endif()
file(STRINGS "${MICREC_TORCH_DIR}/lib/libc10.so" torch_new_abi REGEX "NSt7__cxx1112basic_string" LIMIT_COUNT 1)
if(NOT torch_new_abi)
  message(FATAL_ERROR "The torch in ${MICREC_TORCH_DIR} was built with the old C++ string ABI, which the "
                      "system's libraries do not have. Use torch 2.7 or newer, or a cxx11-abi LibTorch.")
endif()

add_library(micrec_torch INTERFACE)
add_library(micrec::torch ALIAS micrec_torch)
target_include_directories(micrec_torch SYSTEM INTERFACE
  "${MICREC_TORCH_DIR}/include" "${MICREC_TORCH_DIR}/include/torch/csrc/api/include")
# Without C10_USE_GLOG LibTorch's own LOG and CHECK silently replace glog's.
target_compile_definitions(micrec_torch INTERFACE C10_USE_GLOG)
target_link_libraries(micrec_torch INTERFACE
  "${MICREC_TORCH_DIR}/lib/libtorch_cpu.so" "${MICREC_TORCH_DIR}/lib/libc10.so" glog::glog Threads::Threads)

# Of lib/python3.x/site-packages/torch, four folders up. Unresolved: the link is what makes it the environment's.
get_filename_component(micrec_python "${MICREC_TORCH_DIR}/../../../../bin/python" ABSOLUTE)
if(NOT EXISTS "${micrec_python}")
  set(micrec_python "")
endif()
set(MICREC_PYTHON "${micrec_python}" CACHE INTERNAL "The Python beside torch")

# --- OpenMP ------------------------------------------------------------------------------------------
# A torch wheel brings its own libgomp. A second one in the process would mean two thread pools fighting
# for the cores, so we compile for OpenMP but link the one that torch loads.
file(GLOB micrec_torch_gomp "${MICREC_TORCH_DIR}/lib/libgomp*.so*")
add_library(micrec_openmp INTERFACE)
add_library(micrec::openmp ALIAS micrec_openmp)
if(micrec_torch_gomp)
  list(GET micrec_torch_gomp 0 micrec_torch_gomp)
else()
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  set(micrec_torch_gomp ${OpenMP_CXX_LIBRARIES})
endif()
target_link_libraries(micrec_openmp INTERFACE ${micrec_torch_gomp} Threads::Threads)
if(MICREC_SANITIZE STREQUAL "thread" OR MICREC_FUZZ)
  # ThreadSanitizer does not see how libgomp starts and ends a parallel region and takes every one for a race.
  # Without it loops are serial, and what is checked are the threads of ranks, watchdogs and writers.
  # clang's OpenMP is not the libgomp that torch loads, and readers need none.
  target_compile_options(micrec_openmp INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:-Wno-unknown-pragmas>)
else()
  target_compile_options(micrec_openmp INTERFACE
    $<$<COMPILE_LANGUAGE:C,CXX>:-fopenmp> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-fopenmp>)
endif()

# --- FAISS -------------------------------------------------------------------------------------------
# For `micrec export --format=faiss`, and not needed for anything else. By hand and not by its configuration file,
# which would bring a second OpenMP into the process: Debian's libfaiss.a takes LibTorch's. LibTorch has a BLAS and most
# of a LAPACK, under the names that the system's have: the one that the program names first serves both, so LibTorch
# stands before the system's, in one flag that CMake does not take apart. Otherwise LibTorch's products would become
# those of the system's BLAS.
set(MICREC_FAISS OFF)
find_path(MICREC_FAISS_INCLUDE faiss/IndexFlat.h)
find_library(MICREC_FAISS_LIBRARY faiss)
find_library(MICREC_LAPACK_LIBRARY lapack)
find_library(MICREC_BLAS_LIBRARY blas)
mark_as_advanced(MICREC_FAISS_INCLUDE MICREC_FAISS_LIBRARY MICREC_LAPACK_LIBRARY MICREC_BLAS_LIBRARY)
if(MICREC_FAISS_INCLUDE AND MICREC_FAISS_LIBRARY AND MICREC_LAPACK_LIBRARY AND MICREC_BLAS_LIBRARY)
  set(MICREC_FAISS ON)
  add_library(micrec_faiss INTERFACE)
  add_library(micrec::faiss ALIAS micrec_faiss)
  target_include_directories(micrec_faiss SYSTEM INTERFACE ${MICREC_FAISS_INCLUDE})
  target_link_libraries(micrec_faiss INTERFACE ${MICREC_FAISS_LIBRARY}
    "-Wl,${MICREC_TORCH_DIR}/lib/libtorch_cpu.so,${MICREC_LAPACK_LIBRARY},${MICREC_BLAS_LIBRARY}" micrec::openmp)
endif()

# --- CUDA --------------------------------------------------------------------------------------------
set(MICREC_CUDA OFF)
set(micrec_no_cuda "")
if(NOT MICREC_WITH_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "MICREC_WITH_CUDA is '${MICREC_WITH_CUDA}'; expected AUTO, ON or OFF.")
endif()
if(MICREC_WITH_CUDA STREQUAL "OFF")
  set(micrec_no_cuda "MICREC_WITH_CUDA=OFF")
elseif(NOT EXISTS "${MICREC_TORCH_DIR}/lib/libtorch_cuda.so")
  set(micrec_no_cuda "this torch has no CUDA part")
else()
  # 75 to 120 run on these three: each real code serves its major version, and 90's PTX what is newer.
  # Set before the language is enabled: CMake 3.25 would try an architecture that nvcc 13 has dropped.
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 90 CACHE STRING "GPU architectures to compile for")
  endif()
  set(CMAKE_CUDA_STANDARD 17)  # CMake 3.25 does not know nvcc's C++20 flag.
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  include(CheckLanguage)
  find_package(CUDAToolkit QUIET)
  check_language(CUDA)
  string(REGEX MATCH "cu([0-9]+)[0-9]$" torch_cuda "${MICREC_TORCH_VERSION}")
  if(NOT CUDAToolkit_FOUND OR NOT CMAKE_CUDA_COMPILER)
    set(micrec_no_cuda "no CUDA toolkit with nvcc was found")
  elseif(torch_cuda AND NOT CMAKE_MATCH_1 EQUAL CUDAToolkit_VERSION_MAJOR)
    set(micrec_no_cuda "torch is built for CUDA ${CMAKE_MATCH_1} and the toolkit is ${CUDAToolkit_VERSION}")
  else()
    # LibTorch's own NCCL first: a process loads only one, and its header must be of that version.
    set(micrec_torch_nccl "${MICREC_TORCH_DIR}/../nvidia/nccl")
    find_path(MICREC_NCCL_INCLUDE nccl.h
              HINTS "${micrec_torch_nccl}/include" "${MICREC_TORCH_DIR}/include" ${CUDAToolkit_INCLUDE_DIRS})
    find_library(MICREC_NCCL_LIBRARY NAMES libnccl.so.2 nccl
                 HINTS "${micrec_torch_nccl}/lib" "${MICREC_TORCH_DIR}/lib" ${CUDAToolkit_LIBRARY_DIR})
    mark_as_advanced(MICREC_NCCL_INCLUDE MICREC_NCCL_LIBRARY)
    # LibTorch's own CUDA runtime too: each runtime in a process has streams and errors of its own.
    file(GLOB micrec_torch_cudart
         "${MICREC_TORCH_DIR}/../nvidia/cu${CUDAToolkit_VERSION_MAJOR}/lib/libcudart.so.${CUDAToolkit_VERSION_MAJOR}"
         "${MICREC_TORCH_DIR}/../nvidia/cuda_runtime/lib/libcudart.so.${CUDAToolkit_VERSION_MAJOR}"
         "${MICREC_TORCH_DIR}/lib/libcudart*.so*")
    if(micrec_torch_cudart)
      list(GET micrec_torch_cudart 0 micrec_torch_cudart)
      get_filename_component(micrec_torch_cudart "${micrec_torch_cudart}" ABSOLUTE)
      set(MICREC_CUDART_LIBRARY "${micrec_torch_cudart}" CACHE FILEPATH "The shared CUDA runtime that torch loads")
    else()  # A torch built on this machine: it loads the system's.
      find_library(MICREC_CUDART_LIBRARY NAMES libcudart.so.${CUDAToolkit_VERSION_MAJOR} libcudart.so
                   HINTS ${CUDAToolkit_LIBRARY_DIR})
    endif()
    mark_as_advanced(MICREC_CUDART_LIBRARY)
    if(NOT MICREC_NCCL_INCLUDE OR NOT MICREC_NCCL_LIBRARY)
      set(micrec_no_cuda "no NCCL (nccl.h and libnccl.so.2) was found beside torch or in the system")
    elseif(NOT MICREC_CUDART_LIBRARY)
      set(micrec_no_cuda "no shared CUDA runtime (libcudart.so) was found beside torch or in the toolkit")
    else()
      set(MICREC_CUDA ON)
    endif()
  endif()
endif()
if(MICREC_CUDA)
  if(MICREC_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${MICREC_CCACHE})
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY None)  # micrec::cudart is it; CMake would add a static one.
  enable_language(CUDA)
  add_library(micrec_cudart INTERFACE)
  add_library(micrec::cudart ALIAS micrec_cudart)
  target_include_directories(micrec_cudart SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(micrec_cudart INTERFACE ${MICREC_CUDART_LIBRARY} Threads::Threads)

  add_library(micrec_torch_cuda INTERFACE)
  add_library(micrec::torch_cuda ALIAS micrec_torch_cuda)
  # Without fused multiply-adds a kernel gives the bits of the same code on a CPU.
  target_compile_options(micrec_torch_cuda INTERFACE
    "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr;--fmad=false>")
  # torch_cuda registers its operators when it is loaded and few symbols of it are named, so the linker
  # must not drop it as unneeded (Ubuntu's default).
  target_link_libraries(micrec_torch_cuda INTERFACE micrec::torch
    "-Wl,--push-state,--no-as-needed" "${MICREC_TORCH_DIR}/lib/libtorch_cuda.so"
    "${MICREC_TORCH_DIR}/lib/libc10_cuda.so" "-Wl,--pop-state" micrec::cudart)

  add_library(micrec_nccl INTERFACE)
  add_library(micrec::nccl ALIAS micrec_nccl)
  target_include_directories(micrec_nccl SYSTEM INTERFACE ${MICREC_NCCL_INCLUDE})
  target_link_libraries(micrec_nccl INTERFACE ${MICREC_NCCL_LIBRARY} micrec::cudart)

  # The header that is compiled must be the one chosen: flags or variables such as CPATH may put another first.
  set(micrec_nccl_flags ${MICREC_NCCL_INCLUDE} ${CUDAToolkit_INCLUDE_DIRS})
  list(TRANSFORM micrec_nccl_flags PREPEND -isystem)
  try_compile(micrec_nccl_compiles ${PROJECT_BINARY_DIR}/nccl_header
              SOURCES ${PROJECT_SOURCE_DIR}/cmake/nccl_header.cpp
              COMPILE_DEFINITIONS -H ${micrec_nccl_flags}  # -H names every file included
              OUTPUT_VARIABLE micrec_nccl_output)
  string(REGEX MATCH "\n\\. ([^\n]*nccl\\.h)" micrec_nccl_header "\n${micrec_nccl_output}")
  set(micrec_nccl_header "${CMAKE_MATCH_1}")
  file(REAL_PATH "${micrec_nccl_header}" micrec_nccl_compiled BASE_DIRECTORY ${PROJECT_BINARY_DIR})
  file(REAL_PATH "${MICREC_NCCL_INCLUDE}/nccl.h" micrec_nccl_chosen)
  if(NOT micrec_nccl_compiles)
    message(FATAL_ERROR "${MICREC_NCCL_INCLUDE}/nccl.h does not compile; set MICREC_NCCL_INCLUDE to the folder "
                        "of another, of the same major version as ${MICREC_NCCL_LIBRARY}.\n${micrec_nccl_output}")
  elseif(NOT micrec_nccl_compiled STREQUAL micrec_nccl_chosen)
    message(FATAL_ERROR "The compiler takes ${micrec_nccl_header} for nccl.h and not the chosen one in "
                        "${MICREC_NCCL_INCLUDE}; look for a folder that comes first in CPATH, CPLUS_INCLUDE_PATH or "
                        "CMAKE_CXX_FLAGS, or set MICREC_NCCL_INCLUDE to that folder.")
  endif()
  set(micrec_nccl_version "")
  foreach(part IN ITEMS MAJOR MINOR PATCH)
    file(STRINGS "${MICREC_NCCL_INCLUDE}/nccl.h" line REGEX "^#define NCCL_${part} +[0-9]+" LIMIT_COUNT 1)
    string(REGEX MATCH "[0-9]+$" number "${line}")
    list(APPEND micrec_nccl_version "${number}")
  endforeach()
  list(JOIN micrec_nccl_version "." micrec_nccl_version)
elseif(MICREC_WITH_CUDA STREQUAL "ON")
  message(FATAL_ERROR "MICREC_WITH_CUDA=ON, but ${micrec_no_cuda}. Install a toolkit that fits torch "
                      "${MICREC_TORCH_VERSION}, or use MICREC_WITH_CUDA=AUTO.")
endif()

message(STATUS "torch ${MICREC_TORCH_VERSION} in ${MICREC_TORCH_DIR}")
if(MICREC_CUDA)
  message(STATUS "CUDA ${CUDAToolkit_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}, runtime ${MICREC_CUDART_LIBRARY}")
  message(STATUS "NCCL ${MICREC_NCCL_LIBRARY}, header ${micrec_nccl_header} of ${micrec_nccl_version}")
else()
  message(STATUS "CPU only: ${micrec_no_cuda}")
endif()
