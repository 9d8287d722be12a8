// What the Glibc module of the toolchain lacks. Never define _GNU_SOURCE (or include more than needed) here: the structs then differ
// from those of the SwiftGlibc module and clean debug builds fail. accept4 and pthread_setname_np are hidden without it, so they are declared by hand.
#pragma once
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
int accept4(int, struct sockaddr *restrict, socklen_t *restrict, int);
int pipe2(int ends[2], int flags);
long splice(int from, long *fromOffset, int to, long *toOffset, __SIZE_TYPE__ count, unsigned int flags);
// Hidden like accept4; its first argument is a posix_spawn_file_actions_t *, named so that <spawn.h> need not be included here.
int posix_spawn_file_actions_addclosefrom_np(void *actions, int from);
int pthread_setname_np(pthread_t, const char *);
__SIZE_TYPE__ malloc_usable_size(void *);
void *memmem(const void *haystack, __SIZE_TYPE__ haystackLength, const void *needle, __SIZE_TYPE__ needleLength);
#include <sys/ioctl.h>
// ioctl is variadic, which Swift cannot call. TIOCOUTQ of a socket: bytes that the peer has not acknowledged.
static inline int clinux_unacknowledged(int socket) { int n = 0; return ioctl(socket, TIOCOUTQ, &n) == 0 ? n : 0; }
#include <sys/prctl.h>
// prctl is variadic too. 0: no core file, and /proc/PID of this process belongs to root.
static inline int clinux_set_dumpable(int value) { return prctl(PR_SET_DUMPABLE, (unsigned long)value, 0UL, 0UL, 0UL); }
// Hidden like accept4, and its type with it: the mask is an array of bits. 0: unknown.
int clinux_sched_getaffinity(int process, __SIZE_TYPE__ size, unsigned long *mask) __asm__("sched_getaffinity");
static inline int clinux_affine_processors(void) {
  unsigned long mask[1024] = {0};
  int n = 0;
  if (clinux_sched_getaffinity(0, sizeof mask, mask) != 0) return 0;
  for (int i = 0; i < 1024; i++) n += __builtin_popcountl(mask[i]);
  return n;
}
