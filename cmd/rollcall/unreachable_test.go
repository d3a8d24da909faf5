package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

func TestTheCauseIsSaidWithoutWhatIsWrappedAroundIt(t *testing.T) {
	t.Parallel()
	const before = `h:1: rpc error: code = Unavailable desc = connection error: desc = "`
	for text, want := range map[string]string{
		before + `transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"`:                     "h:1: connection refused",
		before + `transport: Error while dialing: dial tcp: lookup h on 192.0.2.53:53: no such host"`:                     "h:1: lookup h on 192.0.2.53:53: no such host",
		before + `transport: Error while dialing: dial tcp 127.0.0.1:1: i/o timeout"`:                                     "h:1: i/o timeout",
		before + `transport: authentication handshake failed: tls: first record does not look like a TLS handshake"`:      "h:1: TLS handshake failed: first record does not look like a TLS handshake",
		before + `transport: authentication handshake failed: x509: certificate is valid for \"a\", not h"`:               `h:1: TLS handshake failed: x509: certificate is valid for "a", not h`,
		before + `error reading server preface: raw-read tcp 127.0.0.1:2->127.0.0.1:1: use of closed network connection"`: "h:1: it takes the connection and says nothing",
		before + `error reading server preface: EOF"`:                                                                     "h:1: what listens there is no etcd, or one that wants TLS: EOF",
		"etcdserver: leader changed": "etcdserver: leader changed",
		"context deadline exceeded":  "it took too long",
	} {
		if got := cause(errors.New(text)); got != want {
			t.Errorf("%s\nis said as %q,\nwant %q", text, got, want)
		}
	}
}

func TestAnUnreachableEtcdIsSaidWithItsCause(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)
	met := errors.New("h:1: it burns")
	for _, c := range []struct {
		name string
		err  rollcall.UnreachableError
		want string
	}{
		{"a cause", rollcall.UnreachableError{Endpoints: []string{"h:1"}, Last: met, Err: context.DeadlineExceeded}, "no answer from etcd at h:1 since 12:00:00: it burns"},
		{"one endpoint of two", rollcall.UnreachableError{Endpoints: []string{"h:1", "h:2"}, Last: met, Err: context.DeadlineExceeded}, "no answer from etcd at h:1, h:2 since 12:00:00: h:1: it burns"},
		{"nothing came back", rollcall.UnreachableError{Endpoints: []string{"h:1"}, Err: context.DeadlineExceeded}, "no answer from etcd at h:1 since 12:00:00: it took too long"},
		{"another end", rollcall.UnreachableError{Endpoints: []string{"h:1"}, Err: context.Canceled}, "no answer from etcd at h:1 since 12:00:00: context canceled"},
	} {
		c.err.Since = since
		if got := unreachable(&c.err, since); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
