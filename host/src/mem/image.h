/* Images: a lua_State as bytes that can be copied (rule 8).
 *
 * An image is a template state, built once for each host: the libraries are open,
 * the hook is set. A process then begins as a copy of it in a block of memory of
 * its own. image.c explains how that can be right with a Lua that knows nothing
 * of it, and when it is refused. */
#ifndef LA_IMAGE_H
#define LA_IMAGE_H

#include <lua.h>

#include "mem/heap.h"
#include "mem/pool.h"

typedef struct la_image la_image_t;

/* How to make the template. It is made four times over, in the same way each
 * time: nothing may depend on the time, on addresses, or on what an earlier
 * making left behind, and nothing in the state may point to memory
 * that is not the state's own, unless it lives as long as the image. */
typedef struct la_image_maker {
  /* Prepare the fresh main thread: extra space, hook. May not raise. */
  void (*begin)(lua_State *L, void *ud);
  /* Called on a coroutine with 'ud' as light userdata; may raise. */
  lua_CFunction open;
  /* Called on that coroutine afterwards: the address of bytes that every clone
   * wants to change (la_image_spot), or NULL. May not raise; needs no more than the
   * stack of a C function. May be NULL. */
  void *(*spot)(lua_State *L, void *ud);
  void *ud;
} la_image_maker_t;

enum { LA_IMAGE_WHY = 160 };

/* Make an image, whose clones live in blocks of 'pools'; NULL when that is
 * refused, the reason in 'why'. Takes some milliseconds. [any · - · -] */
la_image_t *la_image_new(la_pools_t *pools, const la_image_maker_t *maker,
                         char why[LA_IMAGE_WHY]);
/* The same, beginning with what 'from' holds; takes a fraction of the time. The
 * spot is that of 'from' unless the maker finds one. [any · - · -] */
la_image_t *la_image_derive(la_pools_t *pools, const la_image_t *from,
                            const la_image_maker_t *maker,
                            char why[LA_IMAGE_WHY]);
/* Its clones may live on. NULL is allowed. */
void la_image_free(la_image_t *im);

/* A new state, whose memory from here on is 'h', a heap just initialised; its
 * block comes from 'cache', which may be NULL. NULL: no
 * memory. The caller sets the extra space and all else that differs from
 * process to process. [any · rarely a short lock · -] */
lua_State *la_image_clone(const la_image_t *im, la_pool_cache_t *cache,
                          la_heap_t *h);
/* The bytes in a clone which the maker's 'spot' has found; NULL if none. */
bool la_image_has_spot(const la_image_t *im);
void *la_image_spot(const la_image_t *im, lua_State *clone);
/* Where the n-th word of the main thread points to, as an offset from the
 * beginning of the block; 0: it is no pointer. */
size_t la_image_points_to(const la_image_t *im, unsigned n);
/* Bytes of the image, and of them those that Lua counts as in use. */
size_t la_image_size(const la_image_t *im);
size_t la_image_live(const la_image_t *im);

/* For the test of image.c's rule 5: copy the image to an address of any
 * alignment. The block must have la_image_size bytes. */
lua_State *la_image_copy_to(const la_image_t *im, void *block);

#endif
