// Many short threads, one after the other, whose destructors allocate until the last round.
#include "say.h"
#include <pthread.h>

static pthread_key_t key;
static __thread int rounds;
static int limit = 3;

static void at_end(void *block) {
    free(block);
    if (++rounds < limit) pthread_setspecific(key, malloc(300 + rounds));
}

static void *work(void *argument) {
    free(malloc(100));
    pthread_setspecific(key, malloc(300));
    return NULL;
}

int main(int count, char **arguments) {
    pthread_key_create(&key, at_end);
    int threads = atoi(arguments[1]);
    if (count > 2) limit = atoi(arguments[2]);
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, work, NULL) == 0);
        pthread_join(thread, NULL);
    }
    say("done");
    return 0;
}
