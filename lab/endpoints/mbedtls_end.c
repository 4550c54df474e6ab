/* An endpoint on Mbed TLS 2.28, which has no TLS 1.3. */
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_cache.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/ssl_ticket.h>

#include "endpoint.h"

static mbedtls_ssl_config config;
static mbedtls_ssl_context session;
static mbedtls_ssl_session kept;
static mbedtls_net_context network;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context random_source;
static mbedtls_x509_crt own, trusted;
static mbedtls_pk_context key;
static mbedtls_ssl_ticket_context tickets;
static mbedtls_ssl_cache_context cache;
static const char *protocols[2];
static int suites[3], has_kept;
static mbedtls_ecp_group_id groups[2];

static int minor(const char *version) { return 1 + version[2] - '0'; }

static void choose(void) {
    const char *token = setting("ciphers", "");
    if (!strcmp(token, "aes128")) suites[0] = MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    if (!strcmp(token, "aes256")) suites[0] = MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    if (!strcmp(token, "chacha")) suites[0] = MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    if (!strcmp(token, "cbc")) suites[0] = MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA;
    if (!strcmp(token, "ccm8")) suites[0] = MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8;
    if (suites[0]) mbedtls_ssl_conf_ciphersuites(&config, suites);
    token = setting("groups", "");
    groups[0] = !strcmp(token, "P-256") ? MBEDTLS_ECP_DP_SECP256R1 : !strcmp(token, "P-384") ? MBEDTLS_ECP_DP_SECP384R1 : MBEDTLS_ECP_DP_NONE;
    if (groups[0]) mbedtls_ssl_conf_curves(&config, groups);
}

static void setup(int is_client) {
    mbedtls_ssl_config_init(&config);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random_source);
    mbedtls_ctr_drbg_seed(&random_source, mbedtls_entropy_func, &entropy, NULL, 0);
    mbedtls_ssl_config_defaults(&config, is_client ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random_source);
    mbedtls_ssl_conf_min_version(&config, 3, minor(setting("min", "1.2")));
    mbedtls_ssl_conf_max_version(&config, 3, minor(setting_is("max", "1.3") ? "1.2" : setting("max", "1.2")));
    mbedtls_x509_crt_init(&own);
    mbedtls_x509_crt_init(&trusted);
    mbedtls_pk_init(&key);
    if (*setting("ca", "")) mbedtls_x509_crt_parse_file(&trusted, setting("ca", ""));
    mbedtls_ssl_conf_ca_chain(&config, &trusted, NULL);
    if (*setting("cert", "")) {
        mbedtls_x509_crt_parse_file(&own, setting("cert", ""));
        mbedtls_pk_parse_keyfile(&key, setting("key", ""), NULL);
        mbedtls_ssl_conf_own_cert(&config, &own, &key);
    }
    int strict = is_client ? is_set("verify") : setting_is("auth", "require");
    mbedtls_ssl_conf_authmode(&config, strict ? MBEDTLS_SSL_VERIFY_REQUIRED : setting_is("auth", "request") ? MBEDTLS_SSL_VERIFY_OPTIONAL : MBEDTLS_SSL_VERIFY_NONE);
    protocols[0] = setting("alpn", NULL);
    if (protocols[0]) mbedtls_ssl_conf_alpn_protocols(&config, protocols);
    mbedtls_ssl_conf_read_timeout(&config, 1000 * atoi(setting("wait", "8")));
    choose();
    if (is_client) return;
    mbedtls_ssl_cache_init(&cache);
    mbedtls_ssl_conf_session_cache(&config, &cache, mbedtls_ssl_cache_get, mbedtls_ssl_cache_set);
    mbedtls_ssl_ticket_init(&tickets);
    mbedtls_ssl_ticket_setup(&tickets, mbedtls_ctr_drbg_random, &random_source, MBEDTLS_CIPHER_AES_256_GCM, 86400);
    if (!setting_is("tickets", "0"))
        mbedtls_ssl_conf_session_tickets_cb(&config, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse, &tickets);
}

static void say(struct account *account, int result) {
    char text[160];
    mbedtls_strerror(result, text, sizeof text);
    snprintf(account->error, sizeof account->error, "%s", text);
    if (result == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE && session.in_msgtype == MBEDTLS_SSL_MSG_ALERT)
        snprintf(account->alert_received, sizeof account->alert_received, "%d", session.in_msg[1]);
}

static int handshake(int fd, int is_client, struct account *account) {
    int result;
    mbedtls_ssl_init(&session);
    mbedtls_ssl_setup(&session, &config);
    network.fd = fd;
    mbedtls_ssl_set_bio(&session, &network, mbedtls_net_send, mbedtls_net_recv, mbedtls_net_recv_timeout);
    if (is_client) mbedtls_ssl_set_hostname(&session, setting("sni", NULL));
    if (is_client && has_kept) mbedtls_ssl_set_session(&session, &kept);
    do result = mbedtls_ssl_handshake(&session);
    while (result == MBEDTLS_ERR_SSL_WANT_READ || result == MBEDTLS_ERR_SSL_WANT_WRITE);
    if (result) { say(account, result); return -1; }
    snprintf(account->version, sizeof account->version, "%s", mbedtls_ssl_get_version(&session));
    return 0;
}

static long receive(void *buffer, long size, struct account *account) {
    int got = mbedtls_ssl_read(&session, buffer, size);
    if (got == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) return 0;
    if (got < 0) say(account, got);
    return got;
}

static long transmit(const void *buffer, long size, struct account *account) {
    int sent = mbedtls_ssl_write(&session, buffer, size);
    if (sent < 0) say(account, sent);
    return sent;
}

static void leave(struct account *account) {
    if (account->done) {
        if (is_set("again") && !has_kept && setting_is("role", "client")) {
            mbedtls_ssl_session_init(&kept);
            has_kept = !mbedtls_ssl_get_session(&session, &kept);
        }
        mbedtls_ssl_close_notify(&session);
    }
    mbedtls_ssl_free(&session);
}

int main(int count, char **arguments) {
    struct tls tls = {setup, handshake, receive, transmit, leave};
    return endpoint_main(count, arguments, &tls);
}
