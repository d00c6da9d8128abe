# Debian packages:
#   cmake --preset deb && cmake --build --preset deb && cpack --preset deb
# The preset builds for the prefix /usr, where Debian's folder for libraries is.

set(LUACTOR_PACKAGER "luactor authors <luactor@localhost>" CACHE STRING
  "Who makes the packages: name and address of the maintainer")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME luactor)
set(CPACK_PACKAGE_CONTACT "${LUACTOR_PACKAGER}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "host of Lua actors")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL command library development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_SOURCE_DIR}/cmake/DebianTree.cmake)

get_target_property(soversion luactor SOVERSION)
set(library_package libluactor${soversion})
set(text "luactor runs Lua programs made of processes: small, isolated Lua states
that share nothing and talk by messages, in the way of Erlang.
")

# Who uses the library has the dynamic linker look for it again.
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA
  ${CMAKE_CURRENT_BINARY_DIR}/triggers)

set(CPACK_DEBIAN_COMMAND_PACKAGE_NAME luactor)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SECTION interpreters)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SUGGESTS "lua-busted, lua-check")
set(CPACK_COMPONENT_COMMAND_DESCRIPTION "${text}
This package has the command.")

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME ${library_package})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "${text}
This package has the library for C programs that embed it.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libluactor-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
string(CONCAT CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
  "${library_package} (= ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}), "
  "liblua5.4-dev, libuv1-dev, libssl-dev, lua-lpeg-dev")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "${text}
This package has what is needed to build C programs that embed it.")

include(CPack)
