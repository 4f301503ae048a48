/* SPDX-License-Identifier: MIT
 *
 * Intrusive lists. A node knows the pointer that points at it, so it leaves any list in O(1) without knowing which;
 * an unlinked node has prev == NULL, which is how the kernel asks "am I still on a list?".
 */
#ifndef UVF_KERNEL_LIST_H
#define UVF_KERNEL_LIST_H

#include <stddef.h>

#include "uvflow/base.h"

#define UVF__CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void uvf__link_push(uvf__link_t **head, uvf__link_t *n) {
  n->next = *head;
  n->prev = head;
  if (n->next != NULL) n->next->prev = &n->next;
  *head = n;
}

static inline void uvf__link_remove(uvf__link_t *n) {
  *n->prev = n->next;
  if (n->next != NULL) n->next->prev = n->prev;
  n->prev = NULL;
}

/* Takes the first one off a list that is not empty. */
static inline uvf__link_t *uvf__link_pop(uvf__link_t **head) {
  uvf__link_t *n = *head;
  *head = n->next;
  if (n->next != NULL) n->next->prev = head;
  n->prev = NULL;
  return n;
}

/* Hands a whole list over to another head. */
static inline void uvf__link_move(uvf__link_t **from, uvf__link_t **to) {
  *to = *from;
  if (*to != NULL) (*to)->prev = to;
  *from = NULL;
}

#endif
