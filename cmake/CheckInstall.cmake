# cmake -DBUILD=dir -DSOURCE=dir -DCC=compiler -DCXX=compiler -DLIBDIR=lib
#   -DBUSTED=file or empty -P ...
#
# Installs BUILD to a prefix of its own, moves that elsewhere, and uses what is
# there, outside of the source tree: builds the program of host/test/install, in C
# and C++, against the shared and the static library, with find_package and with
# pkg-config; then runs the command.

set(work ${BUILD}/install-check)
set(prefix ${work}/moved)
file(REMOVE_RECURSE ${work})

function(run)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${work}
    COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(MAKE_DIRECTORY ${work})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/prefix)
file(RENAME ${work}/prefix ${prefix})

# ---- find_package ----------------------------------------------------------

run(${CMAKE_COMMAND} -S ${SOURCE}/host/test/install -B ${work}/cmake
  -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_C_COMPILER=${CC}
  -DCMAKE_CXX_COMPILER=${CXX})
run(${CMAKE_COMMAND} --build ${work}/cmake)
run(${work}/cmake/with-shared)
run(${work}/cmake/with-static)
if(CXX)
  run(${work}/cmake/with-c++)
endif()

# ---- pkg-config ------------------------------------------------------------

set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
set(rpath -Wl,-rpath,${prefix}/${LIBDIR})
set(program ${SOURCE}/host/test/install/main.c)
run(sh -c "${CC} ${program} -o with-pc \
  $(pkg-config --cflags --libs luactor) ${rpath}")
run(./with-pc)
# --static names all libraries; the linker is told to take ours from the archive.
run(sh -c "${CC} ${program} -o with-pc-static $(pkg-config --static --cflags \
  --libs luactor | sed 's/-lluactor/-l:libluactor.a/')")
run(./with-pc-static)
run(sh -c "! ldd with-pc-static | grep libluactor")
if(CXX)
  run(sh -c "${CXX} -std=c++17 -Wall -Wextra -Werror -x c++ ${program} -o \
    with-pc-c++ $(pkg-config --cflags --libs luactor) ${rpath}")
  run(./with-pc-c++)
endif()
run(sh -c "readelf -d with-pc | grep -q 'NEEDED.*libluactor.so.[0-9]'")

# ---- the command -----------------------------------------------------------

# It is a client like any other: its sources need nothing else.
run(sh -c "${CC} ${SOURCE}/host/src/cli/*.c -o command \
  $(pkg-config --cflags --libs luactor lua5.4 libuv) -pthread ${rpath}")
foreach(command ${prefix}/bin/luactor ./command)
  run(${command} -e "require 'luactor'")
endforeach()
set(ENV{PATH} ${prefix}/bin:$ENV{PATH})
run(luactor new project)
run(sh -c "cd project && luactor app.lua && luactor check")
if(BUSTED)
  run(sh -c "cd project && luactor test")
endif()
run(sh -c "luactor $(find ${prefix} -name ring.lua)")

# ---- other files -----------------------------------------------------------

# The stubs that the new project names are the installed ones, without private modules.
run(grep -q ${prefix}/share/luactor/meta project/.luarc.json)
foreach(file
    share/luactor/meta/luactor.lua
    share/luactor/meta/luactor/gen_server.lua
    share/man/man1/luactor.1
    share/bash-completion/completions/luactor
    share/zsh/site-functions/_luactor
    share/fish/vendor_completions.d/luactor.fish
    share/doc/luactor/docs/guide/first-steps.md)
  if(NOT EXISTS ${prefix}/${file})
    message(SEND_ERROR "not installed: ${file}")
  endif()
endforeach()
file(GLOB private ${prefix}/share/luactor/meta/luactor/_*)
if(private)
  message(SEND_ERROR "installed: ${private}")
endif()
