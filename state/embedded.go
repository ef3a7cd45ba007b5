// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// Bounds of embedded etcd. History is of no use to us: a watcher that falls
// behind reads the whole again. Quota: a minute's churn of connection records
// is a few hundred MB at worst, and freed pages are used again.
// A start maps the whole file (RssFile); etcd's own memory stays below some 50 MB,
// for its log is cut every 10 000 writes.
const (
	compactEvery  = "1m"
	quotaBytes    = 2 << 30
	defragAboveMB = 64
)

// EmbeddedConfig says how the controller keeps etcd in its own process.
type EmbeddedConfig struct {
	// Cluster is the name of the cluster; etcd's cluster token is made from it.
	Cluster string
	// Listen is the client URL, http://127.0.0.1:2379. Port 0 takes a free one.
	Listen string
	// DataDir is made if it is not there, and closed to others (mode 0700).
	DataDir string
	// CA, Cert and Key are PEM files for https. With CA, clients must show a
	// certificate that it signed.
	CA, Cert, Key string
	// Insecure allows plain http beyond loopback: an isolated management network.
	Insecure bool
	Log      *slog.Logger // nil: slog.Default()
}

// Embedded is a running member.
type Embedded struct {
	etcd     *embed.Etcd
	endpoint string
	close    func() error // once
}

// StartEmbedded starts a cluster of one member and waits until it serves. On
// the same DataDir everything is there again.
//
// It opens no peer port: there is no peer, and a port would be one more to
// collide on. The peer URL is a name that nobody dials.
func StartEmbedded(ctx context.Context, cfg EmbeddedConfig) (*Embedded, error) {
	listen, err := cfg.check()
	if err != nil {
		return nil, err
	}
	lock, err := lockDataDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	rpc, closing := &rpcServers{}, &atomic.Bool{}
	server, err := embed.StartEtcd(cfg.embed(listen, rpc, closing))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start etcd on %s with its data in %s (is another one running? then set etcd.listen): %w", cfg.Listen, cfg.DataDir, err), lock.Close())
	}
	e := &Embedded{etcd: server, endpoint: endpointOf(listen, server.Clients[0].Addr())}
	e.close = sync.OnceValue(func() error {
		closing.Store(true) // what etcd says from here on is about our closing
		rpc.stop()
		server.Close()
		return lock.Close()
	})
	select {
	case <-server.Server.ReadyNotify():
		return e, nil
	case err = <-server.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(fmt.Errorf("wait for etcd on %s: %w", cfg.Listen, err), e.Close())
}

// Endpoint is the URL under which this machine reaches the member.
func (e *Embedded) Endpoint() string { return e.endpoint }

// Done delivers an error if the member stops by itself.
func (e *Embedded) Done() <-chan error { return e.etcd.Err() }

// Close stops the member. It may be called again.
func (e *Embedded) Close() error { return e.close() }

// rpcServers are etcd's gRPC servers. Etcd stops them gracefully, which waits six
// seconds for watches that never end by themselves; nobody needs that: a client
// that is cut off in a request asks again or reads what became of it.
type rpcServers struct {
	mu   sync.Mutex
	list []*grpc.Server
}

func (r *rpcServers) add(server *grpc.Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, server)
}

func (r *rpcServers) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, server := range r.list {
		server.Stop()
	}
}

// check refuses what would listen to strangers, and returns the parsed URL.
func (cfg EmbeddedConfig) check() (url.URL, error) {
	if err := checkCluster(cfg.Cluster); err != nil {
		return url.URL{}, err
	}
	listen, err := url.Parse(cfg.Listen)
	if err != nil || (listen.Scheme != "http" && listen.Scheme != "https") || listen.Port() == "" {
		return url.URL{}, fmt.Errorf("etcd.listen %q: want http://address:port or https://address:port", cfg.Listen)
	}
	addr, err := netip.ParseAddr(listen.Hostname())
	if err != nil {
		return url.URL{}, fmt.Errorf("etcd.listen %q: want an IP address, such as http://127.0.0.1:2379", cfg.Listen)
	}
	if listen.Scheme == "https" && (cfg.Cert == "" || cfg.Key == "") {
		return url.URL{}, fmt.Errorf("etcd.listen %q: https needs etcd.cert and etcd.key", cfg.Listen)
	}
	if listen.Scheme == "http" && !addr.IsLoopback() && !cfg.Insecure {
		return url.URL{}, fmt.Errorf("etcd.listen %q: keys would cross the network in the clear: use https, or etcd.insecure on an isolated network", cfg.Listen)
	}
	return *listen, nil
}

// lockDataDir makes the directory private and keeps a second process out; etcd
// itself would wait for its file without a word.
func lockDataDir(dir string) (*fileutil.LockedFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("etcd data directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("close etcd data directory to others: %w", err)
	}
	path := filepath.Join(dir, "onevip.lock")
	lock, err := fileutil.TryLockFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, fmt.Errorf("etcd data directory %s: another controller is running on it", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return lock, nil
}

// embed translates the configuration.
func (cfg EmbeddedConfig) embed(listen url.URL, rpc *rpcServers, closing *atomic.Bool) *embed.Config {
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	c := embed.NewConfig()
	c.Name = "onevip"
	c.Dir = cfg.DataDir
	c.ListenClientUrls = []url.URL{listen}
	c.AdvertiseClientUrls = []url.URL{listen}
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.InitialClusterToken = "onevip-" + cfg.Cluster
	c.ElectionMs = 500 // alone, it waits for nobody
	c.GRPCKeepAliveMinTime = time.Second
	c.AutoCompactionRetention = compactEvery
	c.QuotaBackendBytes = quotaBytes
	c.BootstrapDefragThresholdMegabytes = defragAboveMB
	c.EnableGRPCGateway = false
	c.CORS = nil
	c.ServiceRegister = rpc.add
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapTo(log.With("part", "etcd"), closing))
	if listen.Scheme == "https" {
		c.ClientTLSInfo = transport.TLSInfo{
			CertFile: cfg.Cert, KeyFile: cfg.Key, TrustedCAFile: cfg.CA, ClientCertAuth: cfg.CA != "",
		}
	}
	return c
}

// endpointOf names the member as a client on this machine dials it: the port
// taken for 0, loopback for "all addresses".
func endpointOf(listen url.URL, at net.Addr) string {
	host := netip.MustParseAddr(listen.Hostname()) // check did it before
	switch host {
	case netip.IPv4Unspecified():
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		host = netip.IPv6Loopback()
	}
	bound, err := netip.ParseAddrPort(at.String())
	if err != nil {
		return listen.String()
	}
	return listen.Scheme + "://" + netip.AddrPortFrom(host, bound.Port()).String()
}
