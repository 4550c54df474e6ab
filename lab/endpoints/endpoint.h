/* What every C endpoint shares: its settings (key=value arguments), TCP, one short conversation, one account per connection.
 *
 * A library's file fills in `struct tls` and calls endpoint_main(). A client makes one connection (two with again=1), a server
 * takes connections until it is ended. Each connection gives one line of JSON on standard output: the endpoint's own account.
 */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct account {
    int done;           /* the library said that the handshake is complete */
    int resumed;        /* -1: it does not tell */
    long got;           /* application bytes of the other side */
    char version[16];
    char error[400];
    char alert_sent[40], alert_received[40];
};

struct tls {
    void (*setup)(int is_client);
    /* Returns 0 when the handshake is complete; else `account.error` says why. */
    int (*handshake)(int fd, int is_client, struct account *account);
    long (*read)(void *buffer, long size, struct account *account);
    long (*write)(const void *buffer, long size, struct account *account);
    void (*close)(struct account *account); /* as the library's manual says: close_notify, free; the socket is closed afterwards */
};

static int settings_count;
static char **settings;

static const char *setting(const char *name, const char *otherwise) {
    size_t length = strlen(name);
    for (int i = 0; i < settings_count; i++)
        if (!strncmp(settings[i], name, length) && settings[i][length] == '=')
            return settings[i][length + 1] ? settings[i] + length + 1 : otherwise;
    return otherwise;
}

static int is_set(const char *name) { return !strcmp(setting(name, "0"), "1"); }
static int setting_is(const char *name, const char *value) { return !strcmp(setting(name, ""), value); }

static void print_text(const char *name, const char *text) {
    printf(", \"%s\": ", name);
    if (!*text) { printf("null"); return; }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') putchar('\\');
        if ((unsigned char)*text >= 32 && (unsigned char)*text < 127) putchar(*text);
    }
    putchar('"');
}

static void print_account(const struct account *account, int peer) {
    printf("{\"peer\": %d, \"done\": %s, \"got\": %ld", peer, account->done ? "true" : "false", account->got);
    if (account->resumed >= 0) printf(", \"resumed\": %s", account->resumed ? "true" : "false");
    print_text("version", account->version);
    print_text("error", account->error);
    print_text("alert_sent", account->alert_sent);
    print_text("alert_received", account->alert_received);
    printf("}\n");
    fflush(stdout);
}

static void be_patient(int fd) {
    struct timeval patience = {atoi(setting("wait", "8")), 0};
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static struct sockaddr_in place(const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    return address;
}

static int open_socket(const char *host, int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = place(host, port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address)) { perror("bind"); exit(3); }
    return fd;
}

static void client_talk(struct tls *tls, struct account *account) {
    static const char request[] = "GET / HTTP/1.0\r\nHost: lab\r\n\r\n";
    char buffer[4096];
    long got;
    if (is_set("leave")) return;
    if (is_set("first") && (got = tls->read(buffer, sizeof buffer, account)) > 0) account->got += got;
    if (tls->write(request, sizeof request - 1, account) < 0) return;
    while ((got = tls->read(buffer, sizeof buffer, account)) > 0) account->got += got;
}

static void server_talk(struct tls *tls, struct account *account) {
    static const char greeting[] = "220 lab ready\r\n", answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
    char buffer[4096];
    long got;
    if (is_set("first") && tls->write(greeting, sizeof greeting - 1, account) < 0) return;
    if ((got = tls->read(buffer, sizeof buffer, account)) <= 0) return;
    account->got += got;
    tls->write(answer, sizeof answer - 1, account);
}

static void one_connection(struct tls *tls, int fd, int is_client, int peer) {
    struct account account = {.resumed = -1};
    be_patient(fd);
    if (!tls->handshake(fd, is_client, &account)) {
        account.done = 1;
        (is_client ? client_talk : server_talk)(tls, &account);
    }
    tls->close(&account);
    close(fd);
    print_account(&account, peer);
}

static void be_client(struct tls *tls) {
    int local = atoi(setting("local", "0"));
    for (int turn = 0; turn <= is_set("again"); turn++) {
        struct sockaddr_in target = place(setting("host", "127.0.0.1"), atoi(setting("port", "0")));
        int fd = open_socket("127.0.0.1", local + turn);
        if (connect(fd, (struct sockaddr *)&target, sizeof target)) { perror("connect"); exit(3); }
        one_connection(tls, fd, 1, local + turn);
    }
}

static void be_server(struct tls *tls) {
    int listener = open_socket("127.0.0.1", atoi(setting("port", "0")));
    listen(listener, 16);
    for (;;) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        int fd = accept(listener, (struct sockaddr *)&peer, &size);
        if (fd >= 0) one_connection(tls, fd, 0, ntohs(peer.sin_port));
    }
}

static int endpoint_main(int count, char **arguments, struct tls *tls) {
    settings_count = count - 1;
    settings = arguments + 1;
    signal(SIGPIPE, SIG_IGN);
    int is_client = setting_is("role", "client");
    tls->setup(is_client);
    (is_client ? be_client : be_server)(tls);
    return 0;
}
#endif
