// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// FeedFIFO is Feed for a named pipe: when its writer closes it, it is opened
// again for the next one, and the positions go on. It returns when ctx is done.
func (l *Live) FeedFIFO(ctx context.Context, path string) error {
	l.restart(newEpoch(), 0)
	defer l.finish()
	for ctx.Err() == nil {
		// Opened for writing too: the open does not wait for a writer, and the
		// end of one writer is not the end of the pipe.
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("live source: %w", err)
		}
		stop := context.AfterFunc(ctx, func() { f.Close() })
		err = l.fill(f)
		stop()
		f.Close()
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// followSilence after which the server that we follow is connected anew.
const followSilence = 10 * time.Second

// Follow fills the source from another server's live source at url, and keeps
// its positions and epoch: all servers that follow one source can resume each
// other's streams. It reconnects until ctx is done or the source has ended.
func (l *Live) Follow(ctx context.Context, url string, onError func(error)) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := l.followOnce(ctx, url)
		if err != nil && ctx.Err() == nil {
			onError(err)
		}
		return struct{}{}, err
	}, backoff.WithMaxElapsedTime(0), backoff.WithBackOff(&backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, MaxInterval: time.Second,
		Multiplier: 2, RandomizationFactor: 0.5,
	}))
	if ctx.Err() != nil {
		return nil
	}
	l.finish()
	return err
}

func (l *Live) followOnce(ctx context.Context, url string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := l.request(ctx, url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	epoch := resp.Header.Get(epochHeader)
	at, err := strconv.ParseUint(resp.Header.Get(positionHeader), 10, 64)
	if resp.StatusCode != http.StatusOK || epoch == "" || err != nil {
		return fmt.Errorf("follow %s: %s, without a position: want a live source of a stream server", url, resp.Status)
	}
	if mine, end := l.position(); mine != epoch || end != at {
		l.restart(epoch, at) // another run, or a gap
	}
	watchdog := time.AfterFunc(followSilence, cancel)
	defer watchdog.Stop()
	return l.fill(readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		watchdog.Reset(followSilence)
		return n, err
	}))
}

func (l *Live) request(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, backoff.Permanent(fmt.Errorf("follow: %w", err))
	}
	epoch, end := l.position()
	req.Header.Set(positionHeader, "oldest")
	if epoch != "" {
		req.Header.Set(epochHeader, epoch)
		req.Header.Set(positionHeader, strconv.FormatUint(end, 10))
	}
	resp, err := followClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("follow: %w", err)
	}
	return resp, nil
}

// followClient has no limit of its own: the watchdog is one.
var followClient = &http.Client{}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
