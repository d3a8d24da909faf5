package check

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// Outcomes of probes are told to everybody who may read the registry, so they are words from here and never the other side's. Beside these
// there are refusals, "status " and the number of HTTP's, and the names of gRPC's.
const (
	outcomeWell        = "" // the probe succeeded
	outcomeTimeout     = "timeout"
	outcomeRefused     = "connection refused"
	outcomeReset       = "connection reset"
	outcomeClosed      = "connection closed"
	outcomeUnreachable = "unreachable"
	outcomeNoHost      = "no such host"
	outcomeUnresolved  = "name not resolved"
	outcomeTLS         = "TLS failed"
	outcomeNotHTTP     = "no HTTP"
	outcomeNotGRPC     = "no gRPC"
	outcomeNoHealth    = "no health service"
	outcomeNoService   = "service unknown"
	outcomeNoConn      = "no connection"

	// outcomeVoid says nothing about the instance: this process could not probe it.
	outcomeVoid = "not probed"
)

// exhausted are the errors by which the operating system says that it is this process that has no more of something.
var exhausted = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL}

// connecting are errors of connections.
var connecting = []struct {
	err     error
	outcome string
}{
	{syscall.ECONNREFUSED, outcomeRefused},
	{syscall.ECONNRESET, outcomeReset},
	{syscall.EPIPE, outcomeReset},
	{syscall.EHOSTUNREACH, outcomeUnreachable},
	{syscall.ENETUNREACH, outcomeUnreachable},
	{io.EOF, outcomeClosed},
	{io.ErrUnexpectedEOF, outcomeClosed},
}

// outcomeOf puts an error into one of those words; otherwise is the one for what it does not know.
func outcomeOf(err error, otherwise string) string {
	for _, own := range exhausted {
		if errors.Is(err, own) {
			return outcomeVoid
		}
	}
	if r, is := errors.AsType[refusal](err); is {
		return r.Error()
	}
	if errors.Is(err, context.Canceled) {
		return outcomeVoid // the checker stops
	}
	timeout, is := errors.AsType[net.Error](err)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || is && timeout.Timeout() {
		return outcomeTimeout
	}
	if dns, is := errors.AsType[*net.DNSError](err); is {
		if dns.IsNotFound {
			return outcomeNoHost
		}
		return outcomeUnresolved
	}
	for _, c := range connecting {
		if errors.Is(err, c.err) {
			return c.outcome
		}
	}
	if ofTLS(err) {
		return outcomeTLS
	}
	if op, is := errors.AsType[*net.OpError](err); is && op.Op == "dial" {
		return outcomeNoConn
	}
	return otherwise
}

func ofTLS(err error) bool {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	return record || alert || errors.Is(err, http.ErrSchemeMismatch) || strings.Contains(err.Error(), "tls: ")
}

// class is an outcome as metrics count it: few enough for labels.
func class(outcome string) string {
	switch {
	case outcome == outcomeWell:
		return "ok"
	case strings.HasPrefix(outcome, "refused by policy"):
		return "refused by policy"
	case strings.HasPrefix(outcome, "status "):
		return "status"
	}
	return outcome
}
