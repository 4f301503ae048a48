/* SPDX-License-Identifier: MIT
 *
 * The mail of the demo: lines of text, one for each piece: what it is, its grams, for whom.
 */
#ifndef BATCH_MAIL_H
#define BATCH_MAIL_H

#include <stddef.h>
#include <stdio.h>

enum { LETTER = 0, PARCEL = 1, KINDS = 2 };

/* One piece of mail: the item that wanders through the pipeline. */
typedef struct mail_s {
  size_t number; /* of its line */
  int kind;
  unsigned int grams;
  unsigned int cents; /* the postage, once it is known */
  char who[32];
} mail_t;

/* Where the lines come from. */
typedef struct mail_reader_s {
  FILE *file;       /* NULL: `text` */
  const char *text; /* what is left of it */
  size_t line;      /* the number of the last one */
} mail_reader_t;

extern const char MAIL_EXAMPLE[];

/* 0 and *mail, malloc'ed; UV_EOF: that was all; UV_EINVAL: the line is wrong, the next call reads the one behind it;
 * UV_EIO, UV_ENOMEM. */
int mail_read(mail_reader_t *reader, mail_t **mail);

unsigned int mail_letter_cents(const mail_t *mail);
unsigned int mail_parcel_cents(const mail_t *mail);

/* Prints the pieces in the order of their lines, and what they come to. */
void mail_report(mail_t **pieces, size_t count);

#endif
