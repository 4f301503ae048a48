/* SPDX-License-Identifier: MIT */
#include "mail.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { LINE = 128, GRAMS_MOST = 31500 };

static const char *const KIND_NAMES[KINDS] = {"letter", "parcel"};

const char MAIL_EXAMPLE[] = "letter 18 Ada\n"
                            "letter 43 Grace\n"
                            "parcel 1250 Edsger\n"
                            "letter 20 Barbara\n"
                            "letter 480 Donald\n"
                            "parcel 310 Frances\n"
                            "letter 12 Ken\n"
                            "parcel 7400 Dennis\n"
                            "letter 51 Margaret\n"
                            "letter 20 Tony\n"
                            "parcel 2000 Hedy\n"
                            "letter 7 Alan\n"
                            "letter 910 Niklaus\n"
                            "parcel 4990 Jean\n"
                            "letter 33 John\n"
                            "parcel 150 Radia\n"
                            "letter 19 Kathleen\n"
                            "letter 220 Rob\n"
                            "parcel 31500 Konrad\n"
                            "letter 16 Sophie\n"
                            "letter 50 Maurice\n"
                            "parcel 620 Betty\n"
                            "letter 21 Robin\n"
                            "letter 500 Shafi\n";

/* --- reading --------------------------------------------------------------------------------- */

/* Into buf, without its end. 0, UV_EOF, UV_EIO; UV_EINVAL: too long, and left out. */
static int read_line(mail_reader_t *reader, char *buf, size_t size) {
  if (!reader->file) {
    size_t len = strcspn(reader->text, "\n");
    if (!reader->text[0]) return UV_EOF;
    snprintf(buf, size, "%.*s", (int)len, reader->text);
    reader->text += len + (reader->text[len] == '\n');
    return len < size ? 0 : UV_EINVAL;
  }
  if (!fgets(buf, (int)size, reader->file)) return ferror(reader->file) ? UV_EIO : UV_EOF;
  size_t len = strcspn(buf, "\n");
  if (buf[len] == '\n' || feof(reader->file)) {
    buf[len] = '\0';
    return 0;
  }
  for (int c = 0; c != '\n' && c != EOF;) c = getc(reader->file);
  return UV_EINVAL;
}

int mail_read(mail_reader_t *reader, mail_t **mail) {
  char line[LINE], kind[8], end;
  mail_t m = {.number = reader->line + 1};
  int err = read_line(reader, line, sizeof(line));
  if (err == UV_EOF || err == UV_EIO) return err;
  reader->line++;
  if (err || sscanf(line, "%7s %5u %31s %c", kind, &m.grams, m.who, &end) != 3) return UV_EINVAL;
  while (m.kind < KINDS && strcmp(kind, KIND_NAMES[m.kind]) != 0) m.kind++;
  if (m.kind == KINDS || m.grams < 1 || m.grams > GRAMS_MOST) return UV_EINVAL;
  *mail = malloc(sizeof(m));
  if (!*mail) return UV_ENOMEM;
  **mail = m;
  return 0;
}

/* --- postage --------------------------------------------------------------------------------- */

unsigned int mail_letter_cents(const mail_t *mail) {
  return mail->grams <= 20 ? 85 : mail->grams <= 50 ? 100 : mail->grams <= 500 ? 160 : 275;
}

unsigned int mail_parcel_cents(const mail_t *mail) {
  return 449 + (mail->grams + 999) / 1000 * 100; /* a base, and each kilogram begun */
}

/* --- the report ------------------------------------------------------------------------------ */

static int by_number(const void *a, const void *b) {
  const mail_t *x = *(mail_t *const *)a, *y = *(mail_t *const *)b;
  return (x->number > y->number) - (x->number < y->number);
}

void mail_report(mail_t **pieces, size_t count) {
  size_t counts[KINDS] = {0};
  unsigned long long cents[KINDS] = {0};
  if (count) qsort(pieces, count, sizeof(pieces[0]), by_number);
  for (size_t i = 0; i < count; i++) {
    const mail_t *m = pieces[i];
    counts[m->kind]++;
    cents[m->kind] += m->cents;
    printf("%4zu  %s %5u g  %3u.%02u  %s\n", m->number, KIND_NAMES[m->kind], m->grams, m->cents / 100, m->cents % 100,
           m->who);
  }
  for (int kind = 0; kind < KINDS; kind++)
    printf("%4zu  %ss %11llu.%02llu\n", counts[kind], KIND_NAMES[kind], cents[kind] / 100, cents[kind] % 100);
}
