// Asks the Swift runtime for crash reports without registers (docs/decisions/0011-memory-stays-in-the-process.md).
//
// The runtime reads its variable in a constructor of its own. Where it is linked into the program (-static-stdlib), this one comes before that,
// by its priority. Where it is a shared library it has read the variable already: then nothing is done here, and main begins the program anew.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

extern void *swift_retain(void *);
// The runtime finds the arguments below the environment on the stack, and setenv(3) moves the environment away: they must be told.
extern void _swift_stdlib_overrideUnsafeArgvArgc(char **argv, int argc);

__attribute__((constructor(101))) static void withhold_registers(int argc, char **argv) {
  Dl_info here, runtime;
  if (!dladdr((void *)&withhold_registers, &here) || !dladdr((void *)&swift_retain, &runtime)) return;
  if (here.dli_fbase != runtime.dli_fbase) return;
  const char *given = getenv("SWIFT_BACKTRACE");
  char *setting;
  // The last of several counts.
  if (asprintf(&setting, "%s%sregisters=none", given ? given : "", given && *given ? "," : "") < 0) return;
  setenv("SWIFT_BACKTRACE", setting, 1);
  free(setting);
  _swift_stdlib_overrideUnsafeArgvArgc(argv, argc);
}
