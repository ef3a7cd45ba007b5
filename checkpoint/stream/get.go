// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Fetch gets u through rt and copies the body to w, asking for a range of
// bytes ("1000-1999") if one is given. begin, if not nil, is called with the
// response before the first byte.
func Fetch(ctx context.Context, rt http.RoundTripper, u *url.URL, byteRange string, w io.Writer, begin func(*http.Response)) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, fmt.Errorf("get: %w", err)
	}
	if byteRange != "" {
		req.Header.Set("Range", "bytes="+byteRange)
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", u, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("get %s: server says %s", u, resp.Status)
	}
	if begin != nil {
		begin(resp)
	}
	buf := make([]byte, fetchBuffer)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, resp.Body, buf)
	if err != nil {
		return n, fmt.Errorf("get %s: after %d bytes: %w", u, n, err)
	}
	return n, nil
}

// fetchBuffer is large enough that a fast connection is not slowed by reads.
const fetchBuffer = 256 << 10
