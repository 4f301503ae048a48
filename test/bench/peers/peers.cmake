# SPDX-License-Identifier: MIT
#
# The peers in C and C++, each built if its library is there: uvf_bench --peers finds what is in this folder. They are
# compiled as the benchmarks are.
option(UVF_BENCH_PEERS "Build the benchmarks' peers in C and C++ whose libraries are there: GLib, nng, oneTBB" ON)

if(NOT UVF_BENCH_PEERS)
  return()
endif()
# A sanitizer's figures are nobody's, and it would have to be that of both compilers.
if(UVF_SANITIZE)
  message(STATUS "The benchmarks' peers are not built with sanitizers")
  return()
endif()

function(uvf_bench_peer name)
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${name}/*.c"
       "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/${name}/*.cc")
  add_executable(peer_${name} ${sources} "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/peer.c")
  target_include_directories(peer_${name} PRIVATE "${CMAKE_CURRENT_FUNCTION_LIST_DIR}")
  target_link_libraries(peer_${name} PRIVATE ${ARGN})
  set_target_properties(peer_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY
                                                                    "${CMAKE_CURRENT_BINARY_DIR}/bench/peers")
endfunction()

# --- GLib ------------------------------------------------------------------------------------------------------------
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(UVF_GIO QUIET IMPORTED_TARGET "gio-2.0>=2.68")
endif()
if(TARGET PkgConfig::UVF_GIO)
  uvf_bench_peer(glib PkgConfig::UVF_GIO)
else()
  message(STATUS "No peer GLib: gio-2.0 was not found (Debian: apt-get install libglib2.0-dev)")
endif()

# --- nng -------------------------------------------------------------------------------------------------------------
find_package(nng CONFIG QUIET)
if(TARGET nng::nng)
  uvf_bench_peer(nng nng::nng)
else()
  message(STATUS "No peer nng: its package was not found (Debian: apt-get install libnng-dev)")
endif()

# --- oneTBB ----------------------------------------------------------------------------------------------------------
find_package(TBB 2021 CONFIG QUIET)
if(TARGET TBB::tbb)
  include(CheckLanguage)
  check_language(CXX)
  if(CMAKE_CXX_COMPILER)
    enable_language(CXX)
    uvf_bench_peer(tbb TBB::tbb)
    target_compile_features(peer_tbb PRIVATE cxx_std_17)
    if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
      target_compile_options(
        peer_tbb PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wconversion>"
                         "$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<BOOL:${UVF_WERROR}>>:-Werror>")
    endif()
  else()
    message(STATUS "No peer TBB: there is no C++ compiler")
  endif()
else()
  message(STATUS "No peer TBB: oneTBB was not found (Debian: apt-get install libtbb-dev)")
endif()
