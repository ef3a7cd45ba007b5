// SPDX-License-Identifier: Apache-2.0

package state

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// requestTimeout bounds one request. With probePause it bounds the time in
	// which a silent loss of etcd is noticed.
	requestTimeout = 1200 * time.Millisecond
	// minConnect and maxBackoff replace gRPC's 20 s and 120 s: etcd is close by,
	// and a cluster must not wait for minutes after its return.
	minConnect = 2 * time.Second
	maxBackoff = time.Second
)

// DialConfig says where etcd is.
type DialConfig struct {
	// Endpoints are URLs, https://10.0.0.1:2379; all http or all https.
	Endpoints []string
	// CA, Cert and Key are PEM files, read again at each handshake. CA empty:
	// the system's authorities. Cert and Key empty: no client certificate.
	CA, Cert, Key string
	// Cluster names the prefix, /onevip/v1/<cluster>/.
	Cluster string
	Log     *slog.Logger // nil: slog.Default()
}

// Etcd is a Store in etcd.
type Etcd struct {
	client  *clientv3.Client
	cluster string
	prefix  string
	log     *slog.Logger

	mu    sync.Mutex
	stale []clientv3.LeaseID // of leaderships that this process lost; guarded by mu
}

var _ Store = (*Etcd)(nil)

// Dial prepares the connection and does not wait for it: an agent may start
// before its etcd. The error is one of the configuration.
func Dial(ctx context.Context, cfg DialConfig) (*Etcd, error) {
	if err := checkCluster(cfg.Cluster); err != nil {
		return nil, err
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	// The client's own log repeats each failed request; Update.Err and the
	// errors of the methods say it once.
	client, err := clientv3.New(clientv3.Config{
		Context:              context.WithoutCancel(ctx),
		Endpoints:            cfg.Endpoints,
		TLS:                  tlsConfig,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second,
		DialOptions:          []grpc.DialOption{reconnect()},
		Logger:               zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd client for %s: %w", strings.Join(cfg.Endpoints, ", "), err)
	}
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	return &Etcd{client: client, cluster: cfg.Cluster, prefix: Prefix(cfg.Cluster), log: log}, nil
}

func reconnect() grpc.DialOption {
	return grpc.WithConnectParams(grpc.ConnectParams{
		MinConnectTimeout: minConnect,
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxBackoff},
	})
}

func checkCluster(name string) error {
	if name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("cluster %q: want a name without a slash", name)
	}
	return nil
}

// tls checks the endpoints and gives the client's side of TLS, or nil for http.
func (cfg DialConfig) tls() (*tls.Config, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("no etcd endpoint: write one, such as https://10.0.0.1:2379")
	}
	secure := strings.HasPrefix(cfg.Endpoints[0], "https://")
	for _, endpoint := range cfg.Endpoints {
		if !strings.HasPrefix(endpoint, "http://") && !strings.HasPrefix(endpoint, "https://") {
			return nil, fmt.Errorf("etcd endpoint %q: want http://host:port or https://host:port", endpoint)
		}
		if strings.HasPrefix(endpoint, "https://") != secure {
			return nil, fmt.Errorf("etcd endpoints %s: want all http or all https", strings.Join(cfg.Endpoints, ", "))
		}
	}
	files := cfg.CA != "" || cfg.Cert != "" || cfg.Key != ""
	if !secure && files {
		return nil, fmt.Errorf("etcd endpoint %s is plain, but certificates are given: write https://", cfg.Endpoints[0])
	}
	if !secure {
		return nil, nil
	}
	info := transport.TLSInfo{TrustedCAFile: cfg.CA, CertFile: cfg.Cert, KeyFile: cfg.Key}
	config, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("etcd certificates: %w", err)
	}
	return config, nil
}

// Close ends the connection; Watch and KeepAgent must have ended before.
func (e *Etcd) Close() error { return e.client.Close() }

// View reads everything once.
func (e *Etcd) View(ctx context.Context) (View, error) {
	items, revision, err := e.load(ctx)
	if err != nil {
		return View{}, err
	}
	snap := newSnapshot()
	snap.replace(items)
	return snap.view(revision), nil
}

// The keys in order are agents, cluster, conns, and the rest. Connections are
// many and change all the time, nobody watches them: two ranges leave them out.
func (e *Etcd) ranges() (low, lowEnd, high, highEnd string) {
	conns := e.prefix + string(KindConn)
	return e.prefix, conns + "/", conns + "0", clientv3.GetPrefixRangeEnd(e.prefix)
}

// load reads both ranges at one revision.
func (e *Etcd) load(ctx context.Context) ([]item, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	low, lowEnd, high, highEnd := e.ranges()
	resp, err := e.client.Txn(ctx).Then(
		clientv3.OpGet(low, clientv3.WithRange(lowEnd)),
		clientv3.OpGet(high, clientv3.WithRange(highEnd)),
	).Commit()
	if err != nil {
		return nil, 0, e.failed(ctx, "read "+e.prefix, err)
	}
	var items []item
	for _, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().Kvs {
			items = append(items, item{key: string(kv.Key), value: kv.Value, created: kv.CreateRevision})
		}
	}
	return items, resp.Header.Revision, nil
}

// failed says what was being done, and whether it is etcd that does not answer.
// ctx is the request's own.
func (e *Etcd) failed(ctx context.Context, doing string, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return fmt.Errorf("%s: %w", doing, context.Canceled)
	}
	if ctx.Err() != nil || clientv3.IsConnCanceled(err) || isUnavailable(err) {
		return fmt.Errorf("%s: %w (%s): %w", doing, ErrOutOfReach, strings.Join(e.client.Endpoints(), ", "), err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func isUnavailable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}
