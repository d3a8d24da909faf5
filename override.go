package rollcall

import (
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"
)

// maxReasonLen bounds what operators say, in bytes.
const maxReasonLen = 1024

// Override is what an operator decided for one instance, beside what it says of itself: to send it nothing new, or to give it another
// weight. It belongs to the instance's id: the instance's restart leaves it alone. See [Registry.SetOverride].
type Override struct {
	Drain  bool // treat it as draining
	Weight int  // in place of the instance's own; 0 leaves that

	Reason string    // why, for those who wonder later; at most 1 KiB
	Author string    // who; at most 253 bytes
	Since  time.Time // when it was decided; SetOverride fills it in
	Until  time.Time // when it ends by itself; zero: when it is taken back

	Revision int64 // etcd's, of the last write
}

// overrideRecord is an override as it lies in etcd.
type overrideRecord struct {
	Drain  bool      `json:"Drain,omitempty"`
	Weight int       `json:"Weight,omitempty"`
	Reason string    `json:"Reason,omitempty"`
	Author string    `json:"Author,omitempty"`
	Since  time.Time `json:"Since,omitzero"`
	Until  time.Time `json:"Until,omitzero"`
}

func (o Override) encode() ([]byte, error) {
	return json.Marshal(overrideRecord{
		Drain: o.Drain, Weight: o.Weight, Reason: o.Reason, Author: o.Author,
		Since: o.Since.UTC(), Until: o.Until.UTC(),
	})
}

var errNoOverride = errors.New("override neither drains nor weighs")

func decodeOverride(value []byte) (*Override, error) {
	if len(value) > maxReadLen {
		return nil, errTooLarge
	}
	var r overrideRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	if !r.Drain && r.Weight <= 0 {
		return nil, errNoOverride
	}
	return &Override{Drain: r.Drain, Weight: max(r.Weight, 0), Reason: r.Reason, Author: r.Author, Since: r.Since, Until: r.Until}, nil
}

func (o Override) validate(now time.Time) error {
	switch {
	case !o.Drain && o.Weight == 0:
		return invalid("Override", "{}", "an override drains or has a weight")
	case o.Weight < 0:
		return invalid("Override.Weight", o.Weight, "a weight is 0 (the instance's own) or more")
	case len(o.Reason) > maxReasonLen || !utf8.ValidString(o.Reason):
		return invalid("Override.Reason", o.Reason, "a reason is at most 1 KiB of UTF-8")
	case len(o.Author) > maxLabelLen || !utf8.ValidString(o.Author):
		return invalid("Override.Author", o.Author, "an author is at most 253 bytes of UTF-8")
	case !o.Until.IsZero() && !o.Until.After(now):
		return invalid("Override.Until", o.Until.Format(time.RFC3339), "the end of an override lies in the future")
	}
	return nil
}

// active reports whether the override has not ended by itself.
func (o *Override) active(now time.Time) bool {
	return o != nil && (o.Until.IsZero() || o.Until.After(now))
}

// equal compares what two overrides decide; their revisions do not count.
func (o *Override) equal(other *Override) bool {
	if o == nil || other == nil {
		return o == other
	}
	a, b := *o, *other
	since, until := a.Since.Equal(b.Since), a.Until.Equal(b.Until)
	a.Since, b.Since, a.Until, b.Until, a.Revision, b.Revision = time.Time{}, time.Time{}, time.Time{}, time.Time{}, 0, 0
	return since && until && a == b
}
