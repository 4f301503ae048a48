# SPDX-License-Identifier: MIT
#
# Flags for everything that is compiled in this project: the library, the tests, the demos. Set for the directory, so that they
# neither reach a project that embeds uvflow nor the installed targets.

if(CMAKE_C_COMPILER_ID MATCHES "GNU|Clang")
  add_compile_options("$<$<COMPILE_LANGUAGE:C>:-Wall;-Wextra;-Wpedantic;-Wconversion>")
  if(UVF_WERROR)
    add_compile_options("$<$<COMPILE_LANGUAGE:C>:-Werror>")
  endif()
  # Debian 12's valgrind cannot read the DWARF 5 that its clang writes.
  if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    add_compile_options("$<$<AND:$<COMPILE_LANGUAGE:C>,$<CONFIG:Debug>>:-gdwarf-4>")
  endif()
endif()

if(UVF_SANITIZE)
  list(JOIN UVF_SANITIZE "," sanitizers)
  set(UVF_SANITIZE_FLAGS -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_compile_options(${UVF_SANITIZE_FLAGS})
  add_link_options(${UVF_SANITIZE_FLAGS})
endif()
