package simetcd

import (
	"context"
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// authServer answers who may do what, and lets root change it.
type authServer struct {
	pb.UnimplementedAuthServer
	m *Member
}

// change lets root change users, roles or the switch. Every change makes a new auth revision.
func (s *authServer) change(ctx context.Context, change func(*auth) error) (header *pb.ResponseHeader, err error) {
	c := s.m.cluster
	err = s.m.propose(ctx, func() error {
		if err := s.m.admin(ctx); err != nil {
			return err
		}
		header = c.header(s.m, c.store.revision)
		if err := change(c.store.auth); err != nil {
			return err
		}
		c.store.auth.revision++
		return nil
	})
	return header, err
}

func (s *authServer) AuthEnable(ctx context.Context, _ *pb.AuthEnableRequest) (*pb.AuthEnableResponse, error) {
	header, err := s.change(ctx, (*auth).enable)
	return &pb.AuthEnableResponse{Header: header}, err
}

func (a *auth) enable() error {
	switch {
	case a.users[root] == nil:
		return rpctypes.ErrGRPCRootUserNotExist
	case !a.isRoot(root):
		return rpctypes.ErrGRPCRootRoleNotExist
	}
	a.enabled = true
	return nil
}

func (s *authServer) AuthDisable(ctx context.Context, _ *pb.AuthDisableRequest) (*pb.AuthDisableResponse, error) {
	header, err := s.change(ctx, func(a *auth) error {
		a.enabled = false
		return nil
	})
	return &pb.AuthDisableResponse{Header: header}, err
}

func (s *authServer) AuthStatus(ctx context.Context, _ *pb.AuthStatusRequest) (*pb.AuthStatusResponse, error) {
	c := s.m.cluster
	if err := s.m.read(ctx, true); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	return &pb.AuthStatusResponse{
		Header: c.header(s.m, c.store.revision), Enabled: c.store.auth.enabled, AuthRevision: c.store.auth.revision,
	}, nil
}

func (s *authServer) Authenticate(ctx context.Context, r *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	c := s.m.cluster
	var resp *pb.AuthenticateResponse
	err := s.m.propose(ctx, func() error {
		a := c.store.auth
		if !a.enabled {
			return rpctypes.ErrGRPCAuthNotEnabled
		}
		if u := a.users[r.Name]; u == nil || u.password != r.Password {
			return rpctypes.ErrGRPCAuthFailed
		}
		resp = &pb.AuthenticateResponse{Header: c.header(s.m, c.store.revision), Token: c.issue(r.Name)}
		return nil
	})
	return resp, err
}

func (s *authServer) UserAdd(ctx context.Context, r *pb.AuthUserAddRequest) (*pb.AuthUserAddResponse, error) {
	header, err := s.change(ctx, func(a *auth) error {
		switch {
		case r.Name == "":
			return rpctypes.ErrGRPCUserEmpty
		case a.users[r.Name] != nil:
			return rpctypes.ErrGRPCUserAlreadyExist
		}
		a.users[r.Name] = &user{password: r.Password}
		return nil
	})
	return &pb.AuthUserAddResponse{Header: header}, err
}

// changeUser lets root change a user that exists.
func (s *authServer) changeUser(ctx context.Context, name string, change func(*auth, *user) error) (*pb.ResponseHeader, error) {
	return s.change(ctx, func(a *auth) error {
		u := a.users[name]
		if u == nil {
			return rpctypes.ErrGRPCUserNotFound
		}
		return change(a, u)
	})
}

func (s *authServer) UserDelete(ctx context.Context, r *pb.AuthUserDeleteRequest) (*pb.AuthUserDeleteResponse, error) {
	header, err := s.changeUser(ctx, r.Name, func(a *auth, _ *user) error {
		if a.enabled && r.Name == root {
			return rpctypes.ErrGRPCInvalidAuthMgmt
		}
		delete(a.users, r.Name)
		s.m.cluster.disown(r.Name)
		return nil
	})
	return &pb.AuthUserDeleteResponse{Header: header}, err
}

func (s *authServer) UserChangePassword(ctx context.Context, r *pb.AuthUserChangePasswordRequest) (*pb.AuthUserChangePasswordResponse, error) {
	header, err := s.changeUser(ctx, r.Name, func(_ *auth, u *user) error {
		u.password = r.Password
		s.m.cluster.disown(r.Name)
		return nil
	})
	return &pb.AuthUserChangePasswordResponse{Header: header}, err
}

func (s *authServer) UserGrantRole(ctx context.Context, r *pb.AuthUserGrantRoleRequest) (*pb.AuthUserGrantRoleResponse, error) {
	header, err := s.changeUser(ctx, r.User, func(a *auth, u *user) error {
		if _, exists := a.roles[r.Role]; !exists && r.Role != root {
			return rpctypes.ErrGRPCRoleNotFound
		}
		if !slices.Contains(u.roles, r.Role) {
			u.roles = append(u.roles, r.Role)
			slices.Sort(u.roles)
		}
		return nil
	})
	return &pb.AuthUserGrantRoleResponse{Header: header}, err
}

func (s *authServer) UserRevokeRole(ctx context.Context, r *pb.AuthUserRevokeRoleRequest) (*pb.AuthUserRevokeRoleResponse, error) {
	header, err := s.changeUser(ctx, r.Name, func(a *auth, u *user) error {
		switch {
		case a.enabled && r.Name == root && r.Role == root:
			return rpctypes.ErrGRPCInvalidAuthMgmt
		case !slices.Contains(u.roles, r.Role):
			return rpctypes.ErrGRPCRoleNotGranted
		}
		u.roles = slices.DeleteFunc(u.roles, func(role string) bool { return role == r.Role })
		return nil
	})
	return &pb.AuthUserRevokeRoleResponse{Header: header}, err
}

func (s *authServer) UserGet(ctx context.Context, r *pb.AuthUserGetRequest) (*pb.AuthUserGetResponse, error) {
	var resp *pb.AuthUserGetResponse
	err := s.m.propose(ctx, func() error {
		if err := s.m.admin(ctx); err != nil {
			if who, _ := s.m.identify(ctx); who == "" || who != r.Name {
				return err
			}
		}
		u := s.m.cluster.store.auth.users[r.Name]
		if u == nil {
			return rpctypes.ErrGRPCUserNotFound
		}
		resp = &pb.AuthUserGetResponse{Header: s.m.cluster.header(s.m, s.m.cluster.store.revision), Roles: slices.Clone(u.roles)}
		return nil
	})
	return resp, err
}

func (s *authServer) UserList(ctx context.Context, _ *pb.AuthUserListRequest) (resp *pb.AuthUserListResponse, err error) {
	header, err := s.list(ctx, func(a *auth) {
		resp = &pb.AuthUserListResponse{Users: slices.Sorted(maps.Keys(a.users))}
	})
	if err == nil {
		resp.Header = header
	}
	return resp, err
}

// list lets root read everything.
func (s *authServer) list(ctx context.Context, read func(*auth)) (header *pb.ResponseHeader, err error) {
	c := s.m.cluster
	err = s.m.propose(ctx, func() error {
		if err := s.m.admin(ctx); err != nil {
			return err
		}
		header = c.header(s.m, c.store.revision)
		read(c.store.auth)
		return nil
	})
	return header, err
}

func (s *authServer) RoleAdd(ctx context.Context, r *pb.AuthRoleAddRequest) (*pb.AuthRoleAddResponse, error) {
	header, err := s.change(ctx, func(a *auth) error {
		if r.Name == "" {
			return rpctypes.ErrGRPCRoleEmpty
		}
		if _, exists := a.roles[r.Name]; exists {
			return rpctypes.ErrGRPCRoleAlreadyExist
		}
		a.roles[r.Name] = nil
		return nil
	})
	return &pb.AuthRoleAddResponse{Header: header}, err
}

// changeRole lets root change the permissions of a role that exists.
func (s *authServer) changeRole(ctx context.Context, name string, change func([]*authpb.Permission) ([]*authpb.Permission, error)) (*pb.ResponseHeader, error) {
	return s.change(ctx, func(a *auth) error {
		permissions, exists := a.roles[name]
		if !exists {
			return rpctypes.ErrGRPCRoleNotFound
		}
		permissions, err := change(permissions)
		if err == nil {
			a.roles[name] = permissions
		}
		return err
	})
}

func (s *authServer) RoleGrantPermission(ctx context.Context, r *pb.AuthRoleGrantPermissionRequest) (*pb.AuthRoleGrantPermissionResponse, error) {
	if r.Perm == nil {
		return nil, rpctypes.ErrGRPCPermissionNotGiven
	}
	header, err := s.changeRole(ctx, r.Name, func(permissions []*authpb.Permission) ([]*authpb.Permission, error) {
		return append(without(permissions, r.Perm.Key, r.Perm.RangeEnd), r.Perm), nil
	})
	return &pb.AuthRoleGrantPermissionResponse{Header: header}, err
}

func (s *authServer) RoleRevokePermission(ctx context.Context, r *pb.AuthRoleRevokePermissionRequest) (*pb.AuthRoleRevokePermissionResponse, error) {
	header, err := s.changeRole(ctx, r.Role, func(permissions []*authpb.Permission) ([]*authpb.Permission, error) {
		left := without(permissions, r.Key, r.RangeEnd)
		if len(left) == len(permissions) {
			return nil, rpctypes.ErrGRPCPermissionNotGranted
		}
		return left, nil
	})
	return &pb.AuthRoleRevokePermissionResponse{Header: header}, err
}

func without(permissions []*authpb.Permission, key, end []byte) []*authpb.Permission {
	return slices.DeleteFunc(slices.Clone(permissions), func(p *authpb.Permission) bool {
		return string(p.Key) == string(key) && string(p.RangeEnd) == string(end)
	})
}

func (s *authServer) RoleGet(ctx context.Context, r *pb.AuthRoleGetRequest) (resp *pb.AuthRoleGetResponse, err error) {
	found := false
	header, err := s.list(ctx, func(a *auth) {
		resp = &pb.AuthRoleGetResponse{}
		resp.Perm, found = a.roles[r.Role]
	})
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, rpctypes.ErrGRPCRoleNotFound
	}
	resp.Header = header
	return resp, nil
}

func (s *authServer) RoleList(ctx context.Context, _ *pb.AuthRoleListRequest) (resp *pb.AuthRoleListResponse, err error) {
	header, err := s.list(ctx, func(a *auth) {
		resp = &pb.AuthRoleListResponse{Roles: slices.Sorted(maps.Keys(a.roles))}
	})
	if err == nil {
		resp.Header = header
	}
	return resp, err
}

func (s *authServer) RoleDelete(ctx context.Context, r *pb.AuthRoleDeleteRequest) (*pb.AuthRoleDeleteResponse, error) {
	header, err := s.change(ctx, func(a *auth) error {
		if _, exists := a.roles[r.Role]; !exists {
			return rpctypes.ErrGRPCRoleNotFound
		}
		delete(a.roles, r.Role)
		for _, u := range a.users {
			u.roles = slices.DeleteFunc(u.roles, func(role string) bool { return role == r.Role })
		}
		return nil
	})
	return &pb.AuthRoleDeleteResponse{Header: header}, err
}
