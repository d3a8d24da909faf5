package authz

import (
	"context"
	"log/slog"

	"google.golang.org/grpc/status"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// record is something that somebody did, or was refused.
type record struct {
	method string
	ask    ask
	resp   any
	err    error
}

// done writes down what somebody did, or tried: one record for each.
func (g *Guard) done(c *caller, r record) {
	level, decision, why := slog.LevelInfo, "allowed", "done"
	if r.err != nil {
		why = status.Code(r.err).String() + ": " + status.Convert(r.err).Message()
	}
	g.tell(level, c, r, decision, why)
}

// denied writes down that somebody was refused, and returns the refusal. Of many in a row some are only counted: they are cheap to make.
func (g *Guard) denied(c *caller, r record) error {
	suppressed, may := g.accounts.mayTell(c)
	if !may {
		return r.err
	}
	g.tell(slog.LevelWarn, c, r, "denied", status.Convert(r.err).Message(), slog.Int("suppressed", suppressed))
	return r.err
}

// tell writes a record. Its attributes are always the same; what callers made up is in them as text, and nothing of what they keep secret,
// nor of their metadata, is.
func (g *Guard) tell(level slog.Level, c *caller, r record, decision, why string, more ...slog.Attr) {
	who := c.name
	if who == "" {
		who = "unknown"
	}
	id, revision := outcome(r)
	attrs := append([]slog.Attr{
		slog.String("who", who), slog.String("from", c.from), slog.String("verb", string(r.ask.verb)), slog.String("method", short(r.method)),
		slog.String("service", short(r.ask.service)), slog.String("id", short(id)), slog.Int64("revision", revision),
		slog.String("decision", decision), slog.String("reason", short(why)),
	}, more...)
	g.logger.LogAttrs(context.Background(), level, "audit", attrs...)
}

// short bounds what a caller can have written into the log.
func short(text string) string {
	if len(text) > 512 {
		return text[:512] + "…"
	}
	return text
}

// outcome returns whose id it was about, and at which of etcd's revisions it was written.
func outcome(r record) (id string, revision int64) {
	id = r.ask.id
	switch resp := r.resp.(type) {
	case *rollcallv1.RegisterResponse:
		return resp.GetInstance().GetId(), resp.GetRevision()
	case *rollcallv1.UpdateResponse:
		return id, resp.GetRevision()
	case *rollcallv1.SetPolicyResponse:
		return id, resp.GetPolicy().GetRevision()
	case *rollcallv1.SetOverrideResponse:
		return id, resp.GetOverride().GetRevision()
	}
	return id, 0
}
