package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// roomShare is how much of its quota a store must have free for an alarm to be disarmed: with less it would be full again at once.
	roomShare = 0.1

	// quiet is for how long a store must not shrink to be taken for compacted: etcd compacts in the background, in steps shorter than this.
	quiet = 500 * time.Millisecond

	// compactPatience bounds the wait for that.
	compactPatience = time.Minute
)

// keeps are how many revisions a compaction leaves at first, and if that is not enough. With some left, those who are a moment behind need not list anew.
var keeps = []int64{100, 0}

// Alarm is what etcd says is wrong with a member.
type Alarm struct {
	Member ClusterMember
	Kind   string // NOSPACE or CORRUPT
	gone   bool   // the member was taken out, which does not end its alarms
}

// ofNobody returns the alarms of members that are none any more: there is nothing to be wrong with.
func ofNobody(alarms []Alarm) []Alarm {
	return slices.DeleteFunc(slices.Clone(alarms), func(a Alarm) bool { return !a.gone })
}

// Recovery is what becomes of a cluster with alarms.
type Recovery struct {
	Alarms    []Alarm // those that there were
	Disarmed  []Alarm
	Compacted int64 // the revision up to which the past was forgotten; 0 when it was not
	Defragged []Defragged
}

// Disarming says how far to go.
type Disarming struct {
	Compact bool          // forget the past, and give back the space that it took
	Force   bool          // disarm also where there is no room
	Each    time.Duration // for each member to be defragmented
}

// FullError says that a store has no room.
type FullError struct {
	Member    ClusterMember
	Compacted bool
}

func (e *FullError) Error() string {
	m, advice := e.Member, "forget what is in the past and give its space back with --compact"
	switch {
	case m.Quota-m.InUse > roomFor(m.Quota) && !e.Compacted:
		advice = "what the file holds is " + Bytes(m.InUse) + ": give back the rest with 'rollcall server defrag', or forget the past, too, with --compact"
	case e.Compacted:
		advice = "all of it is in use: start every server with a larger --quota, then disarm again"
	}
	return fmt.Sprintf("the store of member %s has no room: %s of %s; %s", m.Word(), Bytes(m.Size), Bytes(m.Quota), advice)
}

func roomFor(quota int64) int64 { return int64(roomShare * float64(quota)) }

// room reports whether a member can take writes for a while.
func (m ClusterMember) room() bool { return m.Quota-m.Size >= roomFor(m.Quota) }

// CorruptError says that a member's data is not that of the others. No command can make it so again.
type CorruptError struct{ Members []ClusterMember }

func (e *CorruptError) Error() string {
	return fmt.Sprintf("etcd takes the data of %s for corrupt; replace it with an empty member ('rollcall member remove', then 'rollcall member add') and disarm again, or restore a backup", words(e.Members))
}

// Disarm has a cluster that was full take writes again, once there is room. What it did is returned also with an error.
func (c *Care) Disarm(ctx context.Context, how Disarming) (Recovery, error) {
	alarms, err := c.alarms(ctx)
	r := Recovery{Alarms: alarms}
	if err != nil {
		return r, err
	}
	if how.Compact {
		err = c.makeRoom(ctx, how, &r)
	}
	full := slices.DeleteFunc(slices.Clone(alarms), func(a Alarm) bool { return a.Kind != pb.AlarmType_NOSPACE.String() || a.gone })
	if err == nil && len(full) > 0 && !how.Force {
		err = c.needRoom(ctx, how)
	}
	if err != nil {
		return r, err
	}
	for _, a := range append(full, ofNobody(alarms)...) {
		if err := c.disarmOne(ctx, a); err != nil {
			return r, err
		}
		r.Disarmed = append(r.Disarmed, a)
	}
	return r, c.verifyQuiet(ctx)
}

// alarms returns those that are raised.
func (c *Care) alarms(ctx context.Context) ([]Alarm, error) {
	members, _, err := c.Members(ctx)
	if err != nil {
		return nil, err
	}
	asked, cancel := c.bound(ctx)
	defer cancel()
	resp, err := c.client.AlarmList(asked)
	if err != nil {
		return nil, fmt.Errorf("ask for alarms: %w", err)
	}
	var alarms []Alarm
	for _, a := range resp.Alarms {
		alarm := Alarm{Member: ClusterMember{ID: a.MemberID}, Kind: a.Alarm.String(), gone: true}
		if i := slices.IndexFunc(members, func(m ClusterMember) bool { return m.ID == a.MemberID }); i >= 0 {
			alarm.Member, alarm.gone = members[i], false
		}
		alarms = append(alarms, alarm)
	}
	return alarms, nil
}

// makeRoom forgets as much of the past as it takes, and gives the space back.
func (c *Care) makeRoom(ctx context.Context, how Disarming, r *Recovery) error {
	for _, keep := range keeps {
		at, err := c.compact(ctx, keep)
		if err != nil {
			return err
		}
		if at <= 0 {
			continue // there is less in the past than that
		}
		r.Compacted = at
		for d, err := range c.Defrag(ctx, how.Each, how.Force) {
			if err != nil {
				return err
			}
			r.Defragged = append(r.Defragged, d)
		}
		if err := c.needRoom(ctx, how); err == nil {
			return nil
		}
	}
	return nil
}

// compact forgets all but the last revisions, and waits until every member has.
func (c *Care) compact(ctx context.Context, keep int64) (int64, error) {
	asked, cancel := c.bound(ctx)
	defer cancel()
	now, err := c.client.Get(asked, c.key, clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("ask for the revision: %w", err)
	}
	at := now.Header.Revision - keep
	if at <= 0 {
		return 0, nil
	}
	slow, cancel := context.WithTimeoutCause(ctx, compactPatience, fmt.Errorf("compaction takes longer than %v: %w", compactPatience, context.DeadlineExceeded))
	defer cancel()
	if _, err := c.client.Compact(slow, at, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return 0, fmt.Errorf("compact to revision %d: %w", at, cause(slow, err))
	}
	return at, c.settled(slow)
}

// settled waits until no store shrinks any more: that a compaction is done etcd tells only of the member that was asked for it.
func (c *Care) settled(ctx context.Context) error {
	before := int64(-1)
	for {
		members, _, err := c.Members(ctx)
		if err != nil {
			return err
		}
		now := int64(0)
		for _, m := range members {
			now += m.InUse
		}
		if now >= before && before >= 0 {
			return nil
		}
		before = now
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(quiet):
		}
	}
}

// needRoom wants room in every store: one that is full is enough to raise the alarm again.
func (c *Care) needRoom(ctx context.Context, how Disarming) error {
	members, _, err := c.Members(ctx)
	if err != nil {
		return err
	}
	if gone := silent(members); len(gone) > 0 {
		return &SilentError{gone, "whether there is room in its store is not known; name where it is reached from here in --etcd, or disarm all the same with --force"}
	}
	for _, m := range members {
		if !m.room() {
			return &FullError{m, how.Compact}
		}
	}
	return nil
}

func (c *Care) disarmOne(ctx context.Context, a Alarm) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	_, err := c.client.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: a.Member.ID, Alarm: pb.AlarmType(pb.AlarmType_value[a.Kind])})
	if err != nil {
		return fmt.Errorf("disarm %s of member %s: %w", a.Kind, a.Member.Word(), err)
	}
	return nil
}

// verifyQuiet looks whether there are still alarms.
func (c *Care) verifyQuiet(ctx context.Context) error {
	alarms, err := c.alarms(ctx)
	if err != nil {
		return err
	}
	var corrupt []ClusterMember
	for _, a := range alarms {
		if a.Kind == pb.AlarmType_NOSPACE.String() {
			return fmt.Errorf("%s of member %s was raised again at once", a.Kind, a.Member.Word())
		}
		corrupt = append(corrupt, a.Member)
	}
	if len(corrupt) > 0 {
		return &CorruptError{corrupt}
	}
	return nil
}

// Bytes writes a number of bytes for people.
func Bytes(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), "B"
	for i := 0; value >= 1024 && i < len(units); i++ {
		value, unit = value/1024, units[i]
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + unit
}
