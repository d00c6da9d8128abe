/* Shared by the files of luactor.h that wait. */
#ifndef LA_MAILBOX_H
#define LA_MAILBOX_H

#include "proc/cbox.h"

/* When 'ms' from now have passed; negative: never. */
uint64_t la_deadline_in(const la_env_t *env, int ms);

#endif
