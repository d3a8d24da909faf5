package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall"
)

// unreachable says to a person what e says to a program.
func unreachable(e *rollcall.UnreachableError, now time.Time) string {
	where := strings.Join(e.Endpoints, ", ")
	why := "it took too long"
	switch {
	case e.Last != nil:
		why = strings.TrimPrefix(cause(e.Last), where+": ")
	case !errors.Is(e.Err, context.DeadlineExceeded):
		why = e.Err.Error()
	}
	return fmt.Sprintf("no answer from etcd at %s since %s: %s", where, clock(e.Since, now), why)
}

// layers are what gRPC and Go wrap around a reason, and what to make of each.
var layers = []struct {
	wrapped *regexp.Regexp
	plain   string
}{
	{regexp.MustCompile(`rpc error: code = \w+ desc = `), ""},
	{regexp.MustCompile(`connection error: desc = "(.*)"`), "$1"},
	{regexp.MustCompile(`transport: (Error while dialing: )?`), ""},
	{regexp.MustCompile(`dial tcp( [^ ]+)?: (connect: )?`), ""},
	{regexp.MustCompile(`error reading server preface: .*use of closed network connection`), "it takes the connection and says nothing"},
	{regexp.MustCompile(`error reading server preface: (.*)`), "what listens there is no etcd, or one that wants TLS: $1"},
	{regexp.MustCompile(`authentication handshake failed: (tls: )?`), "TLS handshake failed: "},
	{regexp.MustCompile(`^(.*: )?context deadline exceeded$`), "${1}it took too long"},
}

// cause says in few words what a try to reach etcd met.
func cause(err error) string {
	text := err.Error()
	for _, l := range layers {
		text = l.wrapped.ReplaceAllString(text, l.plain)
	}
	return strings.ReplaceAll(text, `\"`, `"`)
}

// advice says what to do about an etcd that cannot be reached.
func advice(err error) string {
	text := ""
	if e, ok := errors.AsType[*rollcall.UnreachableError](err); ok && e.Last != nil {
		text = cause(e.Last)
	}
	switch {
	case strings.Contains(text, "no such host"):
		return "Is the name right? --etcd (env ROLLCALL_ETCD) says where to look."
	case strings.Contains(text, "TLS"):
		return "Does etcd speak TLS there, with a certificate that is trusted here? --etcd (env ROLLCALL_ETCD) says whether to: http:// or https://."
	}
	return "Is etcd running there? --etcd (env ROLLCALL_ETCD) says where to look; 'rollcall server' runs one."
}
