# SPDX-License-Identifier: MIT
#
# Install rules: libraries, headers, the CMake package and the two pkg-config files.
include(CMakePackageConfigHelpers)

set(UVFLOW_CMAKE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/uvflow")
set(UVFLOW_PC_DIR "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

install(TARGETS uvflow_static uvflow_shared EXPORT uvflowTargets)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")

install(EXPORT uvflowTargets NAMESPACE uvflow:: DESTINATION "${UVFLOW_CMAKE_DIR}")
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/uvflowConfig.cmake.in" "${CMAKE_CURRENT_BINARY_DIR}/uvflowConfig.cmake"
                              INSTALL_DESTINATION "${UVFLOW_CMAKE_DIR}")
# Before 1.0 a minor version may break what the one before it promised.
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/uvflowConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/uvflowConfig.cmake" "${CMAKE_CURRENT_BINARY_DIR}/uvflowConfigVersion.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/UvflowLibuv.cmake" DESTINATION "${UVFLOW_CMAKE_DIR}")

# The prefix is found from where the file lies, so that an installed tree can be moved and `cmake --install --prefix` works.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(UVFLOW_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
  set(UVFLOW_PC_LIBDIR "${CMAKE_INSTALL_FULL_LIBDIR}")
  set(UVFLOW_PC_INCLUDEDIR "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH up "/${UVFLOW_PC_DIR}" "/")
  string(REGEX REPLACE "/$" "" up "${up}")
  set(UVFLOW_PC_PREFIX "\${pcfiledir}/${up}")
  set(UVFLOW_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(UVFLOW_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
# By name where the linker takes one, and with the folder behind -Wl: CMake's pkg-config module puts a plain path before the objects,
# where it resolves nothing, and drops a -L that none of its own -l needs. Apple's linker knows no -l:name.
set(archive "${CMAKE_STATIC_LIBRARY_PREFIX}uvflow${CMAKE_STATIC_LIBRARY_SUFFIX}")
if(APPLE)
  set(UVFLOW_PC_STATIC "\${libdir}/${archive}")
elseif(WIN32)
  set(UVFLOW_PC_STATIC "-L\${libdir} -luvflow_static")
else()
  set(UVFLOW_PC_STATIC "-Wl,-L\${libdir} -l:${archive}")
endif()
foreach(variant IN ITEMS uvflow uvflow-static)
  configure_file("${CMAKE_CURRENT_LIST_DIR}/${variant}.pc.in" "${CMAKE_CURRENT_BINARY_DIR}/${variant}.pc" @ONLY)
  install(FILES "${CMAKE_CURRENT_BINARY_DIR}/${variant}.pc" DESTINATION "${UVFLOW_PC_DIR}")
endforeach()
