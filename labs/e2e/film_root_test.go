// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// theatre is lab 04-stream: four media servers, and a relay for players.
var theatre = &lab{source: "04-stream"}

// relaySilence is after how long the lab's relay takes a silent server for dead.
const relaySilence = 10 * time.Second

// The node that sends a film crashes while it is played through the relay: its
// guard resets the connection, another node goes on, and the player notices a
// pause at most.
func TestFilmGoesOn(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is missing: make deps")
	}
	theatre.use(t)
	eventually(t, calm, theatre.healthy)
	before := theatre.relayLog(t)
	player := theatre.start(t, "client", helperCommand(t, "play", "-vip", "127.0.0.1:8000", "-path", "/")...)
	if line := player.line(t); line != "open" {
		t.Fatalf("player says %q", line)
	}
	owner := theatre.owner(t)
	theatre.fault(t, owner, "crash")
	eventually(t, calm, func() error {
		nodes, err := theatre.nodes()
		if err == nil && !isFenced(nodes[owner]) {
			err = fmt.Errorf("node %s, which sent the film, is %s (%s)", owner, nodes[owner].State, nodes[owner].Health)
		}
		return err
	})
	var seen played
	if out := player.finish(t); json.Unmarshal([]byte(out), &seen) != nil {
		t.Fatalf("player says %q", out)
	}
	theatre.checkFilm(t, seen)
	checkResumed(t, strings.TrimPrefix(theatre.relayLog(t), before))
}

// owner waits until it is known which node sends the film.
func (l *lab) owner(t *testing.T) string {
	t.Helper()
	var node string
	eventually(t, patience, func() error {
		var view struct{ Conns []struct{ Node string } }
		if err := l.show("conns", &view); err != nil {
			return err
		}
		if len(view.Conns) == 0 {
			return errors.New("no connection has reached etcd")
		}
		node = view.Conns[0].Node
		return nil
	})
	return node
}

// checkFilm compares what a player saw with the film.
func (l *lab) checkFilm(t *testing.T, seen played) {
	t.Helper()
	t.Logf("%d bytes, the longest wait between two reads %v", seen.Bytes, seen.LongestWait.Round(time.Millisecond))
	want, _, _ := strings.Cut(l.run(t, "client", "sh", "-c", `sha256sum <"$ONEVIP_FILES/films/film.ts"`), " ")
	if seen.SHA256 != want {
		t.Errorf("sha256 %s, of the film %s", seen.SHA256, want)
	}
	if seen.Decoder != "" {
		t.Errorf("ffmpeg complains: %s", seen.Decoder)
	}
	if seen.LongestWait >= relaySilence {
		t.Errorf("the player waited %v: as long as if nobody had told the relay", seen.LongestWait)
	}
}

var lostLine = regexp.MustCompile(`msg="server lost" at=\d+ cause="?([^"\n]*)`)

// checkResumed wants a relay to have said that it lost its server once, and that
// it was told so.
func checkResumed(t *testing.T, log string) {
	t.Helper()
	lost := lostLine.FindAllStringSubmatch(log, -1)
	if len(lost) != 1 || !strings.Contains(lost[0][1], "connection reset by peer") {
		t.Errorf("the relay was to be reset once; it says\n%s", log)
	}
	if resumed := strings.Count(log, `msg="stream resumed"`); resumed != 1 {
		t.Errorf("the stream was resumed %d times", resumed)
	}
}

func (l *lab) relayLog(t *testing.T) string {
	t.Helper()
	return l.run(t, "client", "sh", "-c", `cat "$ONEVIP_RUN/log"`)
}
