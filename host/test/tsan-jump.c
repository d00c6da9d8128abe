/* Programs built with the thread sanitizer contain this file.
 *
 * The sanitizer keeps a stack of the calls it has seen for each thread, and cuts it
 * back when a longjmp leaves some of them. It does not know of __longjmp_chk,
 * which a Lua library built with _FORTIFY_SOURCE calls: every error and every
 * yield would leave entries behind, until the sanitizer gives up after 65,536. */
#include <setjmp.h>

__attribute__((visibility("default"), noreturn)) void __longjmp_chk(
    jmp_buf env, int value);

void __longjmp_chk(jmp_buf env, int value) {
  longjmp(env, value);
}
