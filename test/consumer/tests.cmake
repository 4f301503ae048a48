# SPDX-License-Identifier: MIT
#
# An installed uvflow is usable: found by CMake and by pkg-config, linked shared and static, from C and from C++.
string(JOIN " " flags ${UVF_SANITIZE_FLAGS})
# The C++ compiler of the same family, so that both halves of a sanitized program agree on its runtime.
set(cxx)
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  set(cxx "-DCXX_CHOICE=-DCMAKE_CXX_COMPILER=clang++")
endif()
foreach(via IN ITEMS package pkg-config command)
  add_test(
    NAME consumer/${via}
    COMMAND
      "${CMAKE_COMMAND}" "-DBUILD=${PROJECT_BINARY_DIR}" "-DWORK=${CMAKE_CURRENT_BINARY_DIR}/consumer/${via}" -DVIA=${via}
      "-DGENERATOR=${CMAKE_GENERATOR}" "-DCC=${CMAKE_C_COMPILER}" "-DPKG_CONFIG=${PKG_CONFIG_EXECUTABLE}" "-DFLAGS=${flags}"
      "-DLIBDIR=${CMAKE_INSTALL_LIBDIR}" "-DVERSION=${PROJECT_VERSION}" "-DSOVERSION=${PROJECT_VERSION_MAJOR}"
      "-DOBJDUMP=${CMAKE_OBJDUMP}" ${cxx} -P "${CMAKE_CURRENT_LIST_DIR}/run.cmake")
  uvf_test_common(consumer/${via} consumer 120 1)
endforeach()
# All three run `cmake --install`, which writes its manifest into the build tree.
set_tests_properties(consumer/package consumer/pkg-config consumer/command PROPERTIES RESOURCE_LOCK install)

add_test(NAME consumer/symbols
         COMMAND "${CMAKE_COMMAND}" "-DNM=${CMAKE_NM}" "-DSHARED=$<TARGET_FILE:uvflow_shared>" "-DSTATIC=$<TARGET_FILE:uvflow_static>"
                 "-DINCLUDE=${PROJECT_SOURCE_DIR}/include" -P "${CMAKE_CURRENT_LIST_DIR}/symbols.cmake")
uvf_test_common(consumer/symbols consumer 30 1)

# Every header stands alone.
file(GLOB headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/include/uvflow/*.h")
foreach(header IN LISTS headers)
  cmake_path(GET header STEM stem)
  set(alone "${CMAKE_CURRENT_BINARY_DIR}/consumer/alone_${stem}.c")
  file(CONFIGURE OUTPUT "${alone}" CONTENT "#include \"${header}\"\n#include \"${header}\"\nextern int alone_${stem};\nint alone_${stem};\n")
  list(APPEND alones "${alone}")
endforeach()
add_library(uvflow_headers_alone OBJECT ${alones})
target_link_libraries(uvflow_headers_alone PRIVATE uvflow_static)
