package rollcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// JournalKind says what a [JournalEntry] tells.
type JournalKind uint8

// The kinds of entries.
const (
	// JournalBegin is the first: what follows, as JournalPresent, is everything as of its Revision. It comes again when what would have come
	// next cannot be told: etcd has compacted it away, or, with Reset, its history broke, as by a wipe or a restore.
	JournalBegin JournalKind = iota + 1

	JournalPresent  // After is there as of the last JournalBegin
	JournalChange   // Before became After
	JournalCaughtUp // everything up to Revision has been told; it comes again and again
	JournalTrouble  // etcd cannot be read now, Err says why; it is tried again
)

// JournalAbout says what a key holds.
type JournalAbout uint8

// What keys hold.
const (
	AboutInstance JournalAbout = iota + 1 // see [Instance]
	AboutOverride                         // see [Override]
	AboutPolicy                           // see [Policy]
	AboutHealth                           // see [Health]
	AboutAccept                           // see [Accepted]
)

// JournalEntry is one entry of a registry's journal.
type JournalEntry struct {
	Kind     JournalKind
	Revision int64 // etcd's
	Reset    bool  // see JournalBegin
	Err      error // see JournalTrouble

	About   JournalAbout // what the key holds that it is about
	Service string       // and of which service
	ID      string       // and which instance; "" when it is about the whole service
	Deleted bool         // of a change: the key is gone; a value that cannot be read is not

	// What a key said before the change, and says after it. Of both the one is nil that was or is not there, or cannot be read.
	Before, After Fact
}

// Fact is what one key says; one of its fields is set, beside By.
type Fact struct {
	Instance *Instance
	Leaving  bool  // of an instance: it has said goodbye, and its key is about to go
	Lease    int64 // that the key lies under; 0: none
	Tended   bool  // of an instance: somebody keeps it for its program, who has a token: see [WithToken]
	Override *Override
	Policy   *Policy
	Health   *Health
	Of       string // of Health: the incarnation that it is about
	Accepted *Accepted

	// By is who is about to take the key away, and why, when somebody said so: an operator who removes an instance, or takes a decision back.
	By By
}

// Known reports whether there is a fact at all.
func (f Fact) Known() bool {
	return f.Instance != nil || f.Override != nil || f.Policy != nil || f.Health != nil || f.Accepted != nil
}

// Accepted is an operator's word that losses are to be believed.
type Accepted struct {
	Reason, Author string
	Since          time.Time
}

// Journal tells everything that happened in the registry, change by change, from as far back as etcd remembers or from so many of etcd's
// revisions ago, and what happens from then on. Nothing is left out or merged, and a change comes once. It calls tell, one call at a time,
// until ctx ends, the registry is closed or tell returns false; tell may block, and then etcd waits. What it tells is the reader's own.
//
// It is for programs that show the past, and costs etcd a watch of its own that reads every revision. Only a registry that was made with
// [WithFollowAll] has one.
func (r *Registry) Journal(ctx context.Context, back int64, tell func(JournalEntry) bool) error {
	err := r.checkAll()
	if err == nil && back < 0 {
		err = invalid("back", back, "it is how many revisions to go back at most, 0 or more")
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	e := r.everything()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	j := &journal{layout: r.layout, tell: tell, stop: cancel}
	e.r.source.Replay(ctx, strings.TrimSuffix(r.layout.services, "services/"), back, j)
	if r.ctx.Err() != nil {
		return fmt.Errorf("journal: %w", ErrClosed)
	}
	return nil
}

// journal turns keys and values into entries.
type journal struct {
	layout layout
	tell   func(JournalEntry) bool
	stop   context.CancelFunc
	ended  bool
}

func (j *journal) say(e JournalEntry) {
	if !j.ended && !j.tell(e) {
		j.ended = true
		j.stop()
	}
}

// Begin implements [follow.Replay].
func (j *journal) Begin(at follow.Header, reset bool) {
	j.say(JournalEntry{Kind: JournalBegin, Revision: at.Revision, Reset: reset})
}

// Present implements [follow.Replay].
func (j *journal) Present(kv *mvccpb.KeyValue) {
	if e, ours := j.entry(string(kv.Key)); ours {
		e.Kind, e.Revision, e.After = JournalPresent, kv.ModRevision, j.fact(e, kv)
		j.say(e)
	}
}

// Events implements [follow.Replay].
func (j *journal) Events(events []*mvccpb.Event) {
	for _, ev := range events {
		e, ours := j.entry(string(ev.Kv.Key))
		if !ours {
			continue
		}
		e.Kind, e.Revision = JournalChange, ev.Kv.ModRevision
		if ev.PrevKv != nil {
			e.Before = j.fact(e, ev.PrevKv)
		}
		if e.Deleted = ev.Type == mvccpb.Event_DELETE; !e.Deleted {
			e.After = j.fact(e, ev.Kv)
		}
		j.say(e)
	}
}

// CaughtUp implements [follow.Replay].
func (j *journal) CaughtUp(revision int64) {
	j.say(JournalEntry{Kind: JournalCaughtUp, Revision: revision})
}

// Trouble implements [follow.Replay].
func (j *journal) Trouble(err error) { j.say(JournalEntry{Kind: JournalTrouble, Err: refused(err)}) }

// entry returns an entry about a key, and whether it is one of ours.
func (j *journal) entry(key string) (e JournalEntry, ours bool) {
	if service, ok := j.layout.serviceOf(key); ok {
		id, _ := idOf(j.layout.dir(service), key)
		return JournalEntry{About: AboutInstance, Service: service, ID: id}, true
	}
	service, name, ok := strings.Cut(strings.TrimPrefix(key, j.layout.control), "/")
	if !ok || !strings.HasPrefix(key, j.layout.control) || validateService(service) != nil {
		return e, false
	}
	e.Service = service
	var of bool
	if e.ID, of = idOf(overrideName, name); of {
		e.About = AboutOverride
	} else if e.ID, of = idOf(healthName, name); of {
		e.About = AboutHealth
	} else if name == policyName {
		e.About = AboutPolicy
	} else if name == acceptName {
		e.About = AboutAccept
	}
	return e, e.About != 0
}

// fact reads a value. One that cannot be read is none.
func (j *journal) fact(e JournalEntry, kv *mvccpb.KeyValue) (f Fact) {
	f.Lease = kv.Lease
	if strings.HasPrefix(string(kv.Key), j.layout.services) {
		i, err := decodeInstance(e.ID, kv.Value)
		if err != nil {
			return Fact{}
		}
		i.Revision, i.CreateRevision, i.lease = kv.ModRevision, kv.CreateRevision, kv.Lease
		f.Leaving = i.State == stateLeaving
		f.Instance, f.Tended, f.By = i, i.tokenHash != "", byOf(kv.Value)
		return f
	}
	name := strings.TrimPrefix(string(kv.Key), j.layout.controlDir(e.Service))
	switch v := decision(name, kv.Value, kv.ModRevision).(type) {
	case *Policy:
		f.Policy = v
	case *Override:
		f.Override = v
	case *finding:
		f.Health, f.Of = &v.Health, v.of
	case acceptance:
		var r overrideRecord
		if json.Unmarshal(kv.Value, &r) != nil {
			return Fact{}
		}
		f.Accepted = &Accepted{Reason: r.Reason, Author: r.Author, Since: r.Since}
	default:
		return Fact{}
	}
	f.By = byOf(kv.Value)
	return f
}

// By is who does something, and why, for those who wonder later.
type By struct {
	Author string // at most 253 bytes
	Reason string // at most 1 KiB
}

// byRecord are the fields that somebody adds to a value which he is about to take away.
type byRecord struct {
	Author string `json:"TakenBy,omitempty"`
	Reason string `json:"TakenFor,omitempty"`
}

func byOf(value []byte) By {
	var r byRecord
	if json.Unmarshal(value, &r) != nil {
		return By{}
	}
	return By(r)
}

// signed returns a value with who takes it away.
func signed(value []byte, by By) ([]byte, error) {
	if by == (By{}) {
		return value, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"TakenBy": by.Author, "TakenFor": by.Reason} {
		if text == "" {
			continue
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			return nil, err
		}
		fields[name] = quoted
	}
	return json.Marshal(fields)
}

func (b By) validate() error {
	return Override{Drain: true, Reason: b.Reason, Author: b.Author}.validate(time.Time{})
}

// oneBy returns the one that a call was given, if it was.
func oneBy(by []By) (By, error) {
	switch len(by) {
	case 0:
		return By{}, nil
	case 1:
		return by[0], by[0].validate()
	}
	return By{}, errors.New("one does it")
}
