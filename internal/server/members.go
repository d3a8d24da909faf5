package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/server/v3/embed"
)

const (
	// memberPause is between two tries to change a cluster that is not ready for it.
	memberPause = time.Second

	// healthPatience is how long etcd may take its cluster for too unhealthy; what is longer is no passing matter.
	healthPatience = 15 * time.Second
)

// Add takes a member in, without data and without a vote, which [Care.Promote] gives it: until it has caught up the cluster does not depend on it. It
// returns the members as they are then, the new one with its name. It may be called again for a member that has not been started.
func (c *Care) Add(ctx context.Context, m Member) (added ClusterMember, all []ClusterMember, err error) {
	if rule := m.fault(strings.HasPrefix(m.PeerURL, "https://"), nil); rule != "" {
		return added, nil, invalid("Cluster", strconv.Quote(m.String()), rule)
	}
	all, _, err = c.Members(ctx)
	if err != nil {
		return added, nil, err
	}
	if there, err := findComing(all, m); err != nil || there != nil {
		if there != nil {
			there.Name = m.Name
			added = *there
		}
		return added, all, err
	}
	if err := c.putIn(ctx, m); err != nil {
		return added, nil, fmt.Errorf("take in member %s: %w", m, err)
	}
	if all, _, err = c.Members(ctx); err != nil {
		return added, nil, err
	}
	i := slices.IndexFunc(all, func(k ClusterMember) bool { return slices.Contains(k.PeerURLs, m.PeerURL) })
	if i < 0 {
		return added, nil, fmt.Errorf("member %s was taken in, and taken out by somebody else", m)
	}
	all[i].Name = m.Name
	return all[i], all, nil
}

// findComing returns m when it is on its way in already, and an error when it cannot be taken in.
func findComing(all []ClusterMember, m Member) (*ClusterMember, error) {
	for i, there := range all {
		same := slices.Contains(there.PeerURLs, m.PeerURL)
		switch {
		case same && (there.Learner && there.Name == m.Name || there.Name == ""):
			return &all[i], nil
		case same && there.Name != m.Name:
			return nil, fmt.Errorf("%s is member %s's already", m.PeerURL, there.Word())
		case there.Name == m.Name:
			return nil, fmt.Errorf("there is a member %s already, at %s; if its data is lost take it out first, with 'rollcall member remove %s'",
				m.Name, strings.Join(there.PeerURLs, ", "), m.Name)
		}
	}
	if len(all) == 1 && slices.Contains(all[0].PeerURLs, embed.DefaultInitialAdvertisePeerURLs) {
		return nil, fmt.Errorf("the server is alone, and nobody can reach it; make it a member first: start it with --name %s --cluster NAME=PEERURL, with nobody else in it", "NAME")
	}
	return nil, nil
}

func (c *Care) putIn(ctx context.Context, m Member) error {
	return c.whenHealthy(ctx, func(ctx context.Context) error {
		_, err := c.client.MemberAddAsLearner(ctx, []string{m.PeerURL})
		switch {
		case errors.Is(err, rpctypes.ErrPeerURLExist), errors.Is(err, rpctypes.ErrMemberExist):
			return nil // by a try before, whose answer was lost
		case errors.Is(err, rpctypes.ErrTooManyLearners):
			return fmt.Errorf("%w: another member is on its way in; see 'rollcall member list'", err)
		}
		return err
	})
}

// whenHealthy tries a change until etcd does not take its cluster for too unhealthy for it, which it does for 5 s after a member was lost, nor the new
// member for too far behind, which takes as long as it takes.
func (c *Care) whenHealthy(ctx context.Context, change func(context.Context) error) error {
	for began := time.Now(); ; {
		once, cancel := c.bound(ctx)
		err := change(once)
		cancel()
		passing := errors.Is(err, rpctypes.ErrUnhealthy) && time.Since(began) < healthPatience
		if !passing && !errors.Is(err, rpctypes.ErrMemberLearnerNotReady) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		case <-time.After(memberPause):
		}
	}
}

// Promote waits until a member that was taken in has been started and has caught up, and gives it a vote.
func (c *Care) Promote(ctx context.Context, id uint64) error {
	err := c.whenHealthy(ctx, func(ctx context.Context) error {
		_, err := c.client.MemberPromote(ctx, id)
		if errors.Is(err, rpctypes.ErrMemberNotLearner) {
			return nil // it has one
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("give member %s a vote: %w", MemberID(id), err)
	}
	return nil
}

// QuorumError says that what would be left of a cluster has no majority.
type QuorumError struct {
	Member      ClusterMember // that was to be taken out
	Left, Alive int           // voters without it, and those of them that answer
	Silent      []ClusterMember
}

func (e *QuorumError) Error() string {
	down := make([]string, len(e.Silent))
	for i, m := range e.Silent {
		down[i] = fmt.Sprintf("; member %s does not answer (%s)", m.Word(), m.silence())
	}
	return fmt.Sprintf("without member %s %d of %d with a vote would answer, less than a majority, which is %d%s; start it first, or name in --etcd where it is reached from here, or take the member out all the same with --force",
		e.Member.Word(), e.Alive, e.Left, e.Left/2+1, strings.Join(down, ""))
}

// Remove takes out a member, by its name or id; what answers of the others must be a majority of them, unless it is forced.
func (c *Care) Remove(ctx context.Context, nameOrID string, force bool) (ClusterMember, error) {
	all, _, err := c.Members(ctx)
	if err != nil {
		return ClusterMember{}, err
	}
	target, others, err := choose(all, nameOrID)
	if err != nil {
		return target, err
	}
	if err := quorumWithout(target, others); err != nil {
		if len(others) == 0 || !force {
			return target, err
		}
	}
	if reached := endpointsOf(others); len(reached) > 0 {
		c.client.SetEndpoints(reached...) // the member itself may end before it answers
	}
	err = c.whenHealthy(ctx, func(ctx context.Context) error {
		_, err := c.client.MemberRemove(ctx, target.ID)
		if errors.Is(err, rpctypes.ErrMemberNotFound) {
			return nil // by a try before, whose answer was lost
		}
		return err
	})
	if err != nil {
		return target, fmt.Errorf("take out member %s: %w", target.Word(), err)
	}
	return target, nil
}

// choose returns the member that is meant, and the others.
func choose(all []ClusterMember, nameOrID string) (target ClusterMember, others []ClusterMember, err error) {
	meant := func(m ClusterMember) bool { return m.Name == nameOrID || MemberID(m.ID) == strings.ToLower(nameOrID) }
	switch i := slices.IndexFunc(all, meant); {
	case i < 0 || nameOrID == "":
		return target, nil, fmt.Errorf("member %q: %w; there are %s", nameOrID, rollcall.ErrNotFound, words(all))
	case slices.ContainsFunc(all[i+1:], meant):
		return target, nil, fmt.Errorf("there is more than one member %s; name it by its id, see 'rollcall member list'", nameOrID)
	default:
		return all[i], slices.Delete(slices.Clone(all), i, i+1), nil
	}
}

// quorumWithout refuses what would leave a cluster that cannot decide anything.
func quorumWithout(target ClusterMember, others []ClusterMember) error {
	voters := slices.DeleteFunc(slices.Clone(others), func(m ClusterMember) bool { return m.Learner })
	switch {
	case target.Learner:
		return nil
	case len(voters) == 0:
		return fmt.Errorf("member %s is the only one: without it there is no cluster", target.Word())
	}
	gone := silent(voters)
	if alive := len(voters) - len(gone); alive < len(voters)/2+1 {
		return &QuorumError{target, len(voters), alive, gone}
	}
	return nil
}

func endpointsOf(members []ClusterMember) []string {
	var all []string
	for _, m := range members {
		if m.Endpoint != "" {
			all = append(all, m.Endpoint)
		}
	}
	return all
}
