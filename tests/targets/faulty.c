// A library that makes its process fault, when that is heaptape's: once a file `fault` is there.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static void *wait_and_fault(void *argument) {
    (void)argument;
    while (access("fault", F_OK) != 0) {
        usleep(2000);
    }
    volatile int *nowhere = NULL;
    *nowhere = 1;
    return NULL;
}

__attribute__((constructor)) static void start(void) {
    pthread_t thread;
    if (strcmp(program_invocation_short_name, "heaptape") == 0) {
        pthread_create(&thread, NULL, wait_and_fault, NULL);
    }
}
