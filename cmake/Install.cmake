# make install, as three components, which are also the three Debian packages:
#
#   command      the command, its manual page, completions, stubs for editors,
#                docs and examples
#   library      the shared library
#   development  header, static library, files for pkg-config and CMake
#
# No Lua file is needed to run: lualib is inside the library.

include(CMakePackageConfigHelpers)
set(cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/luactor)
set(LUACTOR_LUA_PC ${LUA_MODULE_NAME})
set(LUACTOR_LPEG_PC ${LPEG_MODULE_NAME})

# Relative, so that the installed tree can be moved.
file(RELATIVE_PATH LUACTOR_PREFIX_FROM_PC
  /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/luactor.pc.in luactor.pc @ONLY)
configure_package_config_file(cmake/luactor-config.cmake.in
  luactor-config.cmake INSTALL_DESTINATION ${cmake_dir})
write_basic_package_version_file(luactor-config-version.cmake
  COMPATIBILITY SameMinorVersion)


set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME command)
install(TARGETS luactor-cli)
install(FILES share/luactor.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES share/completions/luactor.bash RENAME luactor
  DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES share/completions/_luactor
  DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES share/completions/luactor.fish
  DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
# The stubs of what is made in C, and the annotated modules: for editors only.
install(FILES lualib/meta/luactor.lua
  DESTINATION ${CMAKE_INSTALL_DATADIR}/luactor/meta)
install(DIRECTORY lualib/luactor
  DESTINATION ${CMAKE_INSTALL_DATADIR}/luactor/meta
  FILES_MATCHING PATTERN "*.lua" PATTERN "_*" EXCLUDE)
install(FILES README.md LICENSE CHANGELOG.md TYPE DOC)
install(DIRECTORY docs examples DESTINATION ${CMAKE_INSTALL_DOCDIR})

if(LUACTOR_INSTALL_LIBRARY)
  set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME development)
  install(TARGETS luactor EXPORT luactor-targets
    LIBRARY COMPONENT library NAMELINK_COMPONENT development)
  install(TARGETS luactor_a EXPORT luactor-targets)
  # Its objects hold what this compiler needs to optimize the command as a whole
  # besides plain code: of no use, or an error, to another.
  if(LUACTOR_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    install(CODE "execute_process(COMMAND ${CMAKE_OBJCOPY} --wildcard
      --remove-section .gnu.lto_* --remove-section .gnu.debuglto_*
      \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/libluactor.a
      COMMAND_ERROR_IS_FATAL ANY)")
  endif()
  install(EXPORT luactor-targets NAMESPACE luactor:: DESTINATION ${cmake_dir})
  install(FILES host/include/luactor.h TYPE INCLUDE)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/luactor.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/luactor-config.cmake
    ${CMAKE_CURRENT_BINARY_DIR}/luactor-config-version.cmake
    DESTINATION ${cmake_dir})
endif()
include(Package)
