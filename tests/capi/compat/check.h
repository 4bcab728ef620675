/* check: what the test programs of the compatibility libraries share: CHECK, and standard error caught in a file.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int real_error_ = STDERR_FILENO; /* while standard error is caught */
static FILE* caught_file_;

#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      dprintf(real_error_, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                     \
    }                                                                              \
  } while (0)

/* Like CHECK(got == wanted), and prints both. */
#define CHECK_SAME(got, wanted)                                                                    \
  do {                                                                                             \
    const long got_ = (long)(got);                                                                 \
    const long wanted_ = (long)(wanted);                                                           \
    if (got_ != wanted_) {                                                                         \
      dprintf(real_error_, "%s:%d: %s is %ld, not %s\n", __FILE__, __LINE__, #got, got_, #wanted); \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

/* From here on standard error goes to a file. */
static inline void catch_errors(void) {
  caught_file_ = tmpfile();
  CHECK(caught_file_ != NULL);
  const int real = dup(STDERR_FILENO);
  CHECK(real >= 0);
  real_error_ = real;
  CHECK(dup2(fileno(caught_file_), STDERR_FILENO) == STDERR_FILENO);
}

/* What came since, and standard error is as it was. At most `room` - 1 octets. */
static inline void caught_errors(char* text, size_t room) {
  size_t length;
  fflush(stderr);
  CHECK(dup2(real_error_, STDERR_FILENO) == STDERR_FILENO);
  close(real_error_);
  real_error_ = STDERR_FILENO;
  rewind(caught_file_);
  length = fread(text, 1, room - 1, caught_file_);
  text[length] = '\0';
  fclose(caught_file_);
  fputs(text, stderr);
}

/* Whether all octets are `value`. */
static inline int all_are(const void* octets, size_t length, int value) {
  const unsigned char* o = (const unsigned char*)octets;
  size_t i;
  for (i = 0; i < length; ++i) {
    if (o[i] != value) return 0;
  }
  return 1;
}

/* Runs `call` in a child; what it returns. */
static inline int in_child(int (*call)(void)) {
  int status = 0;
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) _exit(call());
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

/* The public channel of two processes: whole blocks over standard output and input. */
static inline void say(const void* octets, size_t length) {
  CHECK(fwrite(octets, 1, length, stdout) == length);
  CHECK(fflush(stdout) == 0);
}

static inline void hear(void* octets, size_t length) { CHECK(fread(octets, 1, length, stdin) == length); }

#endif
