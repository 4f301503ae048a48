# SPDX-License-Identifier: MIT
#
# Installs the build BUILD into a prefix of its own, then builds the project beside this file against it through CMake's package or through
# pkg-config (VIA), and runs its programs.
cmake_minimum_required(VERSION 3.25)
set(prefix "${WORK}/prefix")
file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "${command}\nended with ${result}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

# Only what this test installs may be found: a uvflow elsewhere on the machine must not answer for it.
set(ENV{PKG_CONFIG_PATH} "${prefix}/${LIBDIR}/pkgconfig:$ENV{PKG_CONFIG_PATH}")

run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${prefix}")

if(VIA STREQUAL "command")
  # What a Makefile does: the compiler and pkg-config, no CMake.
  foreach(kind IN ITEMS shared static)
    set(module uvflow)
    if(kind STREQUAL "static")
      set(module uvflow-static)
    endif()
    run("${PKG_CONFIG}" --print-errors --cflags --libs ${module})
    separate_arguments(flags UNIX_COMMAND "${output}")
    separate_arguments(extra UNIX_COMMAND "${FLAGS}")
    run("${CC}" -std=gnu11 -Wall -Werror ${extra} -o "${WORK}/c_${kind}" "${CMAKE_CURRENT_LIST_DIR}/consumer.c" ${flags}
        "-Wl,-rpath,${prefix}/${LIBDIR}")
  endforeach()
  set(programs c_shared c_static)
  set(folder "${WORK}")
else()
  set(pkg_config OFF)
  if(VIA STREQUAL "pkg-config")
    set(pkg_config ON)
  endif()
  set(folder "${WORK}/build")
  run("${CMAKE_COMMAND}" -G "${GENERATOR}" -S "${CMAKE_CURRENT_LIST_DIR}" -B "${folder}" "-DCMAKE_C_COMPILER=${CC}"
      "-DCMAKE_C_FLAGS=${FLAGS}" "-DCMAKE_CXX_FLAGS=${FLAGS}" "-DCMAKE_PREFIX_PATH=${prefix}" -DCONSUMER_PKG_CONFIG=${pkg_config}
      "-DCMAKE_BUILD_RPATH=${prefix}/${LIBDIR}" ${CXX_CHOICE})
  run("${CMAKE_COMMAND}" --build "${folder}")
  set(programs c_shared c_static cxx_shared cxx_static)
endif()

foreach(program IN LISTS programs)
  run("${folder}/${program}")
  if(NOT output STREQUAL "uvflow ${VERSION} works\n")
    message(FATAL_ERROR "${program} of ${VIA} printed: ${output}")
  endif()
endforeach()

# Which library a program took is seen in what it asks the loader for.
if(OBJDUMP)
  foreach(program IN LISTS programs)
    run("${OBJDUMP}" -p "${folder}/${program}")
    string(REGEX MATCH "libuvflow\\.so\\.[0-9]+" needed "${output}")
    if(program MATCHES "shared$" AND NOT needed STREQUAL "libuvflow.so.${SOVERSION}")
      message(FATAL_ERROR "${program} of ${VIA} needs '${needed}', not libuvflow.so.${SOVERSION}")
    elseif(program MATCHES "static$" AND needed)
      message(FATAL_ERROR "${program} of ${VIA} was to be linked statically and needs ${needed}")
    endif()
  endforeach()
endif()
