package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// unreachable says to a person what e says to a program.
func unreachable(e *rollcall.UnreachableError, now time.Time) string {
	where := strings.Join(e.Endpoints, ", ")
	why := "it took too long"
	switch {
	case e.Last != nil && atServer(e):
		if s, is := status.FromError(e.Last); is && answered(s) {
			return fmt.Sprintf("the server at %s cannot answer: %s", where, cause(errors.New(s.Message())))
		}
		fallthrough
	case e.Last != nil:
		why = strings.TrimPrefix(cause(e.Last), where+": ")
	case !errors.Is(e.Err, context.DeadlineExceeded):
		why = e.Err.Error()
	}
	if atServer(e) {
		why = strings.Replace(why, "is no etcd, or one that wants TLS", "is no server of rollcall, or one that wants TLS", 1)
	}
	return fmt.Sprintf("no answer from %s at %s since %s: %s", cmp.Or(e.Who, "etcd"), where, clock(e.Since, now), why)
}

// atServer reports whether it is a server that does not answer.
func atServer(e *rollcall.UnreachableError) bool { return e.Who == rollcall.RemoteName }

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
	{regexp.MustCompile(`^(.*: )?stream terminated by RST_STREAM with error code: CANCEL$`), "${1}it took too long"}, // the server was first to see that
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
	if e, own := errors.AsType[interface {
		error
		advice() string
	}](err); own {
		return e.advice()
	}
	text := ""
	e, ok := errors.AsType[*rollcall.UnreachableError](err)
	if ok && e.Last != nil {
		text = cause(e.Last)
	}
	if ok && atServer(e) {
		return serverAdvice(e, text)
	}
	switch {
	case strings.Contains(text, "no such host"):
		return "Is the name right? --etcd (env ROLLCALL_ETCD) says where to look."
	case strings.Contains(text, "TLS"):
		return "Does etcd speak TLS there, with a certificate that is trusted here? --etcd (env ROLLCALL_ETCD) says whether to: http:// or https://."
	}
	return "Is etcd running there? --etcd (env ROLLCALL_ETCD) says where to look; 'rollcall server' runs one."
}

// serverAdvice says what to do about a server that cannot be reached.
func serverAdvice(e *rollcall.UnreachableError, text string) string {
	s, is := status.FromError(e.Last)
	switch {
	case is && s != nil && answered(s):
		return "'rollcall status' shows how the server and its etcd are; --etcd asks an etcd without one."
	case strings.Contains(text, "no such host"):
		return "Is the name right? --server (env ROLLCALL_SERVER) says where to look."
	case strings.Contains(text, "TLS"):
		return "Does the server speak TLS there, with a certificate that is trusted here? --tls-ca says which authority to trust; without it plain text is spoken."
	case e.Last == nil, strings.Contains(text, "it took too long"):
		return "Is it a server of rollcall, and does it reach its etcd? 'rollcall status' shows that. --server (env ROLLCALL_SERVER) says whom to ask."
	}
	return "Is a server running there? --server (env ROLLCALL_SERVER) says where to look; 'rollcall server' runs one; --etcd does without."
}
