/* A disk that is as slow as a test wants: see Intermission/Test/SlowDisk.pm. */

#define _GNU_SOURCE
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *folder;

/* nginx takes the environment away from its workers. */
__attribute__((constructor)) static void begin(void)
{
    const char *value = getenv("SLOW_DISK");
    folder = value ? strdup(value) : NULL;
}

static void wait_at(const char *call)
{
    char asked[PATH_MAX], waits[PATH_MAX];
    if (!folder)
        return;
    snprintf(asked, sizeof asked, "%s/%s-%d", folder, call, (int) getpid());
    snprintf(waits, sizeof waits, "%s/%s-%d.waits", folder, call, (int) getpid());
    if (rename(asked, waits) != 0)
        return;
    while (access(waits, F_OK) == 0)
        usleep(1000);
}

int flock(int descriptor, int operation)
{
    wait_at("flock");
    return syscall(SYS_flock, descriptor, operation);
}

int fsync(int descriptor)
{
    wait_at("fsync");
    return syscall(SYS_fsync, descriptor);
}
