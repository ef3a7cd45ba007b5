// SPDX-License-Identifier: Apache-2.0

package labs

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestCrash(t *testing.T) {
	f := newFaulty(t)
	conn := f.connect()
	boot := f.cookie()
	f.inject(Crash, FaultOptions{})
	silent := f.port().Statistics.RxPackets
	if _, err := conn.Write([]byte("Host: b\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := hear(conn); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a hears of the crash: %v", err)
	}
	port := f.port()
	if got := port.Statistics.RxPackets; got != silent {
		t.Errorf("%d frames left the crashed host", got-silent)
	}
	if port.RawFlags&unix.IFF_RUNNING == 0 {
		t.Error("the switch's port lost its carrier")
	}
	if s, err := f.host("b").status(); err != nil || s.State != HostEnded || s.Processes != 0 {
		t.Errorf("b is %+v, error %v", s, err)
	}
	for _, kind := range []FaultKind{Crash, Loss} {
		if _, err := Fault(t.Context(), f.name, "b", kind, FaultOptions{}); !errors.Is(err, ErrFaultActive) {
			t.Errorf("%s of a crashed host: %v", kind, err)
		}
	}
	f.heal()
	if f.cookie() == boot {
		t.Error("after the crash it is the same boot")
	}
	if s, err := f.host("b").status(); err != nil || s.State != HostRunning {
		t.Errorf("b is %+v, error %v", s, err)
	}
	eventually(t, "the new boot resets what it does not know", func() bool { return errors.Is(hear(conn), syscall.ECONNRESET) })
	if _, err := Heal(t.Context(), f.name, "b"); !errors.Is(err, ErrNoFault) {
		t.Errorf("heal what is well: %v", err)
	}
}

// A reboot is one for all that lives in the host, and nothing for the switch.
func TestReboot(t *testing.T) {
	f := newFaulty(t)
	boot, process, port := f.cookie(), f.host("b").Process, f.port().Index
	updates, done := make(chan netlink.LinkUpdate, 1000), make(chan struct{})
	f.in("sw", func() error { return netlink.LinkSubscribe(updates, done) })
	f.inject(Reboot, FaultOptions{})
	eventually(t, "b answers after its reboot", f.answers)
	close(done)
	for u := range updates {
		if u.Attrs().Name == "b" && u.Attrs().RawFlags&unix.IFF_RUNNING == 0 {
			t.Error("the switch saw its port without carrier")
		}
	}
	if f.cookie() == boot || f.host("b").Process == process || f.port().Index != port {
		t.Error("the boot or the process is the same, or the port is another one")
	}
	f.checkNoTrace()
}

func TestHang(t *testing.T) {
	f := newFaulty(t)
	f.inject(Hang, FaultOptions{})
	conn := f.connect() // the kernel lives
	if _, err := conn.Write([]byte("\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := hear(conn); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a hung server answers: %v", err)
	}
	f.heal()
	if err := hear(conn); err != nil {
		t.Errorf("it does not answer what waited: %v", err)
	}
}

// The faults of links, one after the other on the same lab.
func TestLinkFaults(t *testing.T) {
	f := newFaulty(t)
	t.Run("link-down", func(t *testing.T) {
		f := faulty{t, f.name, f.Running}
		f.inject(LinkDown, FaultOptions{})
		eventually(t, "the switch knows", func() bool {
			return run(t, f.name, "sw", "ovs-vsctl", "get", "interface", "b", "link_state") == "down\n"
		})
		if f.answers() {
			t.Error("b answers without a link")
		}
		f.heal()
	})
	t.Run("partition", func(t *testing.T) {
		f := faulty{t, f.name, f.Running}
		f.inject(Partition, FaultOptions{From: "a"})
		if f.answers() {
			t.Error("b answers a, from which it is parted")
		}
		f.heal()
	})
	t.Run("copy-loss", func(t *testing.T) {
		f := faulty{t, f.name, f.Running}
		f.inject(CopyLoss, FaultOptions{Loss: 1})
		if f.answers() {
			t.Error("b answers what it did not get")
		}
		f.heal()
	})
	t.Run("slow and loss", func(t *testing.T) {
		f := faulty{t, f.name, f.Running}
		const delay = 300 * time.Millisecond
		f.inject(Slow, FaultOptions{Delay: delay})
		started := time.Now()
		run(t, f.name, "a", "curl", "-fsS", "--max-time", "20", "-o", "/dev/null", "http://10.0.0.2/large")
		if took := time.Since(started); took < 2*delay { // for a SYN/ACK and an answer
			t.Errorf("it took %v only", took)
		}
		f.inject(Loss, FaultOptions{Loss: 1})
		if f.answers() {
			t.Error("b answers although all it sends is lost")
		}
		f.heal() // both
	})
}

// Frames come out of order, about as many twice as was asked for, and none is lost.
func TestShuffle(t *testing.T) {
	f := newFaulty(t)
	f.inject(Shuffle, FaultOptions{Loss: 0.5, Delay: 20 * time.Millisecond})
	const sent = 400
	got := f.countFrom("b", "a", "10.0.0.1:9999", sent)
	if again := len(got) - sent; again < sent/4 || again > sent*3/4 {
		t.Errorf("%d of %d came again, want half", again, sent)
	}
	if slices.IsSorted(got) {
		t.Error("they came in order")
	}
	slices.Sort(got)
	if different := len(slices.Compact(got)); different != sent {
		t.Errorf("%d of %d came", different, sent)
	}
	f.heal()
}

// The share of lost frames is about what was asked for.
func TestLossShare(t *testing.T) {
	f := newFaulty(t)
	f.inject(Loss, FaultOptions{Loss: 0.5})
	before := f.port().Statistics.RxPackets
	f.in("b", func() error {
		socket, err := openSender("eth0")
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		frame := make([]byte, 60)
		copy(frame[12:], []byte{0x88, 0xb6}) // for local experiments; nobody listens
		for range 400 {
			if _, err := unix.Write(socket, frame); err != nil && !errors.Is(err, unix.ENOBUFS) { // what tc drops
				return err
			}
		}
		return nil
	})
	if got := f.port().Statistics.RxPackets - before; got < 100 || got > 300 {
		t.Errorf("of 400 frames %d came through, want half", got)
	}
	f.heal()
}

func TestKilledParts(t *testing.T) {
	f := newFaulty(t)
	t.Run("agent", func(t *testing.T) {
		f := faulty{t, f.name, f.Running}
		f.inject(AgentKill, FaultOptions{})
		if s, err := f.host("b").status(); err != nil || s.State != HostEnded {
			t.Errorf("b is %+v, error %v", s, err)
		}
		code, err := Exec(t.Context(), f.name, "b", []string{"sh", "/own/server.sh"}, Stdio{})
		if code == 0 || err != nil {
			t.Errorf("what is held down starts: code %d, error %v", code, err)
		}
		f.heal()
		if s, err := f.host("b").status(); err != nil || s.State != HostRunning {
			t.Errorf("b is %+v, error %v", s, err)
		}
	})
	t.Run("ovs-restart", func(t *testing.T) {
		f := faulty{t, f.name, f.Running}
		process := f.host("sw").Process
		if _, err := Fault(t.Context(), f.name, "sw", OVSRestart, FaultOptions{}); err != nil {
			t.Fatal(err)
		}
		if f.host("sw").Process == process {
			t.Error("the switch is the same process")
		}
		eventually(t, "the switch goes on", f.answers)
		f.checkNoTrace()
	})
}

// A fault with an end heals when it is there, and when it is interrupted.
func TestFaultWithAnEnd(t *testing.T) {
	f := newFaulty(t)
	f.inject(Hang, FaultOptions{For: time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Fault(ctx, f.name, "b", LinkDown, FaultOptions{For: time.Hour}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b answers", f.answers)
	if left, err := HealAll(t.Context(), f.name); err != nil || len(left) > 0 {
		t.Errorf("left to heal: %v (error %v)", left, err)
	}
}

// Whoever injects may be killed at any step: what was written down, and not or
// half done, is healed all the same.
func TestHealAfterKilledInjector(t *testing.T) {
	f := newFaulty(t)
	for _, kind := range []FaultKind{Slow, LinkDown, AgentKill, Crash} {
		row, err := kindOf(kind)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Find(f.name)
		if err != nil {
			t.Fatal(err)
		}
		h := f.host("b")
		steps, err := row.plan(planner{r, macsOf}, h, FaultOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r.Faults = []ActiveFault{{ID: 1, Host: "b", Kind: kind, Steps: steps}}
		if err := r.save(); err != nil {
			t.Fatal(err)
		}
		if kind == Crash { // heal was killed, too
			if err := r.moveOver(&h, h.nextNamespace()); err != nil {
				t.Fatal(err)
			}
			if err := removeNamespace(h.Namespace); err != nil {
				t.Fatal(err)
			}
		}
		f.heal()
	}
}

// A step that fails takes back those before it.
func TestFailedFault(t *testing.T) {
	f := newFaulty(t)
	r, err := Find(f.name)
	if err != nil {
		t.Fatal(err)
	}
	row := kindRow{kind: "twice", plan: func(planner, Host, FaultOptions) ([]step, error) {
		return []step{dropStep(at("b", "eth0"), drop{Loss: 1}), dropStep(at("b", "eth7"), drop{Loss: 1})}, nil
	}}
	if _, err := r.inject("b", row, FaultOptions{}); err == nil || !strings.Contains(err.Error(), "eth7") {
		t.Errorf("error %v", err)
	}
	f.checkNoTrace()
	if left, err := Faults(f.name); err != nil || len(left) > 0 || !f.answers() {
		t.Errorf("left: %v (error %v)", left, err)
	}
}

// Down needs no heal before.
func TestDownWithFaults(t *testing.T) {
	f := newFaulty(t)
	ids := identities(t, f.Running)
	f.inject(Slow, FaultOptions{})
	f.inject(Hang, FaultOptions{})
	for host, kind := range map[string]FaultKind{"a": Crash, "sw": Hang} {
		if _, err := Fault(t.Context(), f.name, host, kind, FaultOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Down(t.Context(), f.name); err != nil {
		t.Fatal(err)
	}
	checkNothingLeft(t, f.name, ids)
}
