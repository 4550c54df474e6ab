/* An endpoint on NSS. Certificates come from databases that are named after their PEM files. */
#include <cert.h>
#include <keyhi.h>
#include <nss.h>
#include <pk11pub.h>
#include <prerror.h>
#include <private/pprio.h>
#include <prinit.h>
#include <secerr.h>
#include <ssl.h>
#include <sslerr.h>
#include <sslproto.h>

#include "endpoint.h"

static PRFileDesc *session;
static struct account *current;

static PRUint16 version(const char *text) { return SSL_LIBRARY_VERSION_TLS_1_0 + (text[2] - '0'); }

static char *stem(const char *file) {
    static char text[100];
    snprintf(text, sizeof text, "%s", file);
    *strchr(text, '.') = 0;
    return text;
}

static void setup(int is_client) {
    char database[120];
    snprintf(database, sizeof database, "sql:nss_%s", stem(setting("cert", "none.pem")));
    if (NSS_Init(database) != SECSuccess) { fprintf(stderr, "database: %s\n", PR_ErrorToName(PR_GetError())); exit(3); }
    NSS_SetDomesticPolicy();
    if (!is_client) SSL_ConfigServerSessionIDCache(0, 0, 0, ".");
}

static void note_sent(const PRFileDesc *fd, void *data, const SSLAlert *alert) {
    if (alert->description && !*current->alert_sent) snprintf(current->alert_sent, 40, "%d", alert->description);
}

static void note_received(const PRFileDesc *fd, void *data, const SSLAlert *alert) {
    if (alert->description && !*current->alert_received) snprintf(current->alert_received, 40, "%d", alert->description);
}

static SECStatus give_certificate(void *name, PRFileDesc *fd, CERTDistNames *authorities, CERTCertificate **cert, SECKEYPrivateKey **key) {
    *cert = PK11_FindCertFromNickname(name, NULL);
    *key = *cert ? PK11_FindKeyByAnyCert(*cert, NULL) : NULL;
    return *key ? SECSuccess : SECFailure;
}

static SECStatus take_any(void *data, PRFileDesc *fd, PRBool check, PRBool is_server) { return SECSuccess; }

static void choose_ciphers(void) {
    const char *token = setting("ciphers", "");
    int wanted12 = !strcmp(token, "aes128")   ? TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                   : !strcmp(token, "aes256") ? TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                   : !strcmp(token, "chacha") ? TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                                              : TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA;
    int wanted13 = !strcmp(token, "aes256") ? TLS_AES_256_GCM_SHA384 : !strcmp(token, "chacha") ? TLS_CHACHA20_POLY1305_SHA256 : TLS_AES_128_GCM_SHA256;
    if (!*token) return;
    for (int i = 0; i < SSL_NumImplementedCiphers; i++)
        SSL_CipherPrefSet(session, SSL_ImplementedCiphers[i], SSL_ImplementedCiphers[i] == wanted12 || SSL_ImplementedCiphers[i] == wanted13);
}

static void choose_groups(void) {
    const char *token = setting("groups", "");
    SSLNamedGroup group = !strcmp(token, "P-256") ? ssl_grp_ec_secp256r1 : !strcmp(token, "P-384") ? ssl_grp_ec_secp384r1 : ssl_grp_ec_curve25519;
    if (*token) SSL_NamedGroupConfig(session, &group, 1);
}

static void choose_alpn(void) {
    unsigned char wire[64];
    const char *name = setting("alpn", "");
    if (!*name) return;
    wire[0] = strlen(name);
    memcpy(wire + 1, name, wire[0]);
    SSL_OptionSet(session, SSL_ENABLE_ALPN, PR_TRUE);
    SSL_SetNextProtoNego(session, wire, wire[0] + 1);
}

static void be_server_side(void) {
    char *name = stem(setting("cert", "server.pem"));
    CERTCertificate *cert = PK11_FindCertFromNickname(name, NULL);
    SECKEYPrivateKey *key = cert ? PK11_FindKeyByAnyCert(cert, NULL) : NULL;
    if (!key || SSL_ConfigServerCert(session, cert, key, NULL, 0) != SECSuccess) { fprintf(stderr, "no certificate %s\n", name); exit(3); }
    SSL_OptionSet(session, SSL_REQUEST_CERTIFICATE, !setting_is("auth", "") && !setting_is("auth", "none"));
    SSL_OptionSet(session, SSL_REQUIRE_CERTIFICATE, setting_is("auth", "require") ? SSL_REQUIRE_ALWAYS : SSL_REQUIRE_NEVER);
}

static int handshake(int fd, int is_client, struct account *account) {
    SSLVersionRange range = {version(setting("min", "1.2")), version(setting("max", "1.3"))};
    SSLChannelInfo info;
    struct timeval none = {0, 0};
    current = account;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none); /* NSPR waits by itself */
    session = SSL_ImportFD(NULL, PR_ImportTCPSocket(fd));
    PRSocketOptionData blocking = {.option = PR_SockOpt_Nonblocking, .value.non_blocking = PR_FALSE};
    PR_SetSocketOption(session, &blocking);
    SSL_OptionSet(session, SSL_SECURITY, PR_TRUE);
    SSL_OptionSet(session, SSL_HANDSHAKE_AS_CLIENT, is_client);
    SSL_OptionSet(session, SSL_HANDSHAKE_AS_SERVER, !is_client);
    SSL_OptionSet(session, SSL_ENABLE_SESSION_TICKETS, !setting_is("tickets", "0"));
    SSL_VersionRangeSet(session, &range);
    choose_ciphers();
    choose_groups();
    choose_alpn();
    SSL_AlertSentCallback(session, note_sent, NULL);
    SSL_AlertReceivedCallback(session, note_received, NULL);
    if (is_client) {
        SSL_SetURL(session, setting("sni", ""));
        if (!is_set("verify")) SSL_AuthCertificateHook(session, take_any, NULL);
        if (*setting("cert", "")) SSL_GetClientAuthDataHook(session, give_certificate, stem(setting("cert", "")));
    } else {
        be_server_side();
    }
    SSL_ResetHandshake(session, !is_client);
    if (SSL_ForceHandshakeWithTimeout(session, PR_SecondsToInterval(atoi(setting("wait", "8")))) != SECSuccess) {
        snprintf(account->error, sizeof account->error, "%s", PR_ErrorToName(PR_GetError()));
        return -1;
    }
    SSL_GetChannelInfo(session, &info, sizeof info);
    snprintf(account->version, sizeof account->version, "TLS 1.%d", info.protocolVersion - SSL_LIBRARY_VERSION_TLS_1_0);
    account->resumed = info.resumed;
    return 0;
}

static long receive(void *buffer, long size, struct account *account) {
    int got = PR_Recv(session, buffer, size, 0, PR_SecondsToInterval(atoi(setting("wait", "8"))));
    if (got < 0) snprintf(account->error, sizeof account->error, "%s", PR_ErrorToName(PR_GetError()));
    return got;
}

static long transmit(const void *buffer, long size, struct account *account) {
    int sent = PR_Send(session, buffer, size, 0, PR_SecondsToInterval(5));
    if (sent < 0) snprintf(account->error, sizeof account->error, "%s", PR_ErrorToName(PR_GetError()));
    return sent;
}

static void leave(struct account *account) { PR_Close(session); }

int main(int count, char **arguments) {
    struct tls tls = {setup, handshake, receive, transmit, leave};
    return endpoint_main(count, arguments, &tls);
}
