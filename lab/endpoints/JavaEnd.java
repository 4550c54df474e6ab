import java.io.FileInputStream;
import java.io.FileWriter;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.net.ssl.*;

/** An endpoint on Java's JSSE, or with provider=bouncycastle on Bouncy Castle's. Settings as in endpoint.h. */
public class JavaEnd {
    static final Map<String, String> settings = new HashMap<>();
    static final Map<String, String[]> CIPHERS = Map.of(
        "aes128", new String[] {"TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
        "aes256", new String[] {"TLS_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
        "chacha", new String[] {"TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
        "cbc", new String[] {"TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"},
        "ccm8", new String[] {"TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"});  // not in the JSSE of Java
    static Provider provider;  // null: Java's own

    /** Bouncy Castle's TLS with its own cryptography; its classes are named here only, for they need not be there. */
    static Provider bouncyCastle() throws Exception {
        Provider cryptography = (Provider) Class.forName("org.bouncycastle.jce.provider.BouncyCastleProvider").getConstructor().newInstance();
        Class<?> jsse = Class.forName("org.bouncycastle.jsse.provider.BouncyCastleJsseProvider");
        return (Provider) jsse.getConstructor(Provider.class).newInstance(cryptography);
    }

    static String setting(String name, String otherwise) { return settings.getOrDefault(name, otherwise); }

    static boolean isSet(String name) { return "1".equals(settings.get(name)); }

    static Collection<? extends Certificate> certificates(String file) throws Exception {
        try (InputStream in = new FileInputStream(file)) { return CertificateFactory.getInstance("X.509").generateCertificates(in); }
    }

    static PrivateKey key(String file) throws Exception {
        String text = Files.readString(Path.of(file)).replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
        PKCS8EncodedKeySpec spec = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text));
        try { return KeyFactory.getInstance("EC").generatePrivate(spec); }
        catch (Exception notElliptic) { return KeyFactory.getInstance("RSA").generatePrivate(spec); }
    }

    static SSLContext context(boolean client) throws Exception {
        KeyManager[] own = null;
        if (settings.containsKey("cert")) {
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            store.setKeyEntry("own", key(settings.get("key")), new char[0], certificates(settings.get("cert")).toArray(new Certificate[0]));
            KeyManagerFactory factory = provider == null ? KeyManagerFactory.getInstance("SunX509") : KeyManagerFactory.getInstance("PKIX", provider);
            factory.init(store, new char[0]);
            X509ExtendedKeyManager manager = (X509ExtendedKeyManager) factory.getKeyManagers()[0];
            own = new KeyManager[] {client ? new Always(manager) : manager};
        }
        TrustManager[] trust = null;
        if (settings.containsKey("ca")) {
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            for (Certificate one : certificates(settings.get("ca"))) store.setCertificateEntry("ca", one);
            TrustManagerFactory factory = provider == null ? TrustManagerFactory.getInstance("PKIX") : TrustManagerFactory.getInstance("PKIX", provider);
            factory.init(store);
            trust = factory.getTrustManagers();
        }
        SSLContext made = provider == null ? SSLContext.getInstance("TLS") : SSLContext.getInstance("TLS", provider);
        made.init(own, trust, null);
        return made;
    }

    /** Presents its certificate whatever authorities the server names, as most other stacks do. */
    static class Always extends X509ExtendedKeyManager {
        final X509ExtendedKeyManager manager;
        Always(X509ExtendedKeyManager manager) { this.manager = manager; }
        public String chooseClientAlias(String[] types, java.security.Principal[] issuers, java.net.Socket socket) { return "own"; }
        public String[] getClientAliases(String type, java.security.Principal[] issuers) { return new String[] {"own"}; }
        public String chooseServerAlias(String type, java.security.Principal[] issuers, java.net.Socket socket) { return null; }
        public String[] getServerAliases(String type, java.security.Principal[] issuers) { return null; }
        public X509Certificate[] getCertificateChain(String alias) { return manager.getCertificateChain(alias); }
        public PrivateKey getPrivateKey(String alias) { return manager.getPrivateKey(alias); }
    }

    static void set(SSLSocket socket, boolean client) {
        SSLParameters parameters = socket.getSSLParameters();
        List<String> versions = new ArrayList<>();
        for (String one : new String[] {"1.3", "1.2", "1.1", "1.0"})
            if (one.compareTo(setting("min", "1.2")) >= 0 && one.compareTo(setting("max", "1.3")) <= 0)
                versions.add("TLSv" + (one.equals("1.0") ? "1" : one));
        parameters.setProtocols(versions.toArray(new String[0]));
        if (CIPHERS.containsKey(setting("ciphers", ""))) parameters.setCipherSuites(CIPHERS.get(settings.get("ciphers")));
        if (settings.containsKey("alpn")) parameters.setApplicationProtocols(new String[] {settings.get("alpn")});
        if (client) {
            parameters.setServerNames(List.of(new SNIHostName(settings.get("sni"))));
            if (isSet("verify")) parameters.setEndpointIdentificationAlgorithm("HTTPS");
        } else {
            if ("unrecognized_name".equals(settings.get("alert"))) parameters.setSNIMatchers(List.of(SNIHostName.createSNIMatcher("nobody")));
            if ("require".equals(settings.get("auth"))) parameters.setNeedClientAuth(true);
            if ("request".equals(settings.get("auth"))) parameters.setWantClientAuth(true);
        }
        socket.setSSLParameters(parameters);
    }

    static int talk(SSLSocket socket, boolean client) throws Exception {
        InputStream in = socket.getInputStream();
        OutputStream out = socket.getOutputStream();
        byte[] buffer = new byte[4096];
        int total = 0, got;
        if (client) {
            if (isSet("leave")) return 0;
            if (isSet("first")) total += in.read(buffer);
            out.write("GET / HTTP/1.0\r\nHost: lab\r\n\r\n".getBytes());
            while ((got = in.read(buffer)) > 0) total += got;
            return total;
        }
        if (isSet("first")) out.write("220 lab ready\r\n".getBytes());
        if ((got = in.read(buffer)) <= 0) return 0;
        out.write("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n".getBytes());
        return got;
    }

    static String quoted(String text) { return "\"" + text.replace("\\", "/").replace("\"", "'").replaceAll("\\s+", " ") + "\""; }

    static void converse(SSLSocket socket, boolean client, int peer) throws Exception {
        boolean done = false;
        int got = 0;
        String told = "";
        try {
            socket.setSoTimeout(1000 * Integer.parseInt(setting("wait", "8")));
            socket.setTcpNoDelay(true);
            set(socket, client);
            socket.startHandshake();
            done = true;
            SSLSession session = socket.getSession();
            told += ", \"version\": " + quoted(session.getProtocol()) + ", \"resumed\": " + (client && session.getCreationTime() < begun(peer));
            got = talk(socket, client);
        } catch (Exception error) {
            told += ", \"error\": " + quoted(error.toString());
        }
        try { socket.close(); } catch (Exception ignored) { told += ""; }
        System.out.println("{\"peer\": " + peer + ", \"done\": " + done + ", \"got\": " + got + told + "}");
        System.out.flush();
    }

    static long start;
    static long begun(int peer) { return start; }

    public static void main(String[] arguments) throws Exception {
        java.security.Security.setProperty("jdk.tls.disabledAlgorithms", "NULL");
        for (String one : arguments) {
            String value = one.substring(one.indexOf('=') + 1);
            if (!value.isEmpty()) settings.put(one.substring(0, one.indexOf('=')), value);
        }
        Map<String, String> groups = Map.of("P-256", "secp256r1", "P-384", "secp384r1", "X25519", "x25519");
        if (settings.containsKey("groups")) System.setProperty("jdk.tls.namedGroups", groups.get(settings.get("groups")));
        if ("0".equals(settings.get("tickets"))) {
            System.setProperty("jdk.tls.server.newSessionTicketCount", "0");
            System.setProperty("jdk.tls.server.enableSessionTicketExtension", "false");
        }
        if ("bouncycastle".equals(settings.get("provider"))) provider = bouncyCastle();
        InetAddress here = InetAddress.getByName("127.0.0.1");
        int port = Integer.parseInt(settings.get("port"));
        if (settings.get("role").equals("client")) {
            SSLContext made = context(true);
            int local = Integer.parseInt(settings.get("local"));
            for (int turn = 0; turn <= (isSet("again") ? 1 : 0); turn++) {
                start = System.currentTimeMillis();
                java.net.Socket plain = new java.net.Socket();
                plain.bind(new InetSocketAddress(here, local + turn));
                plain.connect(new InetSocketAddress(here, port));
                converse((SSLSocket) made.getSocketFactory().createSocket(plain, settings.get("sni"), port, true), true, local + turn);
                Thread.sleep(5);
            }
            return;
        }
        SSLServerSocket listener = (SSLServerSocket) context(false).getServerSocketFactory().createServerSocket(port, 16, here);
        while (true) {
            SSLSocket socket = (SSLSocket) listener.accept();
            converse(socket, false, socket.getPort());
        }
    }
}
