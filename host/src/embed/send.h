/* What the C side sends. */
#ifndef LA_SEND_H
#define LA_SEND_H

#include "embed/value.h"

/* Send the message, which is taken over in any case; a LUACTOR_E code. [any] */
int la_send_msg(la_host_t *host, la_proc_t *from, la_msg_t *m);
int la_send_value(la_host_t *host, la_proc_t *from, luactor_pid to,
                  const luactor_value *value);
/* The value as a reason; NULL is "normal". */
int la_reason_of(const la_host_t *host, const luactor_value *value,
                 la_reason_t **out);
/* The message that answers the call of 'from'; NULL when nobody is there. */
int la_answer_new(la_host_t *host, luactor_view from,
                  const luactor_value *value, la_id_t self, la_msg_t **out);

#endif
