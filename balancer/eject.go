package balancer

import (
	"slices"
	"strings"
	"time"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// ended is told of the end of a call.
func (p *policy) ended(c *conn, info lb.DoneInfo) {
	switch {
	case info.BytesReceived: // the server spoke, whatever it said
		if c.failures.Load() != 0 {
			c.failures.Store(0)
		}
		if c.breaks.Load() != 0 {
			c.breaks.Store(0)
		}
	case info.Err != nil && unanswered(info.Err):
		c.failures.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.closed && !c.gone {
			p.judge(c)
			p.settle()
		}
	}
}

// unanswered reports whether a call that no byte came back for has failed by the server's or the connection's fault. A stream that the
// server resets has the code of the reset, which others have too: of a message that the caller cannot encode, or of a call that
// he gave up.
func unanswered(err error) bool {
	s := status.Convert(err)
	reset := strings.HasPrefix(s.Message(), "stream terminated by RST_STREAM")
	return s.Code() == codes.Unavailable || reset && s.Code() != codes.DeadlineExceeded
}

// judge ejects a connection on which too many calls in a row have failed, or that broke too often under calls. However many calls
// fail with a connection that breaks, that is one failure.
func (p *policy) judge(c *conn) {
	limit := int64(p.config.Ejection.Failures)
	switch {
	case c.state == connectivity.Ready && c.failures.Load() >= limit:
		c.failures.Store(0)
		p.eject(c)
	case c.broken:
		c.broken = false
		if c.breaks.Add(1) >= limit {
			c.breaks.Store(0)
			p.eject(c)
		}
	}
}

// broke is told that a connection is lost.
func (p *policy) broke(c *conn) {
	c.broken = true
	underCalls := c.failures.Swap(0) > 0
	if !c.ejected.IsZero() && time.Since(c.ejected) < time.Second {
		p.readmit(c) // it was this break that we saw
		underCalls = true
	}
	if underCalls {
		p.judge(c)
	}
}

// eject takes a connection out, unless too many are out already or there would be none.
func (p *policy) eject(c *conn) {
	others := p.usable
	if c.slot >= 0 {
		others--
	}
	e := p.config.Ejection
	most := max((p.usable+len(p.ejected))*e.MaxPercent/100, 1)
	if e.Disabled || c.gone || c.member.cell == nil || !c.ejected.IsZero() || others < 1 || len(p.ejected) >= most {
		return
	}
	c.ejected = time.Now()
	p.ejected = append(p.ejected, c)
	p.refresh(c)
}

// readmit lets a connection be called again.
func (p *policy) readmit(c *conn) {
	if c.ejected.IsZero() {
		return
	}
	c.ejected = time.Time{}
	p.ejected = slices.DeleteFunc(p.ejected, func(other *conn) bool { return other == c })
	p.refresh(c)
}

// pardon readmits all.
func (p *policy) pardon() {
	for _, c := range slices.Clone(p.ejected) {
		p.readmit(c)
	}
}
