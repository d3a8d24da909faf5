package rollcall

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall/internal/follow"
	"github.com/rollcall-io/rollcall/internal/wire"
)

// controlDir is the prefix of what operators decided about a service.
func (l layout) controlDir(service string) string { return l.control + service + "/" }

// The names of keys below that.
const (
	policyName   = "policy"
	acceptName   = "accept"
	overrideName = "override/" // and the id, escaped
)

func (l layout) policyKey(service string) string { return l.controlDir(service) + policyName }

func (l layout) overrideKey(service, id string) string {
	return l.controlDir(service) + overrideName + escapeID(id)
}

// decisions are what operators decided about one service. They are immutable.
type decisions struct {
	policy    *Policy
	overrides map[string]*Override // by id; some may have ended
	health    map[string]*finding  // by id
	accepted  int64                // the losses up to this revision are believed
}

var noDecisions = &decisions{}

// override returns what counts for an instance now; nil for nothing.
func (d *decisions) override(id string, now time.Time) *Override {
	if o := d.overrides[id]; o.active(now) {
		return o
	}
	return nil
}

// clone returns a copy that may be changed until others have it.
func (d *decisions) clone() *decisions {
	next := *d
	next.overrides, next.health = maps.Clone(d.overrides), maps.Clone(d.health)
	return &next
}

// healthOf returns what was reported of an instance's incarnation; nil for nothing.
func (d *decisions) healthOf(i *Instance) *Health {
	if found := d.health[i.ID]; found != nil && found.of == i.Incarnation {
		return &found.Health
	}
	return nil
}

// with returns the decisions with one key's value, nil for none, in place of what it was.
func (d *decisions) with(name string, value any) *decisions {
	next := d.clone()
	next.set(name, value)
	return next
}

// set puts one key's value, nil for none, in the place of what it was.
func (d *decisions) set(name string, value any) {
	overridden, isOverride := idOf(overrideName, name)
	reported, isReport := idOf(healthName, name)
	switch {
	case name == policyName:
		d.policy, _ = value.(*Policy)
	case name == acceptName:
		accepted, _ := value.(acceptance)
		d.accepted = int64(accepted)
	case isOverride:
		d.overrides = setOrDelete(d.overrides, overridden, value)
	case isReport:
		d.health = setOrDelete(d.health, reported, value)
	}
}

// setOrDelete replaces or, with nil, removes one entry of a map, which may be nil.
func setOrDelete[V any](m map[string]V, id string, value any) map[string]V {
	v, present := value.(V)
	if !present {
		delete(m, id)
		return m
	}
	if m == nil {
		m = map[string]V{}
	}
	m[id] = v
	return m
}

// acceptance is the revision of a word that losses are to be believed. What it says beyond that is for people.
type acceptance int64

// decision reads a key's value: a policy, an override, a report, an acceptance; an error when it should be one and is not; nil when it is of a later
// version.
func decision(name string, value []byte, revision int64) any {
	switch {
	case name == policyName:
		p, err := decodePolicy(value)
		if err != nil {
			return err
		}
		p.Revision = revision
		return p
	case name == acceptName:
		return acceptance(revision)
	case strings.HasPrefix(name, overrideName):
		o, err := decodeOverride(value)
		if err != nil {
			return err
		}
		o.Revision = revision
		return o
	case strings.HasPrefix(name, healthName):
		h, err := decodeHealth(value)
		if err != nil {
			return err
		}
		h.Revision = revision
		return h
	}
	return nil
}

// control follows what operators decided about all services: there is little of it, and one watch does.
type control struct {
	prefix   string
	settings settings
	follower *follow.Follower
	tell     func(services []string) // has feeds take over what changed, all when nil; called without mu

	telling sync.Mutex // orders what feeds are told: each is told the newest last

	mu       sync.Mutex
	known    bool // etcd was asked, and answered or not
	answered bool // it did
	services map[string]*decisions
	lost     map[string]time.Time // by key below the prefix, when what a broken history took away is given up
	timer    *time.Timer          // for the next that ends
	left     chan struct{}        // holds a token when there are leftovers
	ended    bool
}

func newControl(s settings, tell func([]string)) *control {
	return &control{prefix: s.layout.control, settings: s, tell: tell, services: map[string]*decisions{}, lost: map[string]time.Time{}, left: make(chan struct{}, 1)}
}

// of returns what is decided about a service, nil when etcd has not told, and whether etcd was asked at all.
func (c *control) of(service string) (*decisions, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.answered {
		return nil, c.known
	}
	return c.ofLocked(service), true
}

// about returns those of the given services, or of all when nil, about which something is decided.
func (c *control) about(services []string) (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.services {
		if validateService(name) == nil && (services == nil || slices.Contains(services, name)) {
			names = append(names, name)
		}
	}
	return names
}

func (c *control) ofLocked(service string) *decisions {
	if d := c.services[service]; d != nil {
		return d
	}
	return noDecisions
}

// split returns the service and the rest of a key.
func (c *control) split(key string) (service, name string) {
	service, name, _ = strings.Cut(strings.TrimPrefix(key, c.prefix), "/")
	return service, name
}

// Read implements [follow.Sink].
func (c *control) Read(key string, value []byte) any {
	_, name := c.split(key)
	return decision(name, value, 0)
}

// Apply implements [follow.Sink]. What cannot be read changes nothing: the last good one stays.
func (c *control) Apply(b follow.Batch) {
	c.mu.Lock()
	changed := map[string]bool{}
	fresh := map[string]*decisions{} // copied for this batch: nobody else has them
	for _, change := range b.Changes {
		service, name := c.split(change.Key)
		value, taken := c.takeLocked(service, name, change, b.Reset)
		if !taken {
			continue
		}
		if fresh[service] == nil {
			fresh[service] = c.ofLocked(service).clone()
		}
		fresh[service].set(name, value)
		changed[service] = true
	}
	for service, d := range fresh {
		c.setLocked(service, d)
	}
	first := !c.answered
	c.known, c.answered = true, true
	c.settleLocked(changed)
	c.mu.Unlock()
	if first {
		c.tell(nil) // all feeds wait
		return
	}
	c.tell(slices.AppendSeq([]string{}, maps.Keys(changed)))
}

// takeLocked returns what a change puts in the place of a key's value, nil for none, and whether it is one.
func (c *control) takeLocked(service, name string, change follow.Change, reset bool) (any, bool) {
	key := service + "/" + name
	delete(c.lost, key)
	if change.Deleted {
		// Taken away by a wipe or a restore, by nobody's decision. An acceptance is of revisions, which begin anew; and whoever reports
		// on an instance does so again.
		if suspicion := c.settings.suspicion; reset && suspicion > 0 && name != acceptName && !strings.HasPrefix(name, healthName) {
			c.lost[key] = time.Now().Add(suspicion)
			return nil, false
		}
		return nil, true
	}
	read := change.Read
	if read == nil {
		read = c.Read(change.Key, change.Value)
	}
	switch v := read.(type) {
	case error:
		if c.settings.garbage.met(service, change.Key, change.Revision) {
			c.settings.logger.Warn("value cannot be read, skipped", "service", service, "key", change.Key, "revision", change.Revision, "err", v)
		}
		return nil, false
	case nil:
		return nil, false
	case *Policy:
		v.Revision = change.Revision
	case *Override:
		v.Revision = change.Revision
	case *finding:
		v.Revision = change.Revision
	case acceptance:
		read = acceptance(change.Revision)
	}
	return read, true
}

func (c *control) setLocked(service string, d *decisions) {
	if d.policy == nil && len(d.overrides) == 0 && len(d.health) == 0 && d.accepted == 0 {
		delete(c.services, service)
		return
	}
	c.services[service] = d
}

// settleLocked drops what has ended, and sets the timer for what ends next. It notes the services that this changes.
func (c *control) settleLocked(changed map[string]bool) {
	now := time.Now()
	var next time.Time
	earlier := func(at time.Time) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	for key, until := range c.lost {
		if until.After(now) {
			earlier(until)
			continue
		}
		service, name, _ := strings.Cut(key, "/")
		delete(c.lost, key)
		c.setLocked(service, c.ofLocked(service).with(name, nil))
		changed[service] = true
	}
	for service, d := range c.services {
		for _, o := range d.overrides {
			switch {
			case o.Until.IsZero():
			case o.active(now):
				earlier(o.Until)
			default:
				changed[service] = true // its key goes with its lease
				if swept := o.Until.Add(overrideGrace); swept.After(now) {
					earlier(swept)
				}
			}
		}
	}
	if len(c.leftoversLocked(now)) > 0 {
		select {
		case c.left <- struct{}{}:
		default:
		}
	}
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if !next.IsZero() && !c.ended {
		c.timer = time.AfterFunc(next.Sub(now), c.timeIsUp)
	}
}

func (c *control) timeIsUp() {
	changed := map[string]bool{}
	c.mu.Lock()
	c.settleLocked(changed)
	c.mu.Unlock()
	c.tell(slices.AppendSeq([]string{}, maps.Keys(changed)))
}

// end stops the timer.
func (c *control) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.timer != nil {
		c.timer.Stop()
	}
}

// Fresh implements [follow.Sink]. The instances' followers tell whether views are.
func (c *control) Fresh() {}

// Stale implements [follow.Sink]. Who may not read what operators decided does without, and who cannot does so until he can: the instances
// are known.
func (c *control) Stale(_ time.Time, err error) {
	c.mu.Lock()
	first := !c.known
	c.known = true
	c.mu.Unlock()
	if !first {
		return
	}
	if wire.IsRefusal(err) {
		c.settings.logger.Warn("policies and overrides cannot be read, done without", "prefix", c.prefix, "err", refused(err))
	}
	c.tell(nil)
}

// steerFeeds has feeds take over what operators decided: those of the given services, or all when there are none given.
func (r *etcd) steerFeeds(services []string) {
	if r.all != nil { // what is decided about a service without instances is told, too
		for _, service := range r.control.about(services) {
			if _, err := r.all.feed(service, false); err != nil {
				return
			}
		}
	}
	r.mu.Lock()
	var feeds []*feed
	for name, f := range r.feeds {
		if services == nil || slices.Contains(services, name) {
			feeds = append(feeds, f)
		}
	}
	r.mu.Unlock()
	r.control.telling.Lock()
	defer r.control.telling.Unlock()
	for _, f := range feeds {
		f.decide(r.control.of(f.service))
	}
	if r.all != nil {
		r.all.steered()
	}
}

// decide takes over what operators decided, and publishes it if the view does not have it. When etcd has not told, nil, what a
// snapshot told stays.
func (f *feed) decide(d *decisions, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !known {
		return
	}
	if d == nil {
		d = f.decided
	}
	accepted := d.accepted != f.decided.accepted
	before := f.decided
	f.decided, f.known = d, true
	f.guard.follow(d.policy)
	if accepted {
		f.guard.accept(d.accepted)
	}
	if f.view == nil {
		return
	}
	f.settleSuspectsLocked()
	f.steerLocked(before.differing(d))
}

// steer gives instances that have changed what operators decided for them, and what was reported of them. A suspect that is taken back may have what they decided
// before.
func (f *feed) steer(updates []Update) []Update {
	now := time.Now()
	for n, u := range updates {
		if u.Op != Delete {
			updates[n].Instance = f.overlay(u.Instance, now)
		}
	}
	return updates
}

// overlay returns an instance with what operators decided for it, and what was reported of its incarnation.
func (f *feed) overlay(i *Instance, now time.Time) *Instance {
	o, h := f.decided.override(i.ID, now), f.decided.healthOf(i)
	if i.Override == o && i.Health == h {
		return i
	}
	steered := *i
	steered.Override, steered.Health = o, h
	return &steered
}

// differing returns the ids, sorted, of instances of which something else may be decided or reported from now on: of many few.
func (d *decisions) differing(next *decisions) []string {
	var ids []string
	for id := range next.overrides { // time ends them
		ids = append(ids, id)
	}
	for id := range d.overrides {
		if next.overrides[id] == nil {
			ids = append(ids, id)
		}
	}
	for id, found := range next.health {
		if d.health[id] != found {
			ids = append(ids, id)
		}
	}
	for id := range d.health {
		if next.health[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// steerLocked has instances with the given ids, sorted, have what is decided and reported of them.
func (f *feed) steerLocked(ids []string) {
	now := time.Now()
	var updates []Update
	for _, id := range ids {
		i, there := f.view.Get(id)
		if !there {
			continue
		}
		if steered := f.overlay(i, now); steered != i {
			updates = append(updates, Update{Op: Modify, Instance: steered, Prev: i})
		}
	}
	if len(updates) == 0 && f.view.Policy == f.decided.policy && f.seq > 0 {
		return
	}
	next := *f.view
	next.Instances, next.Policy = applyUpdates(f.view.Instances, updates), f.decided.policy
	f.publish(&next, delta{updates: updates})
}

// snapshotDecision is one decision as it lies in a file.
type snapshotDecision struct {
	Name     string
	Value    json.RawMessage
	Revision int64
}

// keep returns the decisions for a file.
func (d *decisions) keep() []snapshotDecision {
	var kept []snapshotDecision
	if d.policy != nil {
		if value, err := json.Marshal(d.policy); err == nil {
			kept = append(kept, snapshotDecision{policyName, value, d.policy.Revision})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.overrides)) {
		o := d.overrides[id]
		if value, err := o.encode(); err == nil {
			kept = append(kept, snapshotDecision{overrideName + escapeID(id), value, o.Revision})
		}
	}
	return kept
}

// recallDecisions reads the decisions of a file. What cannot be read is left out.
func recallDecisions(kept []snapshotDecision) *decisions {
	d := noDecisions
	for _, k := range kept {
		switch v := decision(k.Name, k.Value, k.Revision).(type) {
		case *Policy, *Override:
			d = d.with(k.Name, v)
		}
	}
	return d
}
