// Package message turns the library's words into those of rollcall.v1 and back, for servers and for clients of servers.
package message

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// Instance returns an instance as the API has it. Others write instances too: what they wrote must not keep a message with all the rest
// from being encoded, so that text becomes UTF-8 and times that there cannot be are left out.
func Instance(i *rollcall.Instance) *rollcallv1.Instance {
	m := &rollcallv1.Instance{
		Id: Text(i.ID), Addr: Text(i.Addr), Addrs: texts(i.Addrs), Metadata: texts(i.Metadata), Zone: Text(i.Zone), Version: Text(i.Version),
		Weight: number(i.Weight), State: Text(string(i.State)),
		EffectiveState: Text(string(i.EffectiveState())), EffectiveWeight: number(i.EffectiveWeight()),
		Suspect: i.Suspect, Registered: Moment(i.Registered), Incarnation: Text(i.Incarnation),
		Revision: i.Revision, CreateRevision: i.CreateRevision,
	}
	if i.Override != nil {
		m.Override = Override(i.Override)
	}
	m.Check, m.Health = Check(i.Check), Health(i.Health)
	if i.TTL != 0 {
		m.Ttl = durationpb.New(i.TTL)
	}
	if i.RawMetadata != nil {
		raw := &structpb.Value{}
		if raw.UnmarshalJSON(i.RawMetadata) == nil {
			m.RawMetadata = raw
		}
	}
	return m
}

// Requested returns what the API's callers may say of an instance: everything else is rollcall's to set.
func Requested(m *rollcallv1.Instance) rollcall.Instance {
	return rollcall.Instance{
		ID: m.GetId(), Addr: m.GetAddr(), Addrs: maps.Clone(m.GetAddrs()), Metadata: maps.Clone(m.GetMetadata()), Zone: m.GetZone(), Version: m.GetVersion(),
		Weight: int(m.GetWeight()), State: rollcall.State(m.GetState()), Check: CheckOf(m.GetCheck()),
	}
}

// InstanceOf returns an instance that a server told of.
func InstanceOf(m *rollcallv1.Instance) *rollcall.Instance {
	i := Requested(m)
	i.TTL, i.Incarnation, i.Suspect = m.GetTtl().AsDuration(), m.GetIncarnation(), m.GetSuspect()
	i.Revision, i.CreateRevision = m.GetRevision(), m.GetCreateRevision()
	i.Registered, i.Health = MomentOf(m.GetRegistered()), HealthOf(m.GetHealth())
	if m.GetOverride() != nil {
		o := OverrideOf(m.GetOverride())
		i.Override = &o
	}
	if m.GetRawMetadata() != nil {
		if raw, err := m.GetRawMetadata().MarshalJSON(); err == nil {
			i.RawMetadata = compact(raw)
		}
	}
	return &i
}

var ops = map[rollcall.Op]rollcallv1.Update_Op{
	rollcall.Add: rollcallv1.Update_OP_ADD, rollcall.Modify: rollcallv1.Update_OP_MODIFY, rollcall.Delete: rollcallv1.Update_OP_DELETE,
}

// Update returns a change as the API has it.
func Update(u rollcall.Update) *rollcallv1.Update {
	return &rollcallv1.Update{Op: ops[u.Op], Instance: Instance(u.Instance), Expired: u.Expired}
}

// UpdateOf returns a change that a server told of. What was there before a message does not say.
func UpdateOf(m *rollcallv1.Update) rollcall.Update {
	u := rollcall.Update{Instance: InstanceOf(m.GetInstance()), Expired: m.GetExpired()}
	for op, said := range ops {
		if said == m.GetOp() {
			u.Op = op
		}
	}
	return u
}

// Override returns an operator's decision as the API has it.
func Override(o *rollcall.Override) *rollcallv1.Override {
	return &rollcallv1.Override{
		Drain: o.Drain, Weight: number(o.Weight), Reason: Text(o.Reason), Author: Text(o.Author),
		Since: Moment(o.Since), Until: Moment(o.Until), Revision: o.Revision,
	}
}

// OverrideOf is the inverse of [Override].
func OverrideOf(m *rollcallv1.Override) rollcall.Override {
	return rollcall.Override{
		Drain: m.GetDrain(), Weight: int(m.GetWeight()), Reason: m.GetReason(), Author: m.GetAuthor(),
		Since: MomentOf(m.GetSince()), Until: MomentOf(m.GetUntil()), Revision: m.GetRevision(),
	}
}

// Policy returns a policy as the API has it; nil is nil.
func Policy(p *rollcall.Policy) (*rollcallv1.Policy, error) {
	if p == nil {
		return nil, nil
	}
	document, err := p.MarshalJSON()
	if err != nil {
		return nil, err
	}
	m := &rollcallv1.Policy{Document: &structpb.Struct{}, Revision: p.Revision}
	return m, m.Document.UnmarshalJSON(document)
}

// PolicyOf reads a policy that somebody has written, and refuses, as an [rollcall.InvalidError], fields that nobody knows.
func PolicyOf(m *rollcallv1.Policy) (rollcall.Policy, error) {
	refuse := func(rule string) error {
		return &rollcall.InvalidError{Field: "policy.document", Value: "{…}", Rule: rule}
	}
	if m.GetDocument() == nil {
		return rollcall.Policy{}, &rollcall.InvalidError{Field: "policy.document", Value: "{}", Rule: "a policy has a document"}
	}
	document, err := m.GetDocument().MarshalJSON()
	if err != nil {
		return rollcall.Policy{}, refuse(err.Error())
	}
	p, err := rollcall.ParsePolicy(document)
	switch {
	case err == nil:
		p.Revision = m.GetRevision()
	case !errors.Is(err, rollcall.ErrInvalid):
		err = refuse(err.Error())
	}
	return p, err
}

// Staleness returns how old an answer is; nil when it is current.
func Staleness(since time.Time, why error) *rollcallv1.Staleness {
	if since.IsZero() {
		return nil
	}
	s := &rollcallv1.Staleness{Since: Moment(since)}
	if why != nil {
		s.Reason = Text(why.Error())
	}
	return s
}

// Text returns text as UTF-8, which a message must be: others write instances, too.
func Text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func texts(m map[string]string) map[string]string {
	if m == nil {
		return nil
	}
	valid := make(map[string]string, len(m))
	for k, v := range m {
		valid[Text(k)] = Text(v)
	}
	return valid
}

func number(n int) int32 { return int32(max(math.MinInt32, min(n, math.MaxInt32))) }

// Moment returns a time as the API has it; none, and one that it cannot have, is not set.
func Moment(t time.Time) *timestamppb.Timestamp {
	m := timestamppb.New(t)
	if t.IsZero() || m.CheckValid() != nil {
		return nil
	}
	return m
}

// MomentOf is the inverse of [Moment].
func MomentOf(m *timestamppb.Timestamp) time.Time {
	if m == nil || m.CheckValid() != nil {
		return time.Time{}
	}
	return m.AsTime()
}

// compact takes the spaces out of JSON; the encoder that wrote it puts them in at random.
func compact(raw []byte) json.RawMessage {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return raw
	}
	out, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return out
}
