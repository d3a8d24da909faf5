package rollcall

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// balancingDocument is a [Balancing] in JSON. Pointers tell what was said to be zero from what was left out.
type balancingDocument struct {
	Pick        Pick               `json:"pick,omitempty"`
	Split       map[string]float64 `json:"split,omitempty"`
	SplitHeader string             `json:"splitHeader,omitempty"`
	Subset      *subsetDocument    `json:"subset,omitempty"`
	Zones       *zonesDocument     `json:"zones,omitempty"`
	SlowStart   json.RawMessage    `json:"slowStart,omitempty"`
	Ejection    *ejectionDocument  `json:"ejection,omitempty"`
}

type subsetDocument struct {
	Size     *int `json:"size,omitempty"`
	Disabled bool `json:"disabled,omitempty"`
}

type zonesDocument struct {
	Disabled bool `json:"disabled,omitempty"`
}

type ejectionDocument struct {
	Failures   *int            `json:"failures,omitempty"`
	Time       json.RawMessage `json:"time,omitempty"`
	MaxPercent *int            `json:"maxPercent,omitempty"`
	Disabled   bool            `json:"disabled,omitempty"`
}

// durationText writes a duration as every service config does, "1.5s"; nil for 0.
func durationText(d time.Duration) json.RawMessage {
	if d == 0 {
		return nil
	}
	text := fmt.Sprintf("%d.%09d", d/time.Second, d%time.Second) // a float64 would be a nanosecond off here and there
	return json.RawMessage(`"` + strings.TrimRight(strings.TrimRight(text, "0"), ".") + `s"`)
}

// parseDuration reads a field's duration; other units of Go's are understood, too. It is 0 when there is none.
func parseDuration(field string, text json.RawMessage) (time.Duration, error) {
	if text == nil || string(text) == "null" {
		return 0, nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return 0, unreadable(field, string(text), `a duration is text, as "1.5s"`)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, unreadable(field, string(text), `a duration is a number and a unit, as "1.5s"`)
	}
	return d, nil
}

func unreadable(field, value, rule string) error {
	return &InvalidError{Field: field, Value: value, Rule: rule}
}

func (c Balancing) document() balancingDocument {
	d := balancingDocument{Pick: c.Pick, Split: c.Split, SplitHeader: strings.ToLower(c.SplitHeader)}
	if c.Subset != (Subset{}) {
		d.Subset = &subsetDocument{Size: unlessZero(c.Subset.Size), Disabled: c.Subset.Disabled}
	}
	if c.IgnoreZones {
		d.Zones = &zonesDocument{Disabled: true}
	}
	d.SlowStart = durationText(c.SlowStart)
	if e := c.Ejection; e != (Ejection{}) {
		d.Ejection = &ejectionDocument{
			Failures: unlessZero(e.Failures), Time: durationText(e.Time),
			MaxPercent: unlessZero(e.MaxPercent), Disabled: e.Disabled,
		}
	}
	return d
}

func unlessZero[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// MarshalJSON writes c as a service config has it.
func (c Balancing) MarshalJSON() ([]byte, error) { return json.Marshal(c.document()) }

// UnmarshalJSON reads what a service config has, and is [ParseBalancing].
func (c *Balancing) UnmarshalJSON(text []byte) error {
	parsed, err := ParseBalancing(text)
	if err == nil {
		*c = parsed
	}
	return err
}

// ParseBalancing reads what a service config has. What is said to be zero and must not be is refused, where
// [Balancing.Validate] takes it for the default.
func ParseBalancing(text []byte) (Balancing, error) {
	var d balancingDocument
	if err := json.Unmarshal(bytes.TrimSpace(text), &d); err != nil {
		return Balancing{}, fmt.Errorf("rollcall: load-balancing config: %w", err)
	}
	c, err := d.balancing()
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		return c, fmt.Errorf("rollcall: load-balancing config: %w", err)
	}
	return c, nil
}

func (d *balancingDocument) balancing() (Balancing, error) {
	c := Balancing{Pick: d.Pick, Split: d.Split, SplitHeader: strings.ToLower(d.SplitHeader)}
	if s := d.Subset; s != nil {
		if s.Size != nil && *s.Size == 0 {
			return c, unreadable("subset.size", "0", `a subset has 1 instance or more; "disabled": true connects to all`)
		}
		c.Subset = Subset{Size: deref(s.Size), Disabled: s.Disabled}
	}
	if d.Zones != nil {
		c.IgnoreZones = d.Zones.Disabled
	}
	var err error
	if c.SlowStart, err = parseDuration("slowStart", d.SlowStart); err != nil {
		return c, err
	}
	if d.Ejection != nil {
		if c.Ejection, err = d.Ejection.parse(); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (e *ejectionDocument) parse() (Ejection, error) {
	out := Ejection{Failures: deref(e.Failures), MaxPercent: deref(e.MaxPercent), Disabled: e.Disabled}
	var err error
	if out.Time, err = parseDuration("ejection.time", e.Time); err != nil {
		return out, err
	}
	switch {
	case e.Failures != nil && *e.Failures == 0:
		err = unreadable("ejection.failures", "0", "1 or more")
	case e.Time != nil && string(e.Time) != "null" && out.Time == 0:
		err = unreadable("ejection.time", "0", "more than 0")
	case e.MaxPercent != nil && *e.MaxPercent == 0:
		err = unreadable("ejection.maxPercent", "0", "1 to 100")
	}
	return out, err
}

func deref[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
