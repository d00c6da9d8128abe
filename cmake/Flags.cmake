# Compiler flags of everything we compile, as the target luactor_flags.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)

add_library(luactor_flags INTERFACE)
target_compile_options(luactor_flags INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual
  -Wundef -fno-common)
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
  target_compile_options(luactor_flags INTERFACE -Wthread-safety)
endif()
if(LUACTOR_ASSERT)
  target_compile_options(luactor_flags INTERFACE -UNDEBUG)
endif()
if(LUACTOR_FAIL_ALLOC)
  target_compile_definitions(luactor_flags INTERFACE LUACTOR_FAIL_ALLOC=1)
endif()
if(LUACTOR_SANITIZE)
  add_compile_options(-fsanitize=${LUACTOR_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LUACTOR_SANITIZE})
endif()

# Whole-program optimization, for what runs: the command and the shared library.
# The objects carry plain code too, so that the static library serves any linker
# and the unit tests link fast.
add_library(luactor_lto INTERFACE)
if(LUACTOR_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(luactor_lto INTERFACE
    -flto=auto -ffat-lto-objects -fno-plt)
  target_link_options(luactor_lto INTERFACE -flto=auto -fno-plt)
endif()

# Sources of every program that holds the host.
set(luactor_program_sources "")
if(LUACTOR_SANITIZE MATCHES "thread")
  set(luactor_program_sources
    ${CMAKE_CURRENT_SOURCE_DIR}/host/test/tsan-jump.c)
endif()
# The thread sanitizer keeps a signal back until the thread calls a function of
# the C library, which a Lua loop does not: the tick cannot end its slice. So the
# command counts instructions there unless told otherwise.
if(LUACTOR_SANITIZE MATCHES "thread")
  target_compile_definitions(luactor_flags INTERFACE LUACTOR_PREFER_COUNT=1)
endif()
