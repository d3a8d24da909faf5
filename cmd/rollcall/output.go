package main

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rollcall-io/rollcall"
)

// instanceJSON is an instance as -o json shows it. The names are a contract with scripts; what an instance does not
// say about itself is left out.
type instanceJSON struct {
	Service         string            `json:"service"`
	ID              string            `json:"id"`
	Addr            string            `json:"addr"`
	Addrs           map[string]string `json:"addrs,omitempty"`
	State           rollcall.State    `json:"state"`
	Suspect         bool              `json:"suspect,omitempty"`
	Weight          int               `json:"weight"`
	Override        *overrideJSON     `json:"override,omitempty"`
	EffectiveState  rollcall.State    `json:"effectiveState"` // what counts: the operator's word before the instance's
	EffectiveWeight int               `json:"effectiveWeight"`
	Zone            string            `json:"zone,omitempty"`
	Version         string            `json:"version,omitempty"`
	Metadata        any               `json:"metadata,omitempty"` // an object of strings, or whatever JSON another writer put there
	TTL             int64             `json:"ttl,omitempty"`      // seconds
	Registered      time.Time         `json:"registered,omitzero"`
	Incarnation     string            `json:"incarnation,omitempty"`
	Check           *checkJSON        `json:"check,omitempty"`
	Health          *healthJSON       `json:"health,omitempty"`
	Revision        int64             `json:"revision"`
}

// checkJSON is what an instance asks servers to check, with what it leaves to them filled in.
type checkJSON struct {
	Type     rollcall.CheckType `json:"type"`
	Addr     string             `json:"addr,omitempty"`
	Service  string             `json:"service,omitempty"`
	Path     string             `json:"path,omitempty"`
	TLS      bool               `json:"tls,omitempty"`
	Interval string             `json:"interval"`
	Timeout  string             `json:"timeout"`
	Fall     int                `json:"fall"`
	Rise     int                `json:"rise"`
}

// healthJSON is what a check found out.
type healthJSON struct {
	Failing bool      `json:"failing"`
	Since   time.Time `json:"since,omitzero"`
	Detail  string    `json:"detail,omitempty"`
	Checker string    `json:"checker,omitempty"`
}

// overrideJSON is what an operator decided for an instance.
type overrideJSON struct {
	Drain    bool      `json:"drain,omitempty"`
	Weight   int       `json:"weight,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Author   string    `json:"author,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Revision int64     `json:"revision"`
}

func newInstanceJSON(service string, i *rollcall.Instance) instanceJSON {
	j := instanceJSON{
		Service: service, ID: i.ID, Addr: i.Addr, Addrs: i.Addrs, State: i.State, Suspect: i.Suspect, Weight: i.Weight, Zone: i.Zone,
		Version: i.Version, TTL: int64(i.TTL / time.Second), Registered: i.Registered, Incarnation: i.Incarnation,
		Revision: i.Revision, EffectiveState: i.EffectiveState(), EffectiveWeight: i.EffectiveWeight(),
	}
	if o := i.Override; o != nil {
		j.Override = &overrideJSON{o.Drain, o.Weight, o.Reason, o.Author, o.Since, o.Until, o.Revision}
	}
	if i.Check != nil {
		c := i.Check.WithDefaults()
		j.Check = &checkJSON{c.Type, c.Addr, c.Service, c.Path, c.TLS, lasting(c.Interval).String(), lasting(c.Timeout).String(), c.Fall, c.Rise}
	}
	if h := i.Health; h != nil {
		j.Health = &healthJSON{h.Failing, h.Since, h.Detail, h.Checker}
	}
	if len(i.Metadata) > 0 {
		j.Metadata = i.Metadata
	}
	if i.RawMetadata != nil {
		j.Metadata = i.RawMetadata
	}
	return j
}

// updateJSON is one line of "watch -o json".
type updateJSON struct {
	Time time.Time `json:"time"` // when it was seen, UTC
	Op   string    `json:"op"`   // joined, changed, suspect, left or expired
	instanceJSON
}

// opWord says what an update means to a person.
func opWord(u rollcall.Update) string {
	switch {
	case u.Op != rollcall.Delete && u.Instance.Suspect:
		return "suspect"
	case u.Op == rollcall.Add:
		return "joined"
	case u.Op == rollcall.Modify:
		return "changed"
	case u.Expired:
		return "expired"
	}
	return "left"
}

// clock is a time of day, with its date unless that is today's.
func clock(t, now time.Time) string {
	if t, now := t.Local(), now.Local(); t.Year() != now.Year() || t.YearDay() != now.YearDay() {
		return t.Format(time.DateTime)
	}
	return t.Local().Format(time.TimeOnly)
}

// printJSON prints v as one JSON value on one line.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

var instanceHeads = []string{"ID", "ADDR", "STATE", "WEIGHT", "ZONE", "VERSION", "METADATA"}

func instanceCells(i *rollcall.Instance) []string {
	metadata := string(i.RawMetadata)
	if i.RawMetadata == nil {
		metadata = joinPairs(i.Metadata)
	}
	return []string{cell(i.ID), cell(i.Addr), cell(stateWord(i)), weightWord(i), cell(i.Zone), cell(i.Version), cell(metadata)}
}

// stateWord says what an instance is to a person: what it says of itself, or what an operator or a check says, or that it is doubtful
// whether it is there.
func stateWord(i *rollcall.Instance) string {
	switch {
	case i.Suspect:
		return "suspect"
	case i.Override != nil && i.Override.Drain:
		return string(rollcall.StateDraining) + " (operator)"
	case i.State == rollcall.StateServing && !i.Healthy():
		return "unhealthy"
	}
	return string(i.State)
}

// weightWord has the instance's own weight, and the one that an operator put in its place.
func weightWord(i *rollcall.Instance) string {
	own := strconv.Itoa(i.Weight)
	if i.EffectiveWeight() == i.Weight {
		return own
	}
	return own + "→" + strconv.Itoa(i.EffectiveWeight())
}

func joinPairs(m map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		pairs = append(pairs, name+"="+m[name])
	}
	return strings.Join(pairs, ",")
}

// cell makes one cell of s. What is in etcd anybody may have written: nothing in it reaches the terminal but what can
// be printed.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

var wideHeads = []string{"ID", "ADDR", "STATE", "WEIGHT", "ZONE", "VERSION", "ADDRS", "TTL", "REGISTERED", "INCARNATION", "REVISION", "METADATA"}

func wideCells(i *rollcall.Instance) []string {
	c := instanceCells(i)
	ttl := "-"
	if i.TTL != 0 {
		ttl = lasting(i.TTL).String()
	}
	return append(c[:6:6], cell(joinPairs(i.Addrs)), ttl, precise(i.Registered), cell(i.Incarnation), strconv.FormatInt(i.Revision, 10), c[6])
}
