#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Is every row of rows.txt a test, or excused with a reason in README.md? A test counts when a function whose name begins with the row
# (c49_, t05_) is defined in one of the programs and stands in its table. Prints what is missing; 1 if anything is.
# With a folder as its argument: looks there.
set -u
cd "${1:-$(dirname "$0")}" || exit 1

awk '
  function complain(text) {
    print text
    bad = 1
  }

  # c49 of C-49
  function prefix_of(row, part) {
    split(row, part, "-")
    return sprintf("%s%02d", tolower(part[1]), part[2])
  }

  FNR == 1 { excusing = 0 }

  FILENAME == "rows.txt" && /^[CTESFG]-[0-9]+ ./ {
    if ($1 in listed) complain("twice in rows.txt: " $1)
    listed[$1] = 1
    row_of[prefix_of($1)] = $1
    row[++rows] = $1
  }

  # An excuse is a line `| C-1 | reason |` under the heading.
  FILENAME == "README.md" && /^## / { excusing = /^## Rows without a test/ }
  FILENAME == "README.md" && excusing && /^\| *[CTESFG]-[0-9]+ *\| *[^ |].*\|$/ { excused[$2] = 1 }

  FILENAME ~ /\.c$/ && /^static void [ctesfg][0-9][0-9]_[a-z0-9_]+\(void \*\*state\)/ {
    name = $3
    sub(/\(.*/, "", name)
    if (name in defined) complain("defined twice: " name)
    defined[name] = FILENAME
    functions++
  }
  FILENAME ~ /\.c$/ && /^ *unit\([ctesfg][0-9][0-9]_[a-z0-9_]+\)/ {
    name = $1
    sub(/^unit\(/, "", name)
    sub(/\).*/, "", name)
    registered[name] = FILENAME
  }

  END {
    for (name in defined) {
      prefix = substr(name, 1, 3)
      if (!(prefix in row_of)) complain("of no row: " name)
      else if (registered[name] != defined[name]) complain("in no table of " defined[name] ": " name)
      else has_test[row_of[prefix]] = 1
    }
    for (i = 1; i <= rows; i++) {
      r = row[i]
      if ((r in has_test) && (r in excused)) complain("has a test and an excuse: " r)
      else if (r in has_test) tested++
      else if (r in excused) let_off++
      else complain("has neither a test nor an excuse: " r " (" prefix_of(r) "_...)")
    }
    for (r in excused) if (!(r in listed)) complain("excused, but of no row: " r)
    series["C"] = 91; series["T"] = 22; series["E"] = 12; series["S"] = 10; series["F"] = 11; series["G"] = 13
    for (letter in series)
      for (i = 1; i <= series[letter]; i++) {
        r = letter "-" i
        if (!(r in listed)) complain("not in rows.txt: " r)
      }
    printf "%d rows: %d tested by %d functions, %d excused\n", rows, tested, functions, let_off
    exit bad
  }
' rows.txt README.md ./*.c
