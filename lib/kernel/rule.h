/* SPDX-License-Identifier: MIT
 *
 * Rules for the caller: in a debug build of the library a call that breaks one stops the program with the function's
 * name and the rule. Checked at the entry of a call, before anything was changed, so that a test may take the hook
 * and jump out.
 */
#ifndef UVF_KERNEL_RULE_H
#define UVF_KERNEL_RULE_H

#ifdef NDEBUG
#define UVF__RULES 0
#else
#define UVF__RULES 1
#endif

/* Tests replace it; it must not return. */
extern void (*uvf__rule_hook)(const char *function, const char *rule);

/* Prints the rule (or calls the hook) and aborts. */
_Noreturn void uvf__rule_broken(const char *function, const char *rule);

#if UVF__RULES
#define UVF__RULE(cond, function, rule)                                                                                \
  do {                                                                                                                 \
    if (!(cond)) uvf__rule_broken(function, rule);                                                                     \
  } while (0)
#else
#define UVF__RULE(cond, function, rule)                                                                                \
  do {                                                                                                                 \
  } while (0)
#endif

#endif
