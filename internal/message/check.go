package message

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// Check returns what an instance asks for as the API has it; nil is nil.
func Check(c *rollcall.Check) *rollcallv1.Check {
	if c == nil {
		return nil
	}
	return &rollcallv1.Check{
		Type: Text(string(c.Type)), Addr: Text(c.Addr), Service: Text(c.Service), Path: Text(c.Path), Tls: c.TLS,
		Interval: Duration(c.Interval), Timeout: Duration(c.Timeout), Fall: number(c.Fall), Rise: number(c.Rise),
	}
}

// CheckOf is the inverse of [Check].
func CheckOf(m *rollcallv1.Check) *rollcall.Check {
	if m == nil {
		return nil
	}
	return &rollcall.Check{
		Type: rollcall.CheckType(m.GetType()), Addr: m.GetAddr(), Service: m.GetService(), Path: m.GetPath(), TLS: m.GetTls(),
		Interval: m.GetInterval().AsDuration(), Timeout: m.GetTimeout().AsDuration(), Fall: int(m.GetFall()), Rise: int(m.GetRise()),
	}
}

// Health returns what a check found out as the API has it; nil is nil.
func Health(h *rollcall.Health) *rollcallv1.Health {
	if h == nil {
		return nil
	}
	return &rollcallv1.Health{Failing: h.Failing, Since: Moment(h.Since), Detail: Text(h.Detail), Checker: Text(h.Checker), Revision: h.Revision}
}

// HealthOf is the inverse of [Health].
func HealthOf(m *rollcallv1.Health) *rollcall.Health {
	if m == nil {
		return nil
	}
	return &rollcall.Health{Failing: m.GetFailing(), Since: MomentOf(m.GetSince()), Detail: m.GetDetail(), Checker: m.GetChecker(), Revision: m.GetRevision()}
}

// Duration returns a duration as the API has it; none is not set.
func Duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
