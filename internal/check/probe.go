package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/rollcall-io/rollcall"
)

const (
	// maxBody is how much of an answer is read.
	maxBody = 4 << 10

	userAgent = "rollcall-check"
)

// prober asks instances whether they are well. Each probe makes a connection of its own, as a caller who comes anew would, and closes it.
type prober struct {
	dialer        *dialer
	plain, secure *http.Client // HTTP/1.1
	grpc, grpcTLS *http.Client // HTTP/2
}

func newProber(d *dialer) *prober {
	client := func(http2 bool) *http.Client {
		return &http.Client{Transport: newTransport(d, http2), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return &prober{dialer: d, plain: client(false), secure: client(false), grpc: client(true), grpcTLS: client(true)}
}

// newTransport returns one that knows no proxy, no cookies, no compression and no second request on a connection. TLS is spoken to
// whoever answers, see [rollcall.Check].
func newTransport(d *dialer, http2 bool) *http.Transport {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{
		Proxy:                  nil, // also not that of the environment
		DialContext:            d.dialFor,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 16 << 10, MaxReadFrameSize: 16 << 10},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxBody,
		ReadBufferSize:         maxBody,
		WriteBufferSize:        maxBody,
	}
}

// probe asks the instance at an address, and returns the outcome. It takes no longer than the check's timeout.
func (p *prober) probe(ctx context.Context, addr string, c rollcall.Check) string {
	end := time.Now().Add(min(c.Timeout, rollcall.MaxCheckTimeout))
	ctx, cancel := context.WithDeadline(context.WithValue(ctx, until{}, end), end)
	defer cancel()
	// An HTTP client would say of an address that it is bad in words of its own.
	if _, _, err := p.dialer.rules.split(addr); err != nil {
		return outcomeOf(err, outcomeNoConn)
	}
	outcome := p.ask(ctx, addr, c)
	if outcome != outcomeWell && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return outcomeTimeout // whatever broke because of that
	}
	return outcome
}

func (p *prober) ask(ctx context.Context, addr string, c rollcall.Check) string {
	switch c.Type {
	case rollcall.CheckTCP:
		return p.probeTCP(ctx, addr)
	case rollcall.CheckHTTP:
		return p.probeHTTP(ctx, addr, c)
	default:
		return p.probeGRPC(ctx, addr, c)
	}
}

func (p *prober) probeTCP(ctx context.Context, addr string) string {
	conn, err := p.dialer.dial(ctx, addr)
	if err != nil {
		return outcomeOf(err, outcomeNoConn)
	}
	conn.Close()
	return outcomeWell
}

func (p *prober) probeHTTP(ctx context.Context, addr string, c rollcall.Check) string {
	u, err := url.ParseRequestURI(c.Path)
	if err != nil || u.Host != "" || u.Scheme != "" {
		return outcomeNotHTTP
	}
	client := p.plain
	u.Scheme, u.Host = "http", addr
	if c.TLS {
		client, u.Scheme = p.secure, "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return outcomeNotHTTP
	}
	req.Header.Set("User-Agent", userAgent)
	resp, err := client.Do(req)
	if err != nil {
		return outcomeOf(cause(err), outcomeNotHTTP)
	}
	// Reading a little lets the other side finish what it says; what it says does not matter.
	_, _ = io.CopyN(io.Discard, resp.Body, maxBody)
	resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Sprintf("status %d", resp.StatusCode)
	}
	return outcomeWell
}

// cause is an HTTP client's error without what it was about, which others chose.
func cause(err error) error {
	if u, is := errors.AsType[*url.Error](err); is {
		return u.Err
	}
	return err
}
