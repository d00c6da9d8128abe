# host/fuzz/fuzz-<input>.c -> the libFuzzer program fuzz-<input>; its seeds, if
# any, are in host/fuzz/<input>/.

if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "LUACTOR_FUZZ needs clang (libFuzzer)")
endif()
if(LUACTOR_SANITIZE MATCHES "thread")
  message(FATAL_ERROR "LUACTOR_FUZZ brings the address sanitizer, "
    "which excludes the thread sanitizer")
endif()
set(fuzz_flags -fsanitize=fuzzer-no-link,address,undefined
  -fno-sanitize-recover=undefined)
target_compile_options(luactor_objects PRIVATE ${fuzz_flags})
# Whatever links the instrumented objects needs the runtime.
add_link_options(-fsanitize=address,undefined)
foreach(target luactor luactor-cli)
  target_link_options(${target} PRIVATE -fsanitize=address,undefined)
endforeach()

file(GLOB fuzz_sources CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_SOURCE_DIR}/host/fuzz/fuzz-*.c)
foreach(source IN LISTS fuzz_sources)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_include_directories(${name} PRIVATE host/src)
  target_compile_options(${name} PRIVATE ${fuzz_flags}
    -Wno-missing-prototypes)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_libraries(${name} PRIVATE luactor_a luactor_flags)
endforeach()
