package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// member is what one member of etcd tells of itself, or that it does not.
type member struct {
	endpoint string // that it was asked at
	id       uint64
	name     string
	unnamed  bool // none of the client's endpoints is its
	err      error
	conn     *grpc.ClientConn
	status   *pb.StatusResponse
	peers    []*pb.Member // all members, as it knows them

	reads   time.Duration // a read from its own store, the median of three; 0 when there was none
	agrees  time.Duration // a read that a quorum confirms, likewise
	readErr error         // why it does not confirm one
}

// betterThan compares two members by how well they answer.
func (m *member) betterThan(other *member) bool {
	if m.status.IsLearner != other.status.IsLearner {
		return other.status.IsLearner
	}
	if (m.readErr == nil) != (other.readErr == nil) {
		return m.readErr == nil
	}
	return m.agrees < other.agrees
}

// called is how findings call the member.
func (m *member) called() string {
	if m.name == "" {
		return m.endpoint
	}
	return m.name + " at " + m.endpoint
}

// members asks every member, at the client's endpoints and then at those of members that none of these is of.
func (p *patient) members(ctx context.Context) ([]member, error) {
	return p.membersSeen.get(func() ([]member, error) {
		if p.Client == nil {
			return nil, skip("no etcd client was given")
		}
		seen := p.ask(ctx, p.Client.Endpoints())
		all := peersOf(seen)
		var more []string
		for _, peer := range all {
			known := slices.ContainsFunc(seen, func(m member) bool {
				return m.id == peer.ID || slices.Contains(peer.ClientURLs, urlOf(m.endpoint, p.TLS != nil))
			})
			if !known && len(peer.ClientURLs) > 0 && !peer.IsLearner {
				more = append(more, peer.ClientURLs[0])
			}
		}
		for _, m := range p.ask(ctx, more) {
			m.unnamed = true
			seen = append(seen, m)
		}
		return named(seen, all, p.TLS != nil), ctx.Err()
	})
}

// urlOf writes an endpoint as members do.
func urlOf(endpoint string, secure bool) string {
	switch {
	case strings.Contains(endpoint, "://"):
		return endpoint
	case secure:
		return "https://" + endpoint
	}
	return "http://" + endpoint
}

// peersOf returns the members that the first who answered knows.
func peersOf(seen []member) []*pb.Member {
	for _, m := range seen {
		if len(m.peers) > 0 {
			return m.peers
		}
	}
	return nil
}

// named gives the members their names, and leaves out those that were met at two endpoints.
func named(seen []member, all []*pb.Member, secure bool) []member {
	var out []member
	for _, m := range seen {
		if m.id != 0 && slices.ContainsFunc(out, func(other member) bool { return other.id == m.id }) {
			continue
		}
		for _, peer := range all {
			if peer.ID == m.id || m.id == 0 && slices.Contains(peer.ClientURLs, urlOf(m.endpoint, secure)) {
				m.name, m.id = peer.Name, peer.ID
			}
		}
		out = append(out, m)
	}
	return out
}

// ask asks the members at some endpoints, side by side.
func (p *patient) ask(ctx context.Context, endpoints []string) []member {
	seen := make([]member, len(endpoints))
	var wg sync.WaitGroup
	for n, endpoint := range endpoints {
		wg.Go(func() { seen[n] = p.askOne(ctx, endpoint) })
	}
	wg.Wait()
	return seen
}

func (p *patient) askOne(ctx context.Context, endpoint string) member {
	ctx, cancel := context.WithTimeout(ctx, p.Thresholds.MemberTimeout)
	defer cancel()
	m := member{endpoint: endpoint}
	if m.conn, m.err = p.dial(endpoint); m.err != nil {
		return m
	}
	if m.status, m.err = pb.NewMaintenanceClient(m.conn).Status(ctx, &pb.StatusRequest{}); m.err != nil {
		return m
	}
	m.id = m.status.Header.GetMemberId()
	if list, err := pb.NewClusterClient(m.conn).MemberList(ctx, &pb.MemberListRequest{}); err == nil {
		m.peers = list.Members
	}
	if m.status.IsLearner {
		return m // it refuses to confirm a read, as it should
	}
	m.reads, _ = p.timeReads(ctx, m.conn, true)
	m.agrees, m.readErr = p.timeReads(ctx, m.conn, false)
	return m
}

// timeReads times three small reads, of which it returns the median. One that is not permitted was confirmed all the same.
func (p *patient) timeReads(ctx context.Context, conn *grpc.ClientConn, serializable bool) (time.Duration, error) {
	var took []time.Duration
	for range 3 {
		began := time.Now()
		_, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte(p.services), CountOnly: true, Serializable: serializable})
		if err != nil && !denied(err) {
			return time.Since(began), err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[1], nil
}

var errNoMember = errors.New("no member of etcd answers")

// answering returns the members that told what they are; an error when none did.
func (p *patient) answering(ctx context.Context) ([]member, error) {
	members, err := p.members(ctx)
	if err != nil {
		return nil, err
	}
	var answering []member
	err = errNoMember
	for _, m := range members {
		switch {
		case m.err == nil:
			answering = append(answering, m)
		case denied(m.err):
			err = m.err
		}
	}
	if len(answering) > 0 {
		err = nil
	}
	return answering, err
}
