# make install: the command, the libraries, the header, pkg-config and CMake
# packages. No Lua file is needed to run: lualib is inside the library.

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

install(TARGETS luactor-cli)
install(TARGETS luactor luactor_a EXPORT luactor-targets)
install(EXPORT luactor-targets NAMESPACE luactor:: DESTINATION ${cmake_dir})
install(FILES host/include/luactor.h TYPE INCLUDE)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/luactor.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/luactor-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/luactor-config-version.cmake
  DESTINATION ${cmake_dir})
install(FILES README.md LICENSE CHANGELOG.md TYPE DOC)
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
