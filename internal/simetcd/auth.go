package simetcd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/metadata"
)

// root is the name of the user without whom auth cannot be enabled, and of the role that may do everything.
const root = "root"

// auth is who may do what. A user is known by a token; where auth is off nobody is asked.
type auth struct {
	enabled  bool
	revision uint64
	users    map[string]*user
	roles    map[string][]*authpb.Permission
}

type user struct {
	password string // in plain text: nothing here is worth a hash
	roles    []string
}

// token is a simple token of etcd's: every use renews it, on the member that was asked.
type token struct {
	user   string
	expiry time.Time
}

func newAuth() *auth {
	return &auth{revision: 1, users: map[string]*user{}, roles: map[string][]*authpb.Permission{}}
}

func (a *auth) clone() *auth {
	copied := &auth{enabled: a.enabled, revision: a.revision, users: map[string]*user{}, roles: map[string][]*authpb.Permission{}}
	for name, u := range a.users {
		copied.users[name] = &user{password: u.password, roles: slices.Clone(u.roles)}
	}
	for name, permissions := range a.roles {
		copied.roles[name] = slices.Clone(permissions)
	}
	return copied
}

// identify returns the user whose token came with a call: "" when none did. The caller holds the mutex, here and below.
func (m *Member) identify(ctx context.Context) (who string, err error) {
	if !m.cluster.store.auth.enabled {
		return "", nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	sent := md.Get(rpctypes.TokenFieldNameGRPC)
	if len(sent) == 0 {
		return "", nil
	}
	text := strings.TrimPrefix(sent[0], "Bearer ")
	t := m.tokens[text]
	if t == nil || time.Now().After(t.expiry) {
		delete(m.tokens, text)
		return "", rpctypes.ErrGRPCInvalidAuthToken
	}
	t.expiry = time.Now().Add(m.cluster.options.TokenTTL)
	return t.user, nil
}

// known is identify for calls that want any user.
func (m *Member) known(ctx context.Context) (who string, err error) {
	who, err = m.identify(ctx)
	if err == nil && who == "" && m.cluster.store.auth.enabled {
		err = rpctypes.ErrGRPCUserEmpty
	}
	return who, err
}

// admin refuses whoever is not root.
func (m *Member) admin(ctx context.Context) error {
	who, err := m.identify(ctx)
	if err != nil {
		return err
	}
	a := m.cluster.store.auth
	switch {
	case !a.enabled:
		return nil
	case who == "":
		return rpctypes.ErrGRPCUserEmpty
	case a.users[who] == nil:
		return rpctypes.ErrGRPCUserNotFound
	case !a.isRoot(who):
		return rpctypes.ErrGRPCPermissionDenied
	}
	return nil
}

func (a *auth) isRoot(who string) bool {
	u := a.users[who]
	return u != nil && slices.Contains(u.roles, root)
}

// issue gives a user a token, which every member that runs knows.
func (c *Cluster) issue(who string) string {
	text := fmt.Sprintf("simulated.%d", c.nextID())
	for _, m := range c.members {
		if m.server != nil {
			m.tokens[text] = &token{user: who, expiry: time.Now().Add(c.options.TokenTTL)}
		}
	}
	return text
}

// disown makes the tokens of a user invalid.
func (c *Cluster) disown(who string) {
	for _, m := range c.members {
		maps.DeleteFunc(m.tokens, func(_ string, t *token) bool { return t.user == who })
	}
}

func (a *auth) mayRead(who string, key, end []byte) error {
	return a.may(who, key, end, authpb.READ)
}

func (a *auth) mayWrite(who string, key, end []byte) error {
	return a.may(who, key, end, authpb.WRITE)
}

func (a *auth) may(who string, key, end []byte, kind authpb.Permission_Type) error {
	switch {
	case !a.enabled:
		return nil
	case who == "":
		return rpctypes.ErrGRPCUserEmpty
	case a.isRoot(who) || a.users[who] != nil && a.covers(a.users[who].roles, key, end, kind):
		return nil
	}
	return rpctypes.ErrGRPCPermissionDenied
}

// covers reports whether the permissions of some roles, taken together, contain a range.
func (a *auth) covers(roles []string, key, end []byte, kind authpb.Permission_Type) bool {
	var granted []*authpb.Permission
	for _, role := range roles {
		for _, p := range a.roles[role] {
			if p.PermType == kind || p.PermType == authpb.READWRITE {
				granted = append(granted, p)
			}
		}
	}
	slices.SortFunc(granted, func(a, b *authpb.Permission) int { return cmp.Compare(string(a.Key), string(b.Key)) })
	from, to := interval(key, end)
	for _, p := range granted {
		start, stop := interval(p.Key, p.RangeEnd)
		switch {
		case start > from:
			return false // a hole
		case stop == "" || to != "" && stop >= to:
			return true
		}
		from = max(from, stop)
	}
	return false
}

// interval returns the first key of a range and the first one after it, "" when there is none.
func interval(key, end []byte) (from, to string) {
	switch string(end) {
	case "":
		return string(key), string(key) + "\x00"
	case "\x00":
		return string(key), ""
	}
	return string(key), string(end)
}

func (s *store) mayPut(who string, r *pb.PutRequest) error {
	if err := s.auth.mayWrite(who, r.Key, nil); err != nil {
		return err
	}
	if err := s.mayWriteLease(who, r.Lease); err != nil {
		return err
	}
	if r.PrevKv {
		return s.auth.mayRead(who, r.Key, nil)
	}
	return nil
}

func (s *store) mayDelete(who string, r *pb.DeleteRangeRequest) error {
	if err := s.auth.mayWrite(who, r.Key, r.RangeEnd); err != nil || !r.PrevKv {
		return err
	}
	return s.auth.mayRead(who, r.Key, r.RangeEnd)
}

// mayTxn wants permission for both branches, whichever is taken.
func (s *store) mayTxn(who string, r *pb.TxnRequest) error {
	for _, c := range r.Compare {
		if err := s.auth.mayRead(who, c.Key, c.RangeEnd); err != nil {
			return err
		}
	}
	for _, op := range slices.Concat(r.Success, r.Failure) {
		var err error
		switch {
		case op.GetRequestRange() != nil:
			err = s.auth.mayRead(who, op.GetRequestRange().Key, op.GetRequestRange().RangeEnd)
		case op.GetRequestPut() != nil:
			err = s.mayPut(who, op.GetRequestPut())
		case op.GetRequestDeleteRange() != nil:
			err = s.mayDelete(who, op.GetRequestDeleteRange())
		case op.GetRequestTxn() != nil:
			err = s.mayTxn(who, op.GetRequestTxn())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mayWriteLease wants permission to write every key under a lease: one that was taken away stops the renewal of all.
func (s *store) mayWriteLease(who string, id int64) error {
	return s.mayLease(id, who, s.auth.mayWrite)
}

func (s *store) mayReadLease(who string, id int64) error {
	return s.mayLease(id, who, s.auth.mayRead)
}

func (s *store) mayLease(id int64, who string, may func(who string, key, end []byte) error) error {
	l := s.leases[id]
	if l == nil || !s.auth.enabled || s.auth.isRoot(who) {
		return nil
	}
	for key := range l.keys {
		if err := may(who, []byte(key), nil); err != nil {
			return err
		}
	}
	return nil
}
