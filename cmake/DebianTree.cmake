# Run by cpack on the staged tree of each package: what Debian's policy wants of
# it beyond `cmake --install`.

file(GLOB trees LIST_DIRECTORIES true ${CPACK_TEMPORARY_DIRECTORY}/*)
foreach(tree IN LISTS trees)
  if(NOT IS_DIRECTORY ${tree}/usr)
    continue()
  endif()
  get_filename_component(component ${tree} NAME)
  string(TOUPPER ${component} upper)
  set(name ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
  set(doc ${tree}/usr/share/doc/${name})

  # The licence and the list of changes under the names of Debian, in every package.
  set(source ${CMAKE_CURRENT_LIST_DIR}/..)
  file(MAKE_DIRECTORY ${doc})
  file(READ ${source}/LICENSE licence)
  string(REGEX MATCH "Copyright[^\n]*" holder "${licence}")
  string(REGEX REPLACE "^.*(Permission is)" "\\1" licence "${licence}")
  string(REGEX REPLACE "\n\n" "\n.\n" licence "${licence}")
  string(REGEX REPLACE "\n([^\n])" "\n \\1" licence "${licence}")
  string(STRIP "${licence}" licence)
  file(WRITE ${doc}/copyright
    "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: luactor

Files: *
${holder}
License: Expat

License: Expat
 ${licence}
")
  file(READ ${doc}/copyright text)
  string(REPLACE "Copyright (c)" "Copyright:" text "${text}")
  file(WRITE ${doc}/copyright "${text}")
  file(REMOVE ${doc}/LICENSE ${doc}/CHANGELOG.md)
  execute_process(
    COMMAND gzip -9nc ${source}/CHANGELOG.md
    OUTPUT_FILE ${doc}/changelog.gz COMMAND_ERROR_IS_FATAL ANY)
  string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
  file(WRITE ${doc}/changelog.Debian
"${CPACK_PACKAGE_NAME} (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium

  * What is new is in changelog.gz.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
  execute_process(
    COMMAND gzip -9nf ${doc}/changelog.Debian COMMAND_ERROR_IS_FATAL ANY)

  file(GLOB manuals ${tree}/usr/share/man/man1/*.1)
  if(manuals)
    execute_process(COMMAND gzip -9nf ${manuals} COMMAND_ERROR_IS_FATAL ANY)
  endif()
  # zsh of Debian looks elsewhere.
  if(EXISTS ${tree}/usr/share/zsh/site-functions)
    file(RENAME ${tree}/usr/share/zsh/site-functions
      ${tree}/usr/share/zsh/vendor-completions)
  endif()
  file(GLOB_RECURSE libraries ${tree}/usr/lib/*.so.*)
  foreach(library IN LISTS libraries)
    file(CHMOD ${library} PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
  endforeach()
  if(libraries) # cpack writes scripts that call ldconfig, whatever the trigger
    file(WRITE ${tree}/usr/share/lintian/overrides/${name}
      "${name}: maintscript-calls-ldconfig *\n")
  endif()
endforeach()
