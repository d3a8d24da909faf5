package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// Care tends an etcd that runs, one embedded in servers of ours or any other. It speaks etcd's own API, and so also to an etcd that is
// too sick to serve a registry.
type Care struct {
	*cluster
	patience time.Duration
}

// ClusterMember is a member as the cluster knows it, and as it says itself.
type ClusterMember struct {
	ID         uint64
	Name       string // "" of one that was taken in and never started
	PeerURLs   []string
	ClientURLs []string
	Learner    bool // it follows, and has no vote

	Endpoint string // where it answered; "" when it does not
	Err      error  // why it does not; nil when it does

	// What it says itself.
	Leader      bool
	LeaderKnown bool // it has, or is, a leader
	Version     string
	Revision    int64
	Size        int64 // of its store's file, which is what counts for the quota
	InUse       int64 // of that; the rest a defragmentation gives back
	Quota       int64
	applied     uint64
}

// Word is how messages name a member.
func (m ClusterMember) Word() string {
	if m.Name != "" {
		return m.Name
	}
	return MemberID(m.ID)
}

// MemberID is how etcd's own tools write an id.
func MemberID(id uint64) string { return strconv.FormatUint(id, 16) }

// OpenCare finds who answers of the endpoints in cfg.Etcd; the rest of cfg says how to speak to them. Each question later waits no longer
// than patience for its answer. When nobody answers it returns a [*rollcall.UnreachableError].
func OpenCare(ctx context.Context, cfg Config, patience time.Duration) (*Care, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	c := &Care{&cluster{cfg: cfg, endpoints: cfg.Etcd, key: rollcall.DefaultPrefix, logger: cfg.Logger}, patience}
	err := c.connect(ctx)
	if err == nil {
		err = c.find(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connections.
func (c *Care) Close() { c.stop() }

// find leaves of the endpoints those that answer, in the order in which they were given, those first that have a leader.
func (c *Care) find(ctx context.Context) error {
	since := time.Now()
	answers := c.ask(ctx, c.endpoints)
	var led, lost []string
	for i, a := range answers {
		switch {
		case a.err != nil:
		case a.Leader != 0:
			led = append(led, c.endpoints[i])
		default:
			lost = append(lost, c.endpoints[i])
		}
	}
	if found := append(led, lost...); len(found) > 0 {
		c.client.SetEndpoints(found...)
		c.endpoints = found
		return nil
	}
	for _, a := range answers {
		if answered(a.err) {
			return a.err // refused, which is an answer
		}
	}
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &rollcall.UnreachableError{Endpoints: c.endpoints, Since: since, Last: answers[0].err, Err: context.DeadlineExceeded}
}

type answer struct {
	*clientv3.StatusResponse
	err error
}

// ask asks every endpoint for its status, all at once.
func (c *Care) ask(ctx context.Context, endpoints []string) []answer {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	answers := make([]answer, len(endpoints))
	var wg sync.WaitGroup
	for i, endpoint := range endpoints {
		wg.Go(func() { answers[i].StatusResponse, answers[i].err = c.status(ctx, endpoint) })
	}
	wg.Wait()
	return answers
}

// status does not wait for somebody to listen, as etcd's client would, and so can say why nobody answers.
func (c *Care) status(ctx context.Context, endpoint string) (*clientv3.StatusResponse, error) {
	conn, err := c.client.Dial(endpoint)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	resp, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{}, grpc.WaitForReady(false))
	if err != nil {
		return nil, clientv3.ContextError(ctx, err)
	}
	return (*clientv3.StatusResponse)(resp), nil
}

// bound is for one answer.
func (c *Care) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.patience <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.patience)
}

// Members returns all members, in the order of their names. Without a majority it is what one of them knows; agreed is false then.
func (c *Care) Members(ctx context.Context) (members []ClusterMember, agreed bool, err error) {
	list, err := c.list(ctx)
	agreed = err == nil
	if err != nil && !answered(err) && ctx.Err() == nil {
		list, err = c.list(ctx, clientv3.WithSerializable())
	}
	if err != nil {
		return nil, false, fmt.Errorf("ask for the members: %w", err)
	}
	members = make([]ClusterMember, len(list))
	for i, m := range list {
		members[i] = ClusterMember{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs, Learner: m.IsLearner}
	}
	slices.SortFunc(members, func(a, b ClusterMember) int { return slices.Compare([]string{a.Word()}, []string{b.Word()}) })
	c.reach(ctx, members)
	return members, agreed, nil
}

func (c *Care) list(ctx context.Context, opts ...clientv3.OpOption) ([]*pb.Member, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	resp, err := c.client.MemberList(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return resp.Members, nil
}

// errNoURL is why a member that was never started does not answer.
var errNoURL = errors.New("it has not been started, and so told nobody its client URL")

// reach fills in what the members say themselves. Where they say that they serve clients need not be where they are reached from here: with
// its default every server has 127.0.0.1. So the endpoints that were given are asked, too, and an answer counts for the member that it is from.
func (c *Care) reach(ctx context.Context, members []ClusterMember) {
	endpoints := slices.Clone(c.endpoints)
	for _, m := range members {
		for _, url := range m.ClientURLs {
			if !slices.Contains(endpoints, url) {
				endpoints = append(endpoints, url)
			}
		}
	}
	answers := c.ask(ctx, endpoints)
	for i := range members {
		m := &members[i]
		m.Err = errNoURL
		for k, a := range answers {
			switch {
			case a.err == nil && a.Header.MemberId == m.ID:
				m.fill(endpoints[k], a.StatusResponse)
			case slices.Contains(m.ClientURLs, endpoints[k]) && m.Endpoint == "":
				m.Err = a.err
				if a.err == nil {
					m.Err = fmt.Errorf("another member answers at %s", endpoints[k])
				}
			}
			if m.Endpoint != "" {
				break
			}
		}
	}
}

func (m *ClusterMember) fill(endpoint string, s *clientv3.StatusResponse) {
	m.Endpoint, m.Err = endpoint, nil
	m.Leader, m.LeaderKnown = s.Leader == m.ID, s.Leader != 0
	m.Version, m.Revision, m.applied = s.Version, s.Header.Revision, s.RaftAppliedIndex
	m.Size, m.InUse, m.Quota = s.DbSize, s.DbSizeInUse, s.DbSizeQuota
}

// silent returns those that do not answer.
func silent(members []ClusterMember) []ClusterMember {
	return slices.DeleteFunc(slices.Clone(members), func(m ClusterMember) bool { return m.Endpoint != "" })
}
