# cmake -DPROGRAM=path -DEXPECTED=file -P ...
#
# Runs a program that must end with 0 and print what the file says.

execute_process(COMMAND ${PROGRAM} OUTPUT_VARIABLE out
  COMMAND_ERROR_IS_FATAL ANY)
file(READ ${EXPECTED} expected)
if(NOT out STREQUAL expected)
  message(FATAL_ERROR "printed:\n${out}\nexpected:\n${expected}")
endif()
