# cmake -DNM=nm -DSHARED=lib.so -DSTATIC=lib.a -DCOMMAND=luactor -P ...
#
# Lua C modules are linked by name into the same program: a symbol such as
# "match" that we export takes the place of LPeg's own. So the shared library and the
# command export luactor_* alone, and the static library has only luactor_*
# and la_*.

function(check file pattern)
  execute_process(COMMAND ${NM} ${ARGN} --defined-only ${file}
    OUTPUT_VARIABLE out COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9a-f]+ [A-Za-z] [^\n]+" lines "${out}")
  list(LENGTH lines total)
  set(bad "")
  foreach(line IN LISTS lines)
    string(REGEX REPLACE "^[0-9a-f]+ [A-Za-z] " "" name "${line}")
    # 'name@VERSION' is the C library's, copied into a program by the linker.
    if(NOT name MATCHES "${pattern}" AND NOT name MATCHES "@")
      list(APPEND bad ${name})
    endif()
  endforeach()
  if(bad)
    message(SEND_ERROR "${file} gives away: ${bad}")
  else()
    message(STATUS "${file}: ${total} symbols, all in ${pattern}")
  endif()
endfunction()

check(${SHARED} "^luactor_" -D)
check(${COMMAND} "^luactor_" -D)
check(${STATIC} "^(luactor|la)_" -g)
