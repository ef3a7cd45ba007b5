// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"bytes"
	"strings"
)

// maxMethod is the length of the longest method that is taken for one. The longest
// registered has 17 letters.
const maxMethod = 24

// isToken tells whether c may stand in a method (RFC 9110, 5.6.2).
func isToken(c byte) bool {
	isAlphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	return isAlphanumeric || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// method gives the request's method, and where its target begins: behind the one
// space.
func (l looked) method() (method string, target int, why Fallback) {
	end := l.index(0, func(c byte) bool { return !isToken(c) })
	switch {
	case end > maxMethod || end < 0 && len(l.data) > maxMethod:
		return "", 0, FallbackNotHTTP
	case end < 0:
		return "", 0, l.cut
	case end == 0 || l.data[end] != ' ':
		return "", 0, FallbackNotHTTP
	}
	return string(l.data[:end]), end + 1, Inspected
}

// target takes the request's target apart. host is there only in the absolute form
// (RFC 9112, 3.2); end is where the path does.
func (l looked) target(method string, at, segments int) (host, path string, end int, why Fallback) {
	switch {
	case method == "CONNECT":
		return "", "", 0, FallbackNoKey
	case l.has(at, 1) && l.data[at] == '/':
		path, end, why = l.path(at, segments)
		return "", path, end, why
	case !l.has(at, len("https://")): // in a whole request there is more
		return "", "", 0, l.cut
	}
	switch start := lower(string(l.data[at : at+8])); {
	case start[:2] == "* ":
		if why = l.version(at + 2); why == Inspected {
			why = FallbackNoKey
		}
		return "", "", 0, why
	case start[:7] == "http://":
		return l.absolute(at+7, segments)
	case start == "https://":
		return l.absolute(at+8, segments)
	}
	return "", "", 0, FallbackNotHTTP
}

// absolute is the target behind the scheme. An empty path is "/" (RFC 9110, 4.2.3).
func (l looked) absolute(at, segments int) (host, path string, end int, why Fallback) {
	end = l.index(at, func(c byte) bool { return c == '/' || endsPath(c) })
	if end < 0 {
		return "", "", 0, l.cut
	}
	if end == at {
		return "", "", 0, FallbackNotHTTP // no host
	}
	host = string(l.data[at:end])
	if l.data[end] != '/' {
		return host, "/", end, l.behindPath(end)
	}
	path, end, why = l.path(end, segments)
	return host, path, end, why
}

// endsPath tells whether c is '?', a space, or a control character.
func endsPath(c byte) bool { return c == '?' || c <= ' ' }

// path is the path at `at`, or its first segments if that is not negative.
func (l looked) path(at, segments int) (path string, end int, why Fallback) {
	slashes := 0
	end = l.index(at, func(c byte) bool {
		if c == '/' {
			slashes++
		}
		return endsPath(c) || segments >= 0 && slashes > segments
	})
	if end < 0 {
		return "", 0, l.cut
	}
	if why = l.behindPath(end); why != Inspected {
		return "", 0, why
	}
	return string(l.data[at:end]), end, Inspected
}

// behindPath checks what ends a path: of a query or of more segments nothing is
// looked at.
func (l looked) behindPath(end int) Fallback {
	switch l.data[end] {
	case '?', '/':
		return Inspected
	case ' ':
		return l.version(end + 1)
	}
	return FallbackNotHTTP
}

// isVersion tells whether the 8 bytes are HTTP/1.0, HTTP/1.1 or another of that
// line.
func isVersion(b []byte) bool {
	return bytes.HasPrefix(b, []byte("HTTP/1.")) && b[7] >= '0' && b[7] <= '9'
}

// version checks the end of the request line, a bare LF too (RFC 9112, 2.2).
func (l looked) version(at int) Fallback {
	if !l.has(at, 9) {
		return l.cut
	}
	if end := l.data[at+8]; isVersion(l.data[at:at+8]) && (end == '\r' || end == '\n') {
		return Inspected
	}
	return FallbackNotHTTP
}

// line is the text from `at` to the line's end, without that, and where the next
// one begins; false if there is no end.
func (l looked) line(at int) (text []byte, next int, whole bool) {
	n := bytes.IndexByte(l.data[at:], '\n')
	if n < 0 {
		return nil, 0, false
	}
	return bytes.TrimSuffix(l.data[at:at+n], []byte("\r")), at + n + 1, true
}

// header is the value of the first header of that name, without white space
// around it. The target begins at `target`; the request line goes on at `at`.
func (l looked) header(name string, target, at int) (string, Fallback) {
	_, next, whole := l.line(at)
	if !whole {
		return "", l.cut
	}
	request, _, _ := l.line(target)
	if n := len(request) - 9; n < 1 || request[n] != ' ' || !isVersion(request[n+1:]) {
		return "", FallbackNotHTTP
	}
	for {
		text, after, whole := l.line(next)
		if !whole {
			return "", l.cut
		}
		if len(text) == 0 {
			return "", FallbackNoKey
		}
		if field, value, found := bytes.Cut(text, []byte(":")); found && lower(string(field)) == name {
			return l.value(value)
		}
		next = after
	}
}

func (l looked) value(raw []byte) (string, Fallback) {
	if raw = bytes.Trim(raw, " \t"); len(raw) == 0 {
		return "", FallbackNoKey
	}
	return string(raw), Inspected
}
