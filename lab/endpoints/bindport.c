/* Gives clients that cannot be told a local port one: preloaded, it binds the first connect() to LAB_LOCAL_PORT, the next to
 * the port after it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/socket.h>

int connect(int fd, const struct sockaddr *target, socklen_t size) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    static int turn;
    int kind = 0, one = 1;
    socklen_t length = sizeof kind;
    const char *first = getenv("LAB_LOCAL_PORT");
    if (!real) real = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &length);
    const char *wanted = getenv("LAB_TARGET_PORT");
    const struct sockaddr_in *to = (const struct sockaddr_in *)target;
    if (first && wanted && target->sa_family == AF_INET && kind == SOCK_STREAM && ntohs(to->sin_port) == atoi(wanted)) {
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(atoi(first) + turn++)};
        inet_pton(AF_INET, "127.0.0.1", &own.sin_addr);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        bind(fd, (struct sockaddr *)&own, sizeof own);
    }
    return real(fd, target, size);
}
