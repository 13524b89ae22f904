/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list. A head and a member are the same struct; an empty head points to
 * itself. A member that is in no list points to itself too, so that list_remove() may be called any
 * number of times. */
#ifndef TLSFAN_BASE_LIST_H
#define TLSFAN_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* Embedded in what is listed, a field for each list that it may be in at the same time. */
struct list {
    struct list *next; /* the head behind the last one */
    struct list *prev;
};

/* The struct of which PTR is the member called MEMBER. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Makes L an empty head, or a member of no list. */
static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

/* True for an empty head, and for a member that is in no list. */
static inline bool list_is_empty(const struct list *l)
{
    return l->next == l;
}

/* Puts ITEM, which is in no list, directly before POS: at the end when POS is the head. */
static inline void list_push_back(struct list *pos, struct list *item)
{
    item->prev = pos->prev;
    item->next = pos;
    pos->prev->next = item;
    pos->prev = item;
}

/* Puts ITEM, which is in no list, directly behind POS: in front when POS is the head. */
static inline void list_push_front(struct list *pos, struct list *item)
{
    list_push_back(pos->next, item);
}

/* Takes ITEM out of whatever list it is in; harmless when it is in none. */
static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

/* The first member, or NULL. */
static inline struct list *list_first(const struct list *head)
{
    return list_is_empty(head) ? NULL : head->next;
}

/* Takes out and returns the first member, or NULL. */
static inline struct list *list_pop(struct list *head)
{
    struct list *item = list_first(head);
    if (item != NULL)
        list_remove(item);
    return item;
}

/* Moves every member of FROM to the end of TO, at no cost per member; FROM is empty afterwards. */
static inline void list_move(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* Walks HEAD; the body must not call out (see proxy/README.md, "Ownership"). */
#define list_foreach(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)

#endif
