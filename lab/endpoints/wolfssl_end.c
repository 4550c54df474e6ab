/* An endpoint on wolfSSL. */
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "endpoint.h"

static WOLFSSL_CTX *context;
static WOLFSSL *session;
static WOLFSSL_SESSION *kept;

static void fail(const char *what) { fprintf(stderr, "%s\n", what); exit(3); }

static const char *ciphers(void) {
    const char *token = setting("ciphers", "");
    if (!strcmp(token, "aes128")) return "TLS13-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256";
    if (!strcmp(token, "aes256")) return "TLS13-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384";
    if (!strcmp(token, "chacha")) return "TLS13-CHACHA20-POLY1305-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305";
    if (!strcmp(token, "cbc")) return "TLS13-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA";
    if (!strcmp(token, "ccm8")) return "TLS13-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-CCM-8";
    return NULL;
}

static WOLFSSL_METHOD *method(int is_client) {
    const char *lowest = setting("min", "1.2"), *highest = setting("max", "1.3");
    if (!strcmp(lowest, "1.3")) return is_client ? wolfTLSv1_3_client_method() : wolfTLSv1_3_server_method();
    if (!strcmp(highest, "1.2")) return is_client ? wolfTLSv1_2_client_method() : wolfTLSv1_2_server_method();
    if (!strcmp(highest, "1.1")) return is_client ? wolfTLSv1_1_client_method() : wolfTLSv1_1_server_method();
    return is_client ? wolfSSLv23_client_method() : wolfSSLv23_server_method();
}

static void setup(int is_client) {
    wolfSSL_Init();
    context = wolfSSL_CTX_new(method(is_client));
    if (!context) fail("no such version");
    wolfSSL_CTX_SetMinVersion(context, !strcmp(setting("min", "1.2"), "1.3") ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2);
    if (*setting("ca", "") && wolfSSL_CTX_load_verify_locations(context, setting("ca", ""), NULL) != SSL_SUCCESS) fail("ca");
    if (*setting("cert", "")) {
        if (wolfSSL_CTX_use_certificate_chain_file(context, setting("cert", "")) != SSL_SUCCESS) fail("cert");
        if (wolfSSL_CTX_use_PrivateKey_file(context, setting("key", ""), SSL_FILETYPE_PEM) != SSL_SUCCESS) fail("key");
    }
    if (ciphers() && wolfSSL_CTX_set_cipher_list(context, ciphers()) != SSL_SUCCESS) fail("ciphers");
    int mode = is_client ? (is_set("verify") ? SSL_VERIFY_PEER : SSL_VERIFY_NONE)
               : setting_is("auth", "require") ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
               : setting_is("auth", "request") ? SSL_VERIFY_PEER
                                               : SSL_VERIFY_NONE;
    wolfSSL_CTX_set_verify(context, mode, NULL);
}

static void set_groups(void) {
    const char *token = setting("groups", "");
    int group = !strcmp(token, "P-256") ? WOLFSSL_ECC_SECP256R1 : !strcmp(token, "P-384") ? WOLFSSL_ECC_SECP384R1 : 0;
    if (group) wolfSSL_set_groups(session, &group, 1);
}

static void say(struct account *account, int result) {
    WOLFSSL_ALERT_HISTORY history;
    int code = wolfSSL_get_error(session, result);
    char text[WOLFSSL_MAX_ERROR_SZ];
    snprintf(account->error, sizeof account->error, "%s (%d)", wolfSSL_ERR_error_string(code, text), code);
    if (wolfSSL_get_alert_history(session, &history) != SSL_SUCCESS) return;
    if (history.last_rx.code > 0) snprintf(account->alert_received, sizeof account->alert_received, "%d", history.last_rx.code);
    if (history.last_tx.code > 0) snprintf(account->alert_sent, sizeof account->alert_sent, "%d", history.last_tx.code);
}

static int handshake(int fd, int is_client, struct account *account) {
    session = wolfSSL_new(context);
    wolfSSL_set_fd(session, fd);
    set_groups();
    if (*setting("alpn", ""))
        wolfSSL_UseALPN(session, (char *)setting("alpn", ""), strlen(setting("alpn", "")), WOLFSSL_ALPN_FAILED_ON_MISMATCH);
    if (is_client) {
        wolfSSL_UseSNI(session, WOLFSSL_SNI_HOST_NAME, setting("sni", ""), strlen(setting("sni", "")));
        if (is_set("verify")) wolfSSL_check_domain_name(session, setting("sni", ""));
        if (kept) wolfSSL_set_session(session, kept);
    }
    if (!is_client && *setting("alert", "")) {
        wolfSSL_UseSNI(session, WOLFSSL_SNI_HOST_NAME, "nobody.example", 14);
        wolfSSL_SNI_SetOptions(session, WOLFSSL_SNI_HOST_NAME, WOLFSSL_SNI_ABORT_ON_ABSENCE);
    }
    if (!is_client && setting_is("tickets", "0")) wolfSSL_no_ticket_TLSv13(session);
    int result = is_client ? wolfSSL_connect(session) : wolfSSL_accept(session);
    if (result != SSL_SUCCESS) { say(account, result); return -1; }
    snprintf(account->version, sizeof account->version, "%s", wolfSSL_get_version(session));
    account->resumed = wolfSSL_session_reused(session);
    return 0;
}

static long receive(void *buffer, long size, struct account *account) {
    int got = wolfSSL_read(session, buffer, size);
    if (got <= 0 && wolfSSL_get_error(session, got) != SSL_ERROR_ZERO_RETURN) say(account, got);
    return got < 0 ? 0 : got;
}

static long transmit(const void *buffer, long size, struct account *account) {
    int sent = wolfSSL_write(session, buffer, size);
    if (sent <= 0) say(account, sent);
    return sent <= 0 ? -1 : sent;
}

static void leave(struct account *account) {
    if (account->done) {
        if (is_set("again") && !kept) kept = wolfSSL_get1_session(session);
        wolfSSL_shutdown(session);
    }
    wolfSSL_free(session);
}

int main(int count, char **arguments) {
    struct tls tls = {setup, handshake, receive, transmit, leave};
    return endpoint_main(count, arguments, &tls);
}
