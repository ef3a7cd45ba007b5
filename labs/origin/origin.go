// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onevip/onevip/labs/workload"
)

// Options say what an origin serves, and from where.
type Options struct {
	Node  string        // its name, for X-Node and /whoami
	Files *workload.Set // what it serves
	Cache int64         // bytes of files that it holds
	Disk  int64         // bytes a second that it reads
	Seek  time.Duration // before each read of a file
}

// Default is a node of lab 03-locality: it holds a third of workload.Default.
func Default() Options {
	return Options{Cache: 48 << 20, Disk: 8 << 20, Seek: 8 * time.Millisecond}
}

func (o Options) validate() error {
	switch {
	case o.Files == nil:
		return errors.New("origin: no files to serve")
	case o.Cache < 0:
		return errors.New("origin: a cache has 0 bytes or more")
	case o.Disk <= 0:
		return errors.New("origin: a disk reads more than 0 bytes a second")
	case o.Seek < 0:
		return errors.New("origin: a seek takes no less than 0")
	}
	return nil
}

// Origin is one such server. Close ends it.
type Origin struct {
	options Options
	disk    *disk
	cache   *cache

	outcomes    map[Outcome]*atomic.Int64
	notModified atomic.Int64
	sent        atomic.Int64 // bytes of files
}

// New makes an origin whose cache is empty.
func New(o Options) (*Origin, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	d := newDisk(o.Disk, o.Seek)
	return &Origin{
		options: o, disk: d, cache: newCache(o.Cache, d),
		outcomes: map[Outcome]*atomic.Int64{Hit: {}, Miss: {}, Shared: {}},
	}, nil
}

// Close ends the reads that go on; who waits for one gets an error.
func (o *Origin) Close() { o.cache.close() }

// Handler is what clients see: the files, /whoami, /origin/stats, and /echo/, which
// gives back what it is sent.
func (o *Origin) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", o.sayHello)
	mux.HandleFunc("GET /whoami", o.sayName)
	mux.HandleFunc("GET /whoami/", o.sayName) // for as many paths as a client likes
	mux.HandleFunc("GET /origin/stats", o.sayStats)
	mux.HandleFunc("GET /download/", o.serveFile)
	mux.HandleFunc("POST /echo/", sayAgain)
	return o.named(mux)
}

// Control is for who runs the lab: /origin/stats, and a POST to /origin/flush
// that empties the cache.
func (o *Origin) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /origin/stats", o.sayStats)
	mux.HandleFunc("POST /origin/flush", func(w http.ResponseWriter, _ *http.Request) {
		o.cache.flush()
		w.WriteHeader(http.StatusNoContent)
	})
	return o.named(mux)
}

// named has each answer say which node it is from.
func (o *Origin) named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Node", o.options.Node)
		next.ServeHTTP(w, r)
	})
}

func (o *Origin) sayHello(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, "node %s: try /whoami, /origin/stats, %s\n", o.options.Node, o.options.Files.Files()[0].Name)
}

func (o *Origin) sayName(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, o.options.Node) }

// mostEchoed bounds what is kept of a request until it is said again.
const mostEchoed = 1 << 20

func sayAgain(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostEchoed))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(body) // who went away does not want to know
}

func (o *Origin) sayStats(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(o.Stats()) // who went away does not want to know
}

// serveFile serves a file or one range of it; for several it sends the whole,
// as RFC 9110, 14.2 allows.
func (o *Origin) serveFile(w http.ResponseWriter, r *http.Request) {
	file, found := o.options.Files.Lookup(r.URL.Path)
	if !found {
		http.Error(w, "no such file among "+o.options.Files.Spec().String(), http.StatusNotFound)
		return
	}
	if strings.Contains(r.Header.Get("Range"), ",") {
		r.Header.Del("Range")
	}
	w.Header().Set("Etag", file.ETag())
	w.Header().Set("Content-Type", "application/octet-stream")
	content := &body{Content: file.Content(), ctx: r.Context()}
	begin := func() { content.held = o.begin(w, file) }
	if r.Method == http.MethodHead {
		begin = func() { w.Header().Set("X-Cache", string(o.cache.peek(file))) }
	}
	http.ServeContent(answer{w, begin, o}, r, "", time.Time{}, content)
}

// begin opens the file for an answer, and says where it comes from.
func (o *Origin) begin(w http.ResponseWriter, file workload.File) *held {
	h, outcome := o.cache.open(file)
	o.outcomes[outcome].Add(1)
	w.Header().Set("X-Cache", string(outcome))
	return h
}
