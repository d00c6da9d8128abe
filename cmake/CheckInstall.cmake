# cmake -DBUILD=dir -DSOURCE=dir -DCC=compiler -DLIBDIR=lib -P ...
#
# Installs BUILD to a prefix of its own, builds the program of
# host/test/install with find_package and with pkg-config against it, and runs
# what came out. Runs the installed command too.

set(work ${BUILD}/install-check)
set(prefix ${work}/prefix)
file(REMOVE_RECURSE ${work})

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
run(${CMAKE_COMMAND} -S ${SOURCE}/host/test/install -B ${work}/cmake
  -DCMAKE_PREFIX_PATH=${prefix} -DCMAKE_C_COMPILER=${CC})
run(${CMAKE_COMMAND} --build ${work}/cmake)
run(${work}/cmake/with-shared)
run(${work}/cmake/with-static)

set(ENV{PKG_CONFIG_PATH} ${prefix}/${LIBDIR}/pkgconfig)
run(sh -c "${CC} ${SOURCE}/host/test/install/main.c -o ${work}/with-pc \
  $(pkg-config --cflags --libs luactor) -Wl,-rpath,${prefix}/${LIBDIR}")
run(${work}/with-pc)

# The command is a client like any other: its sources need nothing else.
run(sh -c "${CC} ${SOURCE}/host/src/cli/*.c -o ${work}/command \
  $(pkg-config --cflags --libs luactor lua5.4 libuv) \
  -pthread -Wl,-rpath,${prefix}/${LIBDIR}")
foreach(command ${prefix}/bin/luactor ${work}/command)
  run(${command} -e "require 'luactor'")
endforeach()
