package simetcd

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// askAgain is how long a member waits after it asked a leader that was none, or was gone.
const askAgain = 50 * time.Millisecond

// askLeader has the leader answer what only it knows; check and answer are called with the cluster's mutex held, and
// answer is called again until it has answered.
//
// A follower asks by a call of its own, and sticks to the leader it asked first for as long as that one keeps silent,
// though another may lead by then. A leader that lost its followers answers for as long as it believes that it leads.
func (m *Member) askLeader(ctx context.Context, check func() error, answer func() bool) error {
	c := m.cluster
	deadline := time.Now().Add(requestTimeout)
	for {
		leader, process, err := m.waitLeader(ctx, deadline)
		if err != nil {
			return err
		}
		var refused error
		gone := false
		err = c.when(ctx, time.Until(deadline), func() bool {
			hears := leader.works() && (!leader.isolated || leader == m)
			gone = process == nil || leader.server != process || hears && !c.leads(leader)
			if refused = check(); refused != nil || gone {
				return true
			}
			return hears && answer()
		})
		if err != nil {
			return err
		}
		c.mu.Unlock()
		if refused != nil || !gone {
			return refused
		}
		if err := pause(ctx, askAgain); err != nil {
			return err
		}
	}
}

// waitLeader returns the leader that the member believes in, and its process. As in etcd, while there is none it looks
// again only after as long as an election takes.
func (m *Member) waitLeader(ctx context.Context, deadline time.Time) (leader *Member, process *grpc.Server, err error) {
	c := m.cluster
	for {
		if err := c.when(ctx, time.Until(deadline), m.works); err != nil {
			return nil, nil, err
		}
		if c.leads(m) || m.seesLeader() {
			leader, process = c.leader, c.leader.server
		}
		c.mu.Unlock()
		if leader != nil {
			return leader, process, nil
		}
		wait := min(Election, time.Until(deadline))
		if wait <= 0 {
			return nil, nil, rpctypes.ErrGRPCNoLeader
		}
		if err := pause(ctx, wait); err != nil {
			return nil, nil, err
		}
	}
}

// pause lets some time pass, or less if the context ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}
