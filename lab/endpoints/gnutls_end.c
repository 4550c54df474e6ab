/* An endpoint on GnuTLS. */
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "endpoint.h"

static gnutls_certificate_credentials_t credentials;
static gnutls_session_t session;
static gnutls_datum_t ticket_key, kept;

static const char *priority(void) {
    static char text[400];
    static const char *versions[] = {"1.0", "1.1", "1.2", "1.3"};
    const char *lowest = setting("min", "1.2"), *highest = setting("max", "1.3"), *token;
    strcpy(text, strcmp(lowest, "1.2") < 0 ? "NORMAL:%VERIFY_ALLOW_SIGN_WITH_SHA1:+SIGN-ECDSA-SHA1:+SHA1" : "NORMAL");
    strcat(text, ":-VERS-ALL");
    for (int i = 3; i >= 0; i--)
        if (strcmp(versions[i], lowest) >= 0 && strcmp(versions[i], highest) <= 0)
            strcat(strcat(text, ":+VERS-TLS"), versions[i]);
    token = setting("ciphers", "");
    if (!strcmp(token, "aes128")) strcat(text, ":-CIPHER-ALL:+AES-128-GCM");
    if (!strcmp(token, "aes256")) strcat(text, ":-CIPHER-ALL:+AES-256-GCM");
    if (!strcmp(token, "chacha")) strcat(text, ":-CIPHER-ALL:+CHACHA20-POLY1305");
    if (!strcmp(token, "cbc")) strcat(text, ":-CIPHER-ALL:+AES-128-CBC:+SHA1");
    if (!strcmp(token, "ccm8")) strcat(text, ":-CIPHER-ALL:+AES-128-CCM-8");
    token = setting("groups", "");
    if (!strcmp(token, "P-256")) strcat(text, ":-GROUP-ALL:+GROUP-SECP256R1");
    if (!strcmp(token, "P-384")) strcat(text, ":-GROUP-ALL:+GROUP-SECP384R1");
    if (!strcmp(token, "X25519")) strcat(text, ":-GROUP-ALL:+GROUP-X25519");
    if (setting_is("tickets", "0")) strcat(text, ":%NO_TICKETS");
    return text;
}

static void setup(int is_client) {
    gnutls_global_init();
    gnutls_certificate_allocate_credentials(&credentials);
    if (*setting("ca", "")) gnutls_certificate_set_x509_trust_file(credentials, setting("ca", ""), GNUTLS_X509_FMT_PEM);
    if (*setting("cert", ""))
        gnutls_certificate_set_x509_key_file(credentials, setting("cert", ""), setting("key", ""), GNUTLS_X509_FMT_PEM);
    if (!is_client) gnutls_session_ticket_key_generate(&ticket_key);
}

static void prepare(int fd, int is_client) {
    const char *sni = setting("sni", ""), *error;
    gnutls_datum_t protocol = {(unsigned char *)setting("alpn", ""), strlen(setting("alpn", ""))};
    gnutls_init(&session, is_client ? GNUTLS_CLIENT : GNUTLS_SERVER);
    if (gnutls_priority_set_direct(session, priority(), &error)) { fprintf(stderr, "priority: %s\n", error); exit(3); }
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    if (protocol.size) gnutls_alpn_set_protocols(session, &protocol, 1, is_client ? 0 : GNUTLS_ALPN_MANDATORY);
    if (is_client) {
        if (*sni) gnutls_server_name_set(session, GNUTLS_NAME_DNS, sni, strlen(sni));
        if (is_set("verify")) gnutls_session_set_verify_cert(session, *sni ? sni : NULL, 0);
        if (kept.size) gnutls_session_set_data(session, kept.data, kept.size);
    } else {
        if (!setting_is("tickets", "0")) gnutls_session_ticket_enable_server(session, &ticket_key);
        gnutls_certificate_server_set_request(session, setting_is("auth", "require")   ? GNUTLS_CERT_REQUIRE
                                                       : setting_is("auth", "request") ? GNUTLS_CERT_REQUEST
                                                                                       : GNUTLS_CERT_IGNORE);
        if (setting_is("auth", "require")) gnutls_session_set_verify_cert(session, NULL, 0);
    }
    gnutls_handshake_set_timeout(session, 1000 * atoi(setting("wait", "8")));
    gnutls_transport_set_int(session, fd);
}

static void say(struct account *account, int result) {
    int length = snprintf(account->error, sizeof account->error, "%s", gnutls_strerror(result));
    if (result == GNUTLS_E_FATAL_ALERT_RECEIVED || result == GNUTLS_E_WARNING_ALERT_RECEIVED)
        snprintf(account->error + length, sizeof account->error - length, ": (%d) %s", gnutls_alert_get(session),
                 gnutls_alert_get_name(gnutls_alert_get(session)));
}

static int handshake(int fd, int is_client, struct account *account) {
    int result;
    prepare(fd, is_client);
    do result = gnutls_handshake(session);
    while (result < 0 && !gnutls_error_is_fatal(result));
    if (result < 0) {
        say(account, result);
        /* The manual: tell the peer of a failed handshake. */
        int level, alert = gnutls_error_to_alert(result, &level);
        if (gnutls_alert_send_appropriate(session, result) == 0 && alert > 0 && result != GNUTLS_E_FATAL_ALERT_RECEIVED)
            snprintf(account->alert_sent, sizeof account->alert_sent, "%d", alert);
        return -1;
    }
    snprintf(account->version, sizeof account->version, "%s", gnutls_protocol_get_name(gnutls_protocol_get_version(session)));
    account->resumed = gnutls_session_is_resumed(session);
    return 0;
}

static long receive(void *buffer, long size, struct account *account) {
    long got;
    do got = gnutls_record_recv(session, buffer, size);
    while (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED);
    if (got < 0) say(account, got);
    return got;
}

static long transmit(const void *buffer, long size, struct account *account) {
    long sent = gnutls_record_send(session, buffer, size);
    if (sent < 0) say(account, sent);
    return sent;
}

static void leave(struct account *account) {
    if (account->done) {
        if (is_set("again") && !kept.size) gnutls_session_get_data2(session, &kept);
        gnutls_bye(session, GNUTLS_SHUT_WR);
    }
    gnutls_deinit(session);
}

int main(int count, char **arguments) {
    struct tls tls = {setup, handshake, receive, transmit, leave};
    return endpoint_main(count, arguments, &tls);
}
