# micrec_add_test(NAME <name> SOURCES <file>... [LIBRARIES <target>...] [LABELS unit|mpi|gpu|slow|lint...]
#                 [RANKS <n>...] [TIMEOUT <seconds>])
#   A GoogleTest binary test_<name> and one ctest entry for it (LibTorch takes a second to load, so there
#   is no entry a test case). With RANKS, an entry <name>_np<n> a number of ranks under mpirun, labelled
#   mpi; its sources then bring a main() that starts and ends MPI. GoogleTest's main serves the others.
#   Every test source sees MICREC_SOURCE_DIR (golden files), MICREC_PYTHON (the oracles' Python with torch,
#   numpy and h5py, or "") and MICREC_PROGRAM (the program micrec), as string literals.
#
# micrec_add_python_test(NAME <name> SCRIPT <file> [ARGUMENTS <argument>...] TIMEOUT <seconds>
#                        LABELS <label>... [PROCESSORS <n>] [PYTHON <interpreter>])
#   A ctest entry that runs a script of the calling folder by the oracles' Python, or by another one. It is
#   skipped where there is no such Python, and where the script says why it cannot run and ends with 77.

set(micrec_test_environment
    "OMPI_MCA_btl_vader_single_copy_mechanism=none"  # containers often forbid cross-memory attach
    "OMPI_MCA_mpi_yield_when_idle=1")                # ranks may be more than cores
set(micrec_timeout_factor 1)
if(MICREC_SANITIZE)
  set(micrec_timeout_factor 5)
  set(suppressions "${PROJECT_SOURCE_DIR}/tests/sanitizers")
  list(APPEND micrec_test_environment
    "ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1"
    "LSAN_OPTIONS=suppressions=${suppressions}/leak.supp:print_suppressions=0"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=suppressions=${suppressions}/thread.supp:ignore_noninstrumented_modules=1:halt_on_error=1:history_size=7")
endif()

execute_process(COMMAND ${MPIEXEC_EXECUTABLE} --version OUTPUT_VARIABLE micrec_mpi_version ERROR_QUIET)
set(MICREC_MPIEXEC ${MPIEXEC_EXECUTABLE})
if(micrec_mpi_version MATCHES "Open MPI|OpenRTE|PRTE|prterun")
  list(APPEND MICREC_MPIEXEC --allow-run-as-root --oversubscribe)
endif()
list(JOIN MICREC_MPIEXEC " " MICREC_MPIEXEC_LINE)  # as one argument

# micrec_set_test_properties(<test> <timeout in seconds without a sanitizer> [LABELS <label>...] [PROCESSORS <n>])
function(micrec_set_test_properties test timeout)
  math(EXPR timeout "${timeout} * ${micrec_timeout_factor}")
  cmake_parse_arguments(PARSE_ARGV 2 property "" "PROCESSORS" "LABELS")
  set(environment ${micrec_test_environment})
  if("mpi" IN_LIST property_LABELS)
    # Open MPI forgets memory in modules that it has closed, which no suppression can name, and LeakSanitizer itself
    # crashes at times in its processes.
    list(TRANSFORM environment APPEND ":detect_leaks=0" REGEX "^ASAN_OPTIONS=")
  endif()
  set_tests_properties(${test} PROPERTIES TIMEOUT ${timeout} ENVIRONMENT "${environment}")
  set_property(TEST ${test} PROPERTY LABELS ${property_LABELS})
  if(property_PROCESSORS)
    set_property(TEST ${test} PROPERTY PROCESSORS ${property_PROCESSORS})
  endif()
endfunction()

function(micrec_add_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;TIMEOUT" "SOURCES;LIBRARIES;LABELS;RANKS")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_NAME OR NOT arg_SOURCES)
    message(FATAL_ERROR "micrec_add_test(${arg_NAME}): unexpected arguments "
                        "'${arg_UNPARSED_ARGUMENTS}', or no NAME or SOURCES")
  endif()
  set(target test_${arg_NAME})
  add_executable(${target} ${arg_SOURCES})
  micrec_set_warnings(${target})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${target} PRIVATE ${arg_LIBRARIES} GTest::gtest_main)
  micrec_use_test_headers(${target} ${arg_LIBRARIES})
  target_compile_definitions(${target} PRIVATE
    MICREC_SOURCE_DIR="${PROJECT_SOURCE_DIR}" MICREC_PYTHON="${MICREC_PYTHON}"
    MICREC_PROGRAM="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/micrec")
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)

  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 180)
    if("slow" IN_LIST arg_LABELS)
      set(arg_TIMEOUT 1200)
    endif()
  endif()

  if(NOT arg_RANKS)
    if(NOT arg_LABELS)
      set(arg_LABELS unit)
    endif()
    add_test(NAME ${arg_NAME} COMMAND ${target})
    micrec_set_test_properties(${arg_NAME} ${arg_TIMEOUT} LABELS ${arg_LABELS})
  endif()
  foreach(ranks IN LISTS arg_RANKS)
    set(entry ${arg_NAME}_np${ranks})
    add_test(NAME ${entry} COMMAND ${MICREC_MPIEXEC} ${MPIEXEC_NUMPROC_FLAG} ${ranks} $<TARGET_FILE:${target}>)
    set(labels mpi ${arg_LABELS})
    list(REMOVE_DUPLICATES labels)
    micrec_set_test_properties(${entry} ${arg_TIMEOUT} LABELS ${labels} PROCESSORS ${ranks})
    set_property(TEST ${entry} APPEND PROPERTY ENVIRONMENT OMP_NUM_THREADS=1)
  endforeach()
endfunction()

function(micrec_add_python_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;SCRIPT;TIMEOUT;PROCESSORS;PYTHON" "ARGUMENTS;LABELS")
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_NAME OR NOT arg_SCRIPT OR NOT arg_TIMEOUT)
    message(FATAL_ERROR "micrec_add_python_test(${arg_NAME}): unexpected arguments "
                        "'${arg_UNPARSED_ARGUMENTS}', or no NAME, SCRIPT or TIMEOUT")
  endif()
  if(NOT arg_PYTHON)
    set(arg_PYTHON "${MICREC_PYTHON}")
  endif()
  if(arg_PYTHON)
    add_test(NAME ${arg_NAME} COMMAND ${arg_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/${arg_SCRIPT} ${arg_ARGUMENTS})
    set_tests_properties(${arg_NAME} PROPERTIES SKIP_RETURN_CODE 77)
  else()
    add_test(NAME ${arg_NAME} COMMAND ${CMAKE_COMMAND} -E echo "no Python with numpy and h5py")
    set_tests_properties(${arg_NAME} PROPERTIES SKIP_REGULAR_EXPRESSION "no Python with")
  endif()
  micrec_set_test_properties(${arg_NAME} ${arg_TIMEOUT} LABELS ${arg_LABELS} PROCESSORS ${arg_PROCESSORS})
endfunction()
