// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// ErrUnsupportedKernel says that this kernel cannot do what the programs need;
// the error that wraps it names the thing that is missing.
var ErrUnsupportedKernel = errors.New("kernel not supported")

// ErrOtherVersion says that the pinned maps are of another version of this
// package: they must be removed (onevip agent --cleanup) before this one runs.
var ErrOtherVersion = errors.New("pinned maps are of another version")

// pinVersion names the layout of the maps; it changes with types.h and maps.h.
const pinVersion = "v3"

// Options are what Open needs; zero bounds take the defaults.
type Options struct {
	// PinDir is a folder on a BPF file system, of this node alone.
	PinDir string
	// Interface is the name of the one that the switch's packets come in by, in
	// the network namespace of the calling thread.
	Interface string

	// Services is the most services (VIP and port pairs: 4 times as many): 64.
	Services uint32
	// SYNRecords is the most handshakes of clients without timestamps that are
	// under way at once: 65536; 120 bytes each.
	SYNRecords uint32
	// Tombstones is the most closed connections that are remembered: 131072; 120
	// bytes each. It should reach connections per second and node, times a
	// cookie's lifetime.
	Tombstones uint32
	// Unheard is the most SYN/ACKs that are kept to be sent again: 16384; 224
	// bytes each. They stay until there is a socket, 8 s at most.
	Unheard uint32
	// NoticeBytes is how much the agent can be behind in reading notices: 262144.
	// A power of two of whole pages.
	NoticeBytes uint32
	// Guarded is the most connections of other nodes that are remembered: 65536; 144
	// bytes each.
	Guarded uint32
	// Handovers is the most connections whose owner this node, having looked at their
	// first request, remembers: 262144; 96 bytes each. As many as it decides on while a
	// client may still send its first segment again.
	Handovers uint32
}

// Filter is the loaded program of one node, attached to its interface. Its
// methods may be called concurrently.
type Filter struct {
	pins string
	objs onevipObjects
	keep []interface{ Close() error } // links

	mu      sync.Mutex
	config  onevipOvConfig // the one in force; apply writes it
	globals onevipOvGlobals
	offsets map[uint32]int64 // of the active count, by service; see SetActive
	again   resends          // of Unheard's goroutine alone
	silent  atomic.Int64     // the least Rules.Silent of the services; see soonest
	slots   onevipOvSlots    // in force; those of before are in the other bank
	before  onevipOvSlots
	failed  onevipOvFailed // in force
	// localities is the memory of that map; nil until it is needed. See buckets.
	localities []byte
}

// Open loads the programs, or takes over what an earlier process left pinned,
// with all its tables, and attaches them: no packet goes by unfiltered in
// between. Errors: ErrUnsupportedKernel, ErrOtherVersion, or of the system.
func Open(opts Options) (*Filter, error) {
	iface, err := net.InterfaceByName(opts.Interface)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w", opts.Interface, err)
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	if err := refuseOthers(opts.PinDir); err != nil {
		return nil, err
	}
	f := &Filter{pins: filepath.Join(opts.PinDir, pinVersion), offsets: map[uint32]int64{}}
	if err := f.load(opts); err != nil {
		return nil, err
	}
	if err := f.start(iface); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// refuseOthers looks for pins of another version. Their program is still attached, and
// would filter what ours lets by.
func refuseOthers(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, "v[0-9]*"))
	if err != nil {
		return fmt.Errorf("look for pins in %s: %w", dir, err)
	}
	for _, path := range found {
		if filepath.Base(path) != pinVersion {
			return fmt.Errorf("%w: %s, this program's is %s", ErrOtherVersion, path, pinVersion)
		}
	}
	return nil
}

func (f *Filter) start(iface *net.Interface) error {
	if err := f.adoptConfig(); err != nil {
		return err
	}
	f.config.Mss4 = clampMSS(iface.MTU - 40)
	f.config.Mss6 = clampMSS(iface.MTU - 60)
	copy(f.config.Mac[:], iface.HardwareAddr)
	if err := f.applyConfig(); err != nil {
		return err
	}
	if err := f.makeClocks(); err != nil {
		return err
	}
	if err := f.attachTracing("sockets", f.objs.OnevipSockets); err != nil {
		return err
	}
	if err := f.attachTracing("resets", f.objs.OnevipResets); err != nil {
		return err
	}
	return f.attachIngress(iface.Index)
}

// clampMSS keeps an odd MTU from giving an MSS that TCP can't announce.
func clampMSS(mss int) uint16 { return uint16(min(max(mss, 536), 65495)) }

func (f *Filter) load(opts Options) error {
	spec, err := loadOnevip()
	if err != nil {
		return fmt.Errorf("read the BPF object: %w", err)
	}
	if err := opts.bound(spec); err != nil {
		return err
	}
	cookie, err := netnsCookie()
	if err != nil {
		return err
	}
	if err := spec.Variables["netns_cookie"].Set(cookie); err != nil {
		return fmt.Errorf("set netns_cookie: %w", err)
	}
	if err := os.MkdirAll(f.pins, 0o700); err != nil {
		return fmt.Errorf("create %s (is a BPF file system mounted there?): %w", f.pins, err)
	}
	err = spec.LoadAndAssign(&f.objs, &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: f.pins}})
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		return fmt.Errorf("%w: %s: %w", ErrOtherVersion, f.pins, err)
	}
	if err != nil {
		return explainLoad(err)
	}
	return nil
}

// bound sets the sizes of the maps, and pins all that has a name to pin by.
func (o Options) bound(spec *ebpf.CollectionSpec) error {
	services := orDefault(o.Services, 64)
	sizes := map[string]uint32{
		"vips": services * 4, "services": services * 4,
		"loads": services, "source_hash": services, "trees": services, "rules": services,
		"localities": services * localityBuckets, "inspected": services * outcomeRoom,
		"assigned": services, "adopted": services, "conns": services,
		"syn_records": orDefault(o.SYNRecords, 65536),
		"tombstones":  orDefault(o.Tombstones, 131072),
		"unheard":     orDefault(o.Unheard, 16384),
		"notices":     orDefault(o.NoticeBytes, 262144),
		"guarded":     orDefault(o.Guarded, 65536),
		"handovers":   orDefault(o.Handovers, 262144),
	}
	for name, size := range sizes {
		m, ok := spec.Maps[name]
		if !ok {
			return fmt.Errorf("the BPF object has no map %s", name)
		}
		m.MaxEntries = size
	}
	for name, m := range spec.Maps {
		if name[0] != '.' {
			m.Pinning = ebpf.PinByName
		}
	}
	return nil
}

func orDefault(v, fallback uint32) uint32 {
	if v == 0 {
		return fallback
	}
	return v
}

// netnsCookie is the kernel's number for the calling thread's network namespace.
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket to ask for the network namespace: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("SO_NETNS_COOKIE (Linux 5.14): %w", err)
	}
	return cookie, nil
}

// Close lets go of the programs, which stay attached and pinned.
func (f *Filter) Close() error {
	errs := []error{}
	for i := len(f.keep) - 1; i >= 0; i-- {
		errs = append(errs, f.keep[i].Close())
	}
	f.keep = nil
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.localities != nil {
		errs = append(errs, unix.Munmap(f.localities))
		f.localities = nil
	}
	return errors.Join(append(errs, f.objs.Close())...)
}

// Remove detaches the programs, removes their pins and closes the filter. The
// node then has no filter: nothing must send it packets for a VIP any more.
func (f *Filter) Remove() error {
	return errors.Join(f.Close(), RemovePins(filepath.Dir(f.pins)))
}

// RemovePins detaches and unpins whatever a process left in dir, any version. It
// is no error if there is nothing.
func RemovePins(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}
