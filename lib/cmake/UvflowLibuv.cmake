# SPDX-License-Identifier: MIT
#
# Finds libuv and gives it one name, uvflow::libuv. Used by the build and, installed beside uvflowConfig.cmake, by find_package(uvflow).
# libuv has shipped a CMake package since 1.45; where there is none (Debian's 1.44.2) pkg-config knows it.

set(UVFLOW_LIBUV_MINIMUM 1.44.2)

if(NOT TARGET uvflow::libuv)
  set(uvflow_libuv)
  find_package(libuv ${UVFLOW_LIBUV_MINIMUM} CONFIG QUIET)
  foreach(candidate IN ITEMS libuv::uv libuv::uv_a)
    if(TARGET ${candidate} AND NOT uvflow_libuv)
      set(uvflow_libuv ${candidate})
    endif()
  endforeach()

  if(NOT uvflow_libuv)
    find_package(PkgConfig QUIET)
    if(PkgConfig_FOUND)
      pkg_check_modules(UVFLOW_LIBUV QUIET IMPORTED_TARGET "libuv>=${UVFLOW_LIBUV_MINIMUM}")
      if(TARGET PkgConfig::UVFLOW_LIBUV)
        set(uvflow_libuv PkgConfig::UVFLOW_LIBUV)
      endif()
    endif()
  endif()

  if(uvflow_libuv)
    add_library(uvflow::libuv INTERFACE IMPORTED)
    set_target_properties(uvflow::libuv PROPERTIES INTERFACE_LINK_LIBRARIES ${uvflow_libuv})
  elseif(NOT CMAKE_FIND_PACKAGE_NAME)
    message(FATAL_ERROR "uvflow needs libuv ${UVFLOW_LIBUV_MINIMUM} or newer, found neither as a CMake package nor by "
                        "pkg-config. Debian: apt-get install libuv1-dev pkg-config")
  endif()
  unset(uvflow_libuv)
endif()
