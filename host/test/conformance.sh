#!/bin/bash
# conformance.sh [luactor]: runs every spec/conformance/*.lua on stock lua5.4 and
# in a process, in both preempt modes and with slices down to one instruction,
# and compares what they print. With the environment variable STD_RUN, the
# program of host/test/std-run.c, also in that.
#
# Addresses differ from run to run and are masked; so are the depths at which C
# recursion ends, of which the scripts print none.
set -u
cd "$(dirname "$0")/../.." || exit 2
stock=${STOCK_LUA:-lua5.4}
command=${1:-}
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

mask() {
  sed -e 's/0x[0-9a-f]\{6,\}/0xPTR/g'
}

compare() { # name, mode, command...
  local name=$1 mode=$2
  shift 2
  timeout ${CONFORMANCE_TIMEOUT:-300} "$@" 2>"$work/err" | mask >"$work/out"
  if cmp -s "$work/want" "$work/out"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAIL $name ($mode)"
    diff -a "$work/want" "$work/out" | cut -c 1-200 | head -n 10
    head -n 5 "$work/err"
  fi
}

for script in spec/conformance/*.lua; do
  name=$(basename "$script" .lua)
  "$stock" "$script" 2>/dev/null | mask >"$work/want"
  if [ -n "${STD_RUN:-}" ]; then
    for period in 1 2 7 1000; do
      compare "$name" "std-run count $period" "$STD_RUN" --count $period "$script"
    done
    for usec in 50 137 1000; do
      compare "$name" "std-run tick $usec us" "$STD_RUN" --tick $usec "$script"
    done
  fi
  if [ -n "$command" ]; then
    compare "$name" "count" "$command" --preempt count "$script"
    compare "$name" "tick" "$command" --preempt tick "$script"
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
