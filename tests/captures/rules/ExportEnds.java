import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.security.KeyStore;
import java.security.Security;
import javax.net.ssl.*;

/** Both ends of one connection with an export cipher, which OpenSSL and GnuTLS have no more; Java's JSSE still has them. */
public class ExportEnds {
    static final String[] SUITES = {"SSL_RSA_EXPORT_WITH_RC4_40_MD5"};

    public static void main(String[] given) throws Exception {  // PKCS #12 file, server's address, client's, client's port
        Security.setProperty("jdk.tls.disabledAlgorithms", "");
        Security.setProperty("jdk.certpath.disabledAlgorithms", "");
        KeyStore store = KeyStore.getInstance(new java.io.File(given[0]), "secret".toCharArray());
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(store, "secret".toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), new TrustManager[] {new Anyone()}, null);
        SSLServerSocket server = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(443, 5, InetAddress.getByName(given[1]));
        weaken(server);
        Thread serving = new Thread(() -> serve(server));
        serving.start();
        SSLSocket client = (SSLSocket) context.getSocketFactory().createSocket();
        client.bind(new InetSocketAddress(given[2], Integer.parseInt(given[3])));
        client.connect(new InetSocketAddress(given[1], 443));
        client.setEnabledProtocols(new String[] {"TLSv1"});
        client.setEnabledCipherSuites(SUITES);
        client.getOutputStream().write("hello\n".getBytes());
        client.getInputStream().read();
        System.out.println(client.getSession().getProtocol() + " " + client.getSession().getCipherSuite());
        client.close();
        serving.join();
    }

    static void weaken(SSLServerSocket server) {
        server.setEnabledProtocols(new String[] {"TLSv1"});
        server.setEnabledCipherSuites(SUITES);
    }

    static void serve(SSLServerSocket server) {
        try (SSLSocket one = (SSLSocket) server.accept()) {
            one.getOutputStream().write(one.getInputStream().read());
        } catch (Exception gone) {
            System.out.println(gone);
        }
    }

    static class Anyone extends X509ExtendedTrustManager {
        public void checkClientTrusted(java.security.cert.X509Certificate[] chain, String type) { }
        public void checkServerTrusted(java.security.cert.X509Certificate[] chain, String type) { }
        public void checkClientTrusted(java.security.cert.X509Certificate[] chain, String type, java.net.Socket socket) { }
        public void checkServerTrusted(java.security.cert.X509Certificate[] chain, String type, java.net.Socket socket) { }
        public void checkClientTrusted(java.security.cert.X509Certificate[] chain, String type, SSLEngine engine) { }
        public void checkServerTrusted(java.security.cert.X509Certificate[] chain, String type, SSLEngine engine) { }
        public java.security.cert.X509Certificate[] getAcceptedIssuers() { return new java.security.cert.X509Certificate[0]; }
    }
}
