/* SPDX-License-Identifier: MIT */
#ifndef UVFLOW_TEST_JSON_H
#define UVFLOW_TEST_JSON_H

/* 1 if the text is exactly one JSON document as RFC 8259 has it (whitespace around it allowed), 0 if not. */
int json_valid(const char *text);

#endif
