# Every test is a ctest entry: unit/<module>, spec/<folder>/<topic>, and what
# stands alone. `ctest -L unit` and so on run one kind.

set(host_test ${CMAKE_CURRENT_SOURCE_DIR}/host/test)
set(cli $<TARGET_FILE:luactor-cli>)

# ---- C unit tests ----------------------------------------------------------

pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
file(GLOB unit_sources CONFIGURE_DEPENDS ${host_test}/test-*.c)
foreach(source IN LISTS unit_sources)
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "^test-" "" module ${name})
  add_executable(${name} ${source} ${luactor_program_sources})
  target_include_directories(${name} PRIVATE host/src host/test)
  target_link_libraries(${name} PRIVATE
    luactor_a luactor_flags PkgConfig::CMOCKA)
  # The objects hold plain code as well: a test need not be optimized as a whole.
  target_link_options(${name} PRIVATE -fno-lto)
  # cmocka's headers want prototypes of their own shape in test tables.
  target_compile_options(${name} PRIVATE -UNDEBUG -Wno-missing-prototypes)
  add_test(NAME unit/${module} COMMAND ${name})
  set_tests_properties(unit/${module} PROPERTIES LABELS unit TIMEOUT 300)
endforeach()

# It misses what the header has and no row calls.
target_compile_definitions(test-misuse PRIVATE
  LUACTOR_HEADER="${CMAKE_CURRENT_SOURCE_DIR}/host/include/luactor.h")

# ---- the programs of examples/embed ----------------------------------------

file(GLOB embed_examples CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_SOURCE_DIR}/examples/embed/*.c)
foreach(source IN LISTS embed_examples)
  get_filename_component(name ${source} NAME_WE)
  add_executable(example-${name} ${source} ${luactor_program_sources})
  target_link_libraries(example-${name} PRIVATE luactor_a luactor_flags)
  target_link_options(example-${name} PRIVATE -fno-lto)
  add_test(NAME example/${name} COMMAND ${CMAKE_COMMAND}
    -DPROGRAM=$<TARGET_FILE:example-${name}>
    -DEXPECTED=${CMAKE_CURRENT_SOURCE_DIR}/examples/embed/expected/${name}.txt
    -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/CompareOutput.cmake)
  set_tests_properties(example/${name} PROPERTIES LABELS example TIMEOUT 120)
endforeach()

# ---- Lua specs, run by busted inside the host ------------------------------

find_file(BUSTED busted PATHS /usr/bin /usr/local/bin NO_DEFAULT_PATH)
file(GLOB_RECURSE specs CONFIGURE_DEPENDS
  RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} spec/*_spec.lua)
foreach(spec IN LISTS specs)
  if(NOT BUSTED)
    message(WARNING "busted is not installed: the specs are not registered")
    break()
  endif()
  string(REGEX REPLACE "_spec\\.lua$" "" name ${spec})
  add_test(NAME ${name}
    COMMAND ${cli} ${BUSTED} --ignore-lua -o plainTerminal ${spec}
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS spec TIMEOUT 600
    ENVIRONMENT "LUACTOR=${cli};LUACTOR_SANITIZE=${LUACTOR_SANITIZE}")
endforeach()

# ---- the rest --------------------------------------------------------------

# The same Lua programs under stock Lua and under ours; std-run runs our standard
# library without a scheduler, in slices of any size.
add_executable(std-run ${host_test}/std-run.c ${luactor_program_sources})
target_include_directories(std-run PRIVATE host/src)
target_link_libraries(std-run PRIVATE luactor_a luactor_flags)
add_test(NAME conformance COMMAND bash ${host_test}/conformance.sh ${cli}
  WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
set_tests_properties(conformance PROPERTIES LABELS conformance TIMEOUT 600
  ENVIRONMENT "LUACTOR=${cli};STD_RUN=$<TARGET_FILE:std-run>")

# The header alone, in C and in C++, without a word from the compiler.
foreach(form "c;11" "c++;17")
  list(GET form 0 language)
  list(GET form 1 year)
  add_test(NAME header-${language}${year}
    COMMAND ${CMAKE_C_COMPILER} -x ${language} -std=${language}${year} -Wall
      -Wextra -pedantic -Werror -fsyntax-only
      ${CMAKE_CURRENT_SOURCE_DIR}/host/include/luactor.h)
  set_tests_properties(header-${language}${year} PROPERTIES LABELS build)
endforeach()

# A program that loads a plugin which uses luactor, for itself alone.
if(NOT LUACTOR_SANITIZE)
  add_library(test-plugin MODULE ${host_test}/plugin/plugin.c)
  target_link_libraries(test-plugin PRIVATE luactor)
  add_executable(test-plugin-main ${host_test}/plugin/main.c)
  target_link_libraries(test-plugin-main PRIVATE ${CMAKE_DL_LIBS})
  add_test(NAME plugin
    COMMAND test-plugin-main $<TARGET_FILE:test-plugin>)
  set_tests_properties(plugin PROPERTIES LABELS build TIMEOUT 60)
endif()

# Sanitizers add symbols of their own, and want the embedder to have them too.
if(NOT LUACTOR_SANITIZE)
  add_test(NAME reference COMMAND ${cli} docs/reference/generate.lua --check
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
  set_tests_properties(reference PROPERTIES LABELS lint)
  find_program(LUACHECK luacheck)
  if(LUACHECK)
    add_test(NAME luacheck COMMAND ${LUACHECK} -q --no-color .
      WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_tests_properties(luacheck PROPERTIES LABELS lint)
  else()
    message(WARNING "luacheck (lua-check) is not installed: Lua is not checked")
  endif()
  add_test(NAME symbols COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM}
    -DSHARED=$<TARGET_FILE:luactor> -DSTATIC=$<TARGET_FILE:luactor_a>
    -DCOMMAND=${cli} -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/CheckSymbols.cmake)
  find_program(CXX NAMES g++ clang++)
  if(NOT CXX)
    message(WARNING "no C++ compiler: the header is tested as C only")
    set(CXX "")
  endif()
  add_test(NAME install COMMAND ${CMAKE_COMMAND} -DBUILD=${CMAKE_BINARY_DIR}
    -DSOURCE=${CMAKE_CURRENT_SOURCE_DIR} -DCC=${CMAKE_C_COMPILER} -DCXX=${CXX}
    -DLIBDIR=${CMAKE_INSTALL_LIBDIR} -DBUSTED=${BUSTED}
    -P ${CMAKE_CURRENT_SOURCE_DIR}/cmake/CheckInstall.cmake)
  set_tests_properties(symbols install PROPERTIES LABELS build TIMEOUT 300)
endif()
