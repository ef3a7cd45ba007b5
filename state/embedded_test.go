// SPDX-License-Identifier: Apache-2.0

package state

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestEmbeddedKeepsEverything(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "var", "etcd")
	begun := time.Now()
	running := startEmbedded(t, dir, "http://127.0.0.1:0")
	t.Logf("ready after %v", time.Since(begun))
	endpoint := running.Endpoint()
	if strings.HasSuffix(endpoint, ":0") {
		t.Fatalf("endpoint %s: want the port it took", endpoint)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: mode %v, error %v: want 0700", info.Mode(), err)
	}
	e := dial(t, "test", endpoint)
	if _, err := lead(t, e, "c1").Apply(t.Context(), Change{Record: Node{Name: "n1", ID: 1}}); err != nil {
		t.Fatal(err)
	}
	before, err := e.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Close(); err != nil {
		t.Fatal(err)
	}
	// Another port: members remember theirs, ours is not asked for it.
	begun = time.Now()
	again := startEmbedded(t, dir, "http://127.0.0.1:0")
	t.Logf("ready again after %v", time.Since(begun))
	after, err := dial(t, "test", again.Endpoint()).View(t.Context())
	if err != nil || after.Nodes["n1"] != before.Nodes["n1"] || after.Revision < before.Revision {
		t.Errorf("after a restart: %+v, error %v: want %+v", after, err, before)
	}
}

// TestEmbeddedStopsQuietly: nothing about a stop that was asked for, also with a
// watch open.
func TestEmbeddedStopsQuietly(t *testing.T) {
	var said safeBuffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	running, err := StartEmbedded(t.Context(), EmbeddedConfig{Cluster: "test", Listen: "http://127.0.0.1:0", DataDir: t.TempDir(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	updates := dial(t, "test", running.Endpoint()).Watch(t.Context())
	await(t, updates, "first view", func(u Update) bool { return u.Err == nil })
	begun := time.Now()
	if err := running.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("stopped after %v", took)
	}
	if text := said.String(); strings.Contains(text, "grpc") || strings.Contains(text, "ERROR") {
		t.Errorf("said:\n%s", text)
	}
}

// safeBuffer is for writers on other goroutines.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func TestEmbeddedRefuses(t *testing.T) {
	dir := t.TempDir()
	running := startEmbedded(t, dir, "http://127.0.0.1:0")
	tests := []struct {
		name string
		cfg  EmbeddedConfig
		want string
	}{
		{"directory in use", EmbeddedConfig{Cluster: "c", Listen: "http://127.0.0.1:0", DataDir: dir}, "another controller is running on it"},
		{"port in use", EmbeddedConfig{Cluster: "c", Listen: running.Endpoint(), DataDir: t.TempDir()}, "address already in use"},
		{"plain beyond loopback", EmbeddedConfig{Cluster: "c", Listen: "http://0.0.0.0:0", DataDir: t.TempDir()}, "etcd.insecure"},
		{"host name", EmbeddedConfig{Cluster: "c", Listen: "http://localhost:0", DataDir: t.TempDir()}, "want an IP address"},
		{"no port", EmbeddedConfig{Cluster: "c", Listen: "http://127.0.0.1", DataDir: t.TempDir()}, "address:port"},
		{"no certificate", EmbeddedConfig{Cluster: "c", Listen: "https://127.0.0.1:0", DataDir: t.TempDir()}, "etcd.cert"},
		{"no cluster", EmbeddedConfig{Listen: "http://127.0.0.1:0", DataDir: t.TempDir()}, "without a slash"},
		{"no directory", EmbeddedConfig{Cluster: "c", Listen: "http://127.0.0.1:0", DataDir: "/dev/null/x"}, "data directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Log = quiet()
			e, err := StartEmbedded(t.Context(), tt.cfg)
			if err == nil {
				_ = e.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v: want %q in it", err, tt.want)
			}
		})
	}
}

func TestEmbeddedAnyAddress(t *testing.T) {
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{
		Cluster: "c", Listen: "http://0.0.0.0:0", DataDir: t.TempDir(), Insecure: true, Log: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if !strings.HasPrefix(e.Endpoint(), "http://127.0.0.1:") {
		t.Errorf("endpoint %s: want loopback", e.Endpoint())
	}
	if _, err := dial(t, "c", e.Endpoint()).View(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTLS: with a CA, both sides show certificates, or get nothing.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca, cert, key := writeCertificates(t, dir)
	running, err := StartEmbedded(t.Context(), EmbeddedConfig{
		Cluster: "test", Listen: "https://127.0.0.1:0", DataDir: t.TempDir(), CA: ca, Cert: cert, Key: key, Log: quiet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	view := func(cfg DialConfig) error {
		cfg.Endpoints, cfg.Cluster, cfg.Log = []string{running.Endpoint()}, "test", quiet()
		e, err := Dial(t.Context(), cfg)
		if err != nil {
			return err
		}
		defer e.Close()
		_, err = e.View(t.Context())
		return err
	}
	if err := view(DialConfig{CA: ca, Cert: cert, Key: key}); err != nil {
		t.Errorf("with certificates: %v", err)
	}
	if err := view(DialConfig{CA: ca}); !errors.Is(err, ErrOutOfReach) {
		t.Errorf("without a client certificate: %v, want ErrOutOfReach", err)
	}
	if err := view(DialConfig{Cert: cert, Key: key}); !errors.Is(err, ErrOutOfReach) {
		t.Errorf("with a CA that is not the server's: %v, want ErrOutOfReach", err)
	}
}

// writeCertificates makes a CA and one certificate for 127.0.0.1, both ways.
func writeCertificates(t *testing.T, dir string) (ca, cert, key string) {
	t.Helper()
	caKey, leafKey := newKey(t), newKey(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "onevip"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, dir, "ca.pem", "CERTIFICATE", sign(t, root, root, caKey, caKey)),
		writePEM(t, dir, "cert.pem", "CERTIFICATE", sign(t, leaf, root, leafKey, caKey)),
		writePEM(t, dir, "key.pem", "PRIVATE KEY", der)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, dir, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestZapLog: etcd's warnings come through with their fields, its chatter does not.
func TestZapLog(t *testing.T) {
	var out bytes.Buffer
	handler := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: dropTime})
	muted := &atomic.Bool{}
	log := zapTo(slog.New(handler), muted).With(zap.String("member", "m1"))
	log.Info("chatter")
	log.Warn("simple token is not cryptographically signed")
	log.Warn("disk is slow", zap.Duration("took", time.Second))
	log.Error("broken", zap.Error(context.Canceled))
	muted.Store(true)
	log.Error("listener closed")
	const want = "level=WARN msg=\"disk is slow\" member=m1 took=1s\n" +
		"level=ERROR msg=broken member=m1 error=\"context canceled\"\n"
	if out.String() != want {
		t.Errorf("log:\n%swant:\n%s", out.String(), want)
	}
}

func dropTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
