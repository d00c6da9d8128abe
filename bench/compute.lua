-- How fast is plain computation in one process? Runs under lua5.4 as well, of
-- whose speed preemption should cost nothing.
--
-- fib30, fib32: the doubly recursive function, op = call; loop1e7, loop1e8: a
-- counting loop that sums, op = iteration.
local harness = require "harness"

local function fib(n)
  if n < 2 then return n end
  return fib(n - 1) + fib(n - 2)
end

local function sum(n)
  local a = 0
  for i = 1, n do a = a + i end
  return a
end

local function fib_case(n, result, calls)
  return function(case)
    fib(20)
    local t0 = harness.now_ns()
    local got = fib(n)
    harness.emit(case, calls, harness.now_ns() - t0)
    harness.check(got == result, "fib")
  end
end

local function loop_case(iterations)
  return function(case)
    harness.simple(case, iterations, function(n)
      harness.check(sum(n) == n * (n + 1) // 2, "sum")
    end)
  end
end

harness.main {
  fib30 = fib_case(30, 832040, 2692537),
  fib32 = fib_case(32, 2178309, 7049155),
  loop1e7 = loop_case(10000000),
  loop1e8 = loop_case(100000000),
}
