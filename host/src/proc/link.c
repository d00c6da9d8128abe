/* Links and monitors. Each end keeps an entry that is also the block of
 * the signal its own end will send: links[peer] becomes EXIT, watches[ref] becomes
 * DOWN. */
#include <string.h>

#include "dist/dist.h"
#include "proc/host.h"

static void entry_free(la_note_t *n) {
  if (n != NULL) {
    la_sig_free(&n->sig);
  }
}

/* Of what lives on another node, an entry holds the term for it. */
static bool know(la_proc_t *p, la_note_t *mine) {
  if (la_id_kind(mine->peer) != LA_ID_PROXY) {
    return true;
  }
  mine->who = la_dist_who(p->host, mine->peer);
  return mine->who != NULL;
}

/* Add an entry; false (and freed) when memory is short. */
static bool put(la_map_t *map, uint64_t key, la_note_t *n) {
  if (n == NULL || !la_map_put(map, key, n)) {
    entry_free(n);
    return false;
  }
  return true;
}

bool la_proc_link(la_proc_t *p, la_pid_t to) {
  if (to == p->pid || la_map_get(&p->links, to) != NULL) {
    return true;
  }
  la_note_t *mine = la_note_new(LA_SIG_EXIT, to, p->pid);
  la_note_t *theirs = la_note_new(LA_SIG_LINK, to, p->pid);
  if (theirs == NULL || !put(&p->links, to, mine)) {
    entry_free(theirs);
    if (theirs == NULL) {
      entry_free(mine);
    }
    return false;
  }
  mine->peer = to;
  if (!know(p, mine)) {
    la_map_remove(&p->links, to);
    entry_free(mine);
    entry_free(theirs);
    return false;
  }
  la_signal(p->host, &theirs->sig);
  la_proc_grew(p);
  return true;
}

void la_proc_unlink(la_proc_t *p, la_pid_t to) {
  la_note_t *mine = la_map_get(&p->links, to);
  if (mine == NULL || (mine->sig.flags & LA_SIG_SCOPE)) {
    return;
  }
  la_map_remove(&p->links, to);
  if (mine->reason != NULL) {
    p->ndoomed--;
    la_sig_free(&mine->sig);
    return;
  }
  /* The entry is the signal: nothing can fail. */
  mine->sig.kind = LA_SIG_UNLINK;
  la_signal(p->host, &mine->sig);
}

void la_proc_spare(la_proc_t *p, la_pid_t to) {
  la_note_t *mine = la_map_get(&p->links, to);
  if (mine != NULL && !(mine->sig.flags & LA_SIG_SCOPE)) {
    mine->sig.flags |= LA_SIG_SPARING;
  }
}

void la_proc_obey_doom(la_proc_t *p) {
  for (la_map_cell_t *c = NULL; (c = la_map_next(&p->links, c)) != NULL;) {
    const la_note_t *n = c->value;
    if (n->reason != NULL) {
      la_proc_end(p, la_reason_ref(n->reason));
      return;
    }
  }
}

/* A monitor's entry is from the mailbox that its DOWN message is for. */
void la_proc_monitor_into(la_proc_t *p, la_id_t ref, la_id_t box) {
  la_note_t *mine = la_map_get(&p->monitors, ref);
  if (mine != NULL) {
    mine->sig.from = box;
  }
}

la_id_t la_proc_monitor(la_proc_t *p, la_pid_t to, const char *name) {
  const la_id_t ref = la_new_ref(p->host);
  la_note_t *mine = la_note_new(LA_SIG_DEMONITOR, to, p->pid);
  la_note_t *theirs = la_note_new(LA_SIG_MONITOR, to, p->pid);
  if (mine == NULL || theirs == NULL) {
    goto fail;
  }
  if (name != NULL) {
    mine->name = la_alloc(strlen(name) + 1);
    if (mine->name == NULL) {
      goto fail;
    }
    strcpy(mine->name, name);
  }
  mine->peer = to;
  mine->ref = theirs->ref = ref;
  if (!know(p, mine) || !la_map_put(&p->monitors, ref, mine)) {
    goto fail;
  }
  la_mbox_mark(&p->mbox, ref);
  la_signal(p->host, &theirs->sig);
  la_proc_grew(p);
  return ref;
fail:
  entry_free(mine);
  entry_free(theirs);
  return LA_NO_ID;
}

/* Drop the DOWN message of a monitor that is off now. */
static void flush_down(la_proc_t *p, la_id_t ref) {
  for (la_msg_t *m = la_mbox_first(&p->mbox); m != NULL;
       m = la_mbox_after(&p->mbox, m)) {
    if ((m->sig.flags & LA_SIG_IS_DOWN) && m->ref == ref) {
      la_mbox_remove(&p->mbox, m);
      p->heap.others -= la_msg_bytes(m);
      la_sig_free(&m->sig);
      la_mbox_admit(p, &p->mbox);
      return;
    }
  }
}

bool la_proc_demonitor(la_proc_t *p, la_id_t ref, bool flush) {
  la_note_t *mine = la_map_remove(&p->monitors, ref);
  if (mine != NULL) {
    la_signal(p->host, &mine->sig);
  } else if (flush) {
    flush_down(p, ref);
  }
  return mine != NULL;
}
