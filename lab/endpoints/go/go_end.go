// An endpoint on Go's crypto/tls. Settings as in endpoint.h.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

var settings = map[string]string{}

type account struct {
	Peer    int    `json:"peer"`
	Done    bool   `json:"done"`
	Got     int    `json:"got"`
	Version string `json:"version,omitempty"`
	Resumed bool   `json:"resumed"`
	Error   string `json:"error,omitempty"`
}

var versions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
var groups = map[string]tls.CurveID{"P-256": tls.CurveP256, "P-384": tls.CurveP384, "X25519": tls.X25519}
var ciphers = map[string]uint16{
	"aes128": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "aes256": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"chacha": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305, "cbc": tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
}

func setting(name, otherwise string) string {
	if value := settings[name]; value != "" {
		return value
	}
	return otherwise
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func config(client bool) *tls.Config {
	made := &tls.Config{MinVersion: versions[setting("min", "1.2")], MaxVersion: versions[setting("max", "1.3")], ServerName: settings["sni"]}
	if settings["cert"] != "" {
		pair, err := tls.LoadX509KeyPair(settings["cert"], settings["key"])
		must(err)
		made.Certificates = []tls.Certificate{pair}
		if client { // Go sends a certificate only where the server's list of authorities has its issuer, unless told so
			made.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
	}
	if settings["ca"] != "" {
		pem, err := os.ReadFile(settings["ca"])
		must(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		made.RootCAs, made.ClientCAs = pool, pool
	}
	if settings["alpn"] != "" {
		made.NextProtos = []string{settings["alpn"]}
	}
	if settings["groups"] != "" {
		made.CurvePreferences = []tls.CurveID{groups[settings["groups"]]}
	}
	if settings["ciphers"] != "" {
		made.CipherSuites = []uint16{ciphers[settings["ciphers"]]}
	}
	if settings["keylog"] != "" {
		file, err := os.OpenFile(settings["keylog"], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		must(err)
		made.KeyLogWriter = file
	}
	made.InsecureSkipVerify = settings["verify"] != "1"
	made.SessionTicketsDisabled = settings["tickets"] == "0"
	made.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	made.ClientAuth = map[string]tls.ClientAuthType{"": tls.NoClientCert, "none": tls.NoClientCert,
		"request": tls.VerifyClientCertIfGiven, "require": tls.RequireAndVerifyClientCert}[settings["auth"]]
	if settings["alert"] == "internal_error" {
		made.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("refused") }
	}
	return made
}

func talk(connection *tls.Conn, client bool, told *account) error {
	buffer := make([]byte, 4096)
	if client {
		if settings["leave"] == "1" {
			return nil
		}
		if settings["first"] == "1" {
			got, err := connection.Read(buffer)
			told.Got += got
			if err != nil {
				return err
			}
		}
		if _, err := connection.Write([]byte("GET / HTTP/1.0\r\nHost: lab\r\n\r\n")); err != nil {
			return err
		}
		for {
			got, err := connection.Read(buffer)
			told.Got += got
			if err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	if settings["first"] == "1" {
		connection.Write([]byte("220 lab ready\r\n"))
	}
	got, err := connection.Read(buffer)
	told.Got += got
	if got > 0 {
		connection.Write([]byte("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n"))
		return nil
	}
	return err
}

func converse(connection *tls.Conn, client bool, peer int) {
	told := account{Peer: peer}
	wait, _ := strconv.Atoi(setting("wait", "8"))
	connection.SetDeadline(time.Now().Add(time.Duration(wait) * time.Second))
	err := connection.Handshake()
	if err == nil {
		state := connection.ConnectionState()
		told.Done, told.Resumed, told.Version = true, state.DidResume, fmt.Sprintf("0x%x", state.Version)
		err = talk(connection, client, &told)
	}
	if err != nil {
		told.Error = err.Error()
	}
	connection.Close()
	line, _ := json.Marshal(told)
	fmt.Println(string(line))
}

func main() {
	for _, argument := range os.Args[1:] {
		name, value, _ := strings.Cut(argument, "=")
		settings[name] = value
	}
	if settings["role"] == "client" {
		made := config(true)
		local, _ := strconv.Atoi(settings["local"])
		turns := 1
		if settings["again"] == "1" {
			turns = 2
		}
		for turn := 0; turn < turns; turn++ {
			dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: local + turn}}
			plain, err := dialer.Dial("tcp", "127.0.0.1:"+settings["port"])
			must(err)
			converse(tls.Client(plain, made), true, local+turn)
		}
		return
	}
	made := config(false)
	listener, err := net.Listen("tcp", "127.0.0.1:"+settings["port"])
	must(err)
	for {
		plain, err := listener.Accept()
		must(err)
		converse(tls.Server(plain, made), false, plain.RemoteAddr().(*net.TCPAddr).Port)
	}
}
