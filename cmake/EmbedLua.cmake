# cmake -DOUT=file.c -DROOT=lualib -DFILES=a.lua;b/init.lua -DDEV_DIR=dir -P ...
#
# Writes the Lua modules as C arrays: see host/src/base/embedded.h. No tool of the
# build machine but CMake is needed.

set(arrays "")
set(rows "")
set(count 0)
foreach(file IN LISTS FILES)
  string(REGEX REPLACE "\\.lua$" "" module "${file}")
  string(REGEX REPLACE "/init$" "" module "${module}")
  string(REPLACE "/" "." module "${module}")
  file(READ "${ROOT}/${file}" hex HEX)
  file(SIZE "${ROOT}/${file}" size)
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays
    "/* ${file} */\nstatic const unsigned char text_${count}[] = {\n${bytes}0};\n")
  string(APPEND rows
    "  {\"${module}\", (const char *)text_${count}, ${size}},\n")
  math(EXPR count "${count} + 1")
endforeach()

set(dev NULL)
if(DEV_DIR)
  set(dev "\"${DEV_DIR}\"")
endif()
file(WRITE "${OUT}" "/* Generated from lualib; do not edit. */
#include \"base/embedded.h\"

${arrays}
const struct la_embedded la_embedded_modules[] = {
${rows}  {NULL, NULL, 0},
};
const size_t la_embedded_count = ${count};
const char *const la_embedded_dev_dir = ${dev};
")
