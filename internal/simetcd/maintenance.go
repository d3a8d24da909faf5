package simetcd

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// maintenanceServer answers how a member is, and shows and disarms the alarm.
type maintenanceServer struct {
	pb.UnimplementedMaintenanceServer
	m *Member
}

// Status answers from the member alone, whether or not the cluster works.
func (s *maintenanceServer) Status(ctx context.Context, _ *pb.StatusRequest) (*pb.StatusResponse, error) {
	c := s.m.cluster
	if err := s.m.read(ctx, true); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	applied, _ := s.m.applied()
	resp := &pb.StatusResponse{
		Header: c.header(s.m, applied), Version: c.options.Version, RaftTerm: c.term, DbSize: int64(1024 * len(c.store.log)),
	}
	if c.leader != nil && (c.leader == s.m || s.m.seesLeader()) {
		resp.Leader = c.leader.id
	} else {
		resp.Errors = append(resp.Errors, "etcdserver: no leader")
	}
	if c.store.noSpace {
		resp.Errors = append(resp.Errors, s.alarm().String())
	}
	return resp, nil
}

func (s *maintenanceServer) alarm() *pb.AlarmMember {
	return &pb.AlarmMember{MemberID: s.m.cluster.members[0].id, Alarm: pb.AlarmType_NOSPACE}
}

func (s *maintenanceServer) Alarm(ctx context.Context, r *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	c := s.m.cluster
	resp := &pb.AlarmResponse{}
	err := s.m.propose(ctx, func() error {
		if err := s.m.admin(ctx); err != nil {
			return err
		}
		if c.store.noSpace && r.Alarm != pb.AlarmType_CORRUPT {
			resp.Alarms = append(resp.Alarms, s.alarm())
		}
		switch {
		case r.Alarm != pb.AlarmType_NOSPACE:
		case r.Action == pb.AlarmRequest_ACTIVATE:
			c.store.noSpace = true
			resp.Alarms = []*pb.AlarmMember{s.alarm()}
		case r.Action == pb.AlarmRequest_DEACTIVATE:
			c.store.noSpace = false
		}
		resp.Header = c.header(s.m, c.store.revision)
		return nil
	})
	return resp, err
}

// clusterServer answers who the members are.
type clusterServer struct {
	pb.UnimplementedClusterServer
	m *Member
}

func (s *clusterServer) MemberList(ctx context.Context, r *pb.MemberListRequest) (*pb.MemberListResponse, error) {
	c := s.m.cluster
	if err := s.m.read(ctx, !r.Linearizable); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	applied, _ := s.m.applied()
	resp := &pb.MemberListResponse{Header: c.header(s.m, applied)}
	for _, m := range c.members {
		resp.Members = append(resp.Members, &pb.Member{
			ID: m.id, Name: m.name, ClientURLs: []string{"http://" + m.Endpoint()}, PeerURLs: []string{"http://" + m.name + ":2380"},
		})
	}
	return resp, nil
}
