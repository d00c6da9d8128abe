/* Templates: images that hold more than the libraries, for the processes that
 * need just that.
 *
 * A function that is spawned often gets an image in which it is loaded, with
 * those of its upvalues that are always the same; a module gets one in which it is loaded
 * when it is luactor's own or has been declared pure (actor.preload).
 * lib_template.c tells how that stays invisible. */
#ifndef LA_LIB_TEMPLATE_H
#define LA_LIB_TEMPLATE_H

#include "proc/host.h"

typedef struct la_template {
  la_image_t *image;
  la_exec_t exec; /* of its building; clones adopt it */
  la_preset_t *presets; /* of the function's upvalues, with their bytes behind
                         * them; NULL: it holds no function */
} la_template_t;

/* The template for a process that starts so; NULL: the host's plain image. May
 * build it, which takes a moment. '*code' is what there may be a template for later;
 * la_template_note wants it. [sched] */
const la_template_t *la_template_for(la_host_t *host, const la_start_t *s,
                                     la_code_t **code);
/* Push the function that the clone of a template holds. [owner; raises: -] */
void la_template_push(lua_State *L);
/* Keep room for it in the state of the plain image. [owner; raises: m] */
void la_template_reserve(lua_State *L);
/* Is the state that of a template, which is being built? */
bool la_template_is_building(lua_State *L);

/* Declare the module pure and build its image. False with the reason in 'why' when
 * there will be none. [sched] */
bool la_template_preload(la_host_t *host, const char *name,
                         char why[LA_IMAGE_WHY]);
/* Is there an image in which the module is loaded? [any] */
bool la_template_has_module(la_host_t *host, const char *name);

#endif
